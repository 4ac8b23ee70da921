"""Formats: values into files and back, one module for each kind of value."""
