"""Partition definitions, sets of partitions, and the mappings between them.

`base` says what a definition and a set are; `time` and `static` are the definitions; `mapping` translates sets of
downstream partitions into upstream ones. `zone`, `grid` and `axis` are the arithmetic under `time`, from the
bottom up: when a zone's clock was set, where the ticks of a calendar stand on a wall clock, and both together.
"""
