"""The state store: what is known of runs, and a cache of what is published."""
