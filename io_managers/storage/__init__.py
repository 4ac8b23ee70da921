"""Stores: a folder, an object store or memory, behind one small protocol (`base.Storage`)."""
