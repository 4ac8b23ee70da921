"""Storage, versions and formats: asset partitions by name and their bytes; knows no definitions."""
