"""A user's project in its environment: validated definitions, their graph, selections, configuration."""
