"""Deciding what to run: versions, fingerprints, staleness, plans."""
