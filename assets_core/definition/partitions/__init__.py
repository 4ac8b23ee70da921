"""Partition definitions, sets of partitions, and the mappings between them.

`base` says what a definition and a set are; `time`, `static`, `dynamic` and `multi` are the definitions; `mapping` has
the rules that say which upstream partitions are needed, `rules` and `span_mappings` below it, and `relation` is what
comes of a rule that is applied to two definitions. `zone`, `grid` and `axis` are the arithmetic under `time`, from the
bottom up: when a zone's clock was set, where the ticks of a calendar stand on a wall clock, and both together.
"""
