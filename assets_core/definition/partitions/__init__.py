"""Partitions: keys as ordinals, sets as bitmaps, mappings as spans."""
