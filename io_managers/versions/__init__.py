"""Versions of asset partitions: staged where no reader looks, published by one create-if-absent, read by number."""
