"""Judging data before anyone can read it: contracts and checks on staged values."""
