"""Which upstream partitions a downstream partition needs: the mappings that `In(partitions=...)` takes.

`rules` says what a mapping is, and `relation` what comes of it when it is applied; `span_mappings` are those that
name neighbours. Here are those by dimension and by keys, and the functions by which all of them are written.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from assets_core.definition.partitions.base import UNPARTITIONED, PartitionsDefinition
from assets_core.definition.partitions.multi import MultiPartitions
from assets_core.definition.partitions.relation import Relation, Side, Spans, product
from assets_core.definition.partitions.rules import KeyMapping, PartitionMapping, name_of
from assets_core.definition.partitions.span_mappings import (
    AllMapping,
    IdentityMapping,
    LastMapping,
    OverlapMapping,
    ShiftMapping,
    TrailingMapping,
)
from assets_core.definition.partitions.windows import TimePartitions
from assets_core.errors import DefinitionError

__all__ = [
    "AllMapping",
    "DimensionMapping",
    "DimensionsMapping",
    "IdentityMapping",
    "KeyMapping",
    "LastMapping",
    "MappedMapping",
    "OverlapMapping",
    "PartitionMapping",
    "Relation",
    "ShiftMapping",
    "Spans",
    "TrailingMapping",
    "all_partitions",
    "default_mapping",
    "dimension",
    "dimensions",
    "identity",
    "last",
    "mapped",
    "overlap",
    "shift",
    "trailing",
]

_Axes = Mapping[str, PartitionsDefinition]


class _MappingByDimension(PartitionMapping):
    """Relates dimensions of the same name by a mapping each; of other upstream dimensions everything is needed."""

    @abstractmethod
    def _rules(self) -> Mapping[str, PartitionMapping]:
        """The mappings that were given, by dimension."""

    @abstractmethod
    def _axes(self, definition: PartitionsDefinition) -> _Axes:
        """The dimensions of one side, by name."""

    def _rule(self, name: str, down: _Axes, up: _Axes) -> PartitionMapping:
        return self._rules().get(name) or default_mapping(down[name], up[name])

    def reads_many(self, down: PartitionsDefinition, up: PartitionsDefinition) -> bool:
        """Unless every upstream dimension is a downstream one, too, of which one key is read."""
        below, above = self._axes(down), self._axes(up)
        return any(
            name not in below or self._rule(name, below, above).reads_many(below[name], above[name])
            for name in above
        )

    def problem(self, down: PartitionsDefinition, up: PartitionsDefinition) -> str | None:
        """Needs a dimension that both sides have, and mappings that can be applied to it."""
        below, above = self._axes(down), self._axes(up)
        for name in self._rules():
            for side, axes in ((down, below), (up, above)):
                if name not in axes:
                    return f"{name_of(side)} have no dimension {name!r}; write one of {', '.join(axes)}."
        shared = [name for name in above if name in below]
        if not shared:
            return (
                f"{name_of(down)} and {name_of(up)} have no dimension in common; "
                "write In(partitions=all_partitions()) or In(partitions=mapped({...}))."
            )
        for name in shared:
            sentence = self._rule(name, below, above).problem(below[name], above[name])
            if sentence is not None:
                return f"of dimension {name!r}: {sentence}"
        return None

    def _relate(self, down: PartitionsDefinition, up: PartitionsDefinition) -> Relation:
        import numpy as np

        below, above = self._axes(down), self._axes(up)
        sides = []
        for name, definition in above.items():
            if name not in below:
                everything = AllMapping().spans(UNPARTITIONED, definition)
                sides.append(Side(everything, np.zeros(len(down), np.int64)))
                continue
            rows = (
                down.coordinates(name)
                if isinstance(down, MultiPartitions)
                else np.arange(len(down), dtype=np.int64)
            )
            rule = self._rule(name, below, above)
            sides.append(Side(rule.spans(below[name], definition), rows))
        return product(down, up, sides)


@dataclass(frozen=True, repr=False)
class DimensionMapping(_MappingByDimension):
    """Between partitions by several dimensions and those of one dimension, or through one dimension of both.

    - Downstream has the dimensions: each partition needs what its key of the dimension needs.
    - Upstream has them: each partition needs all upstream partitions whose key of the dimension it needs.
    - Both have: as `DimensionsMapping`, with this mapping for this dimension.

    Attributes:
        name: The dimension.
        mapping: Between the dimension and the other side; None for the default.
    """

    name: str
    mapping: PartitionMapping | None = None

    def __post_init__(self) -> None:
        _require_mapping(self.mapping, f"dimension({self.name!r}, ...)")

    def __repr__(self) -> str:
        return f"dimension({self.name!r}{'' if self.mapping is None else f', {self.mapping!r}'})"

    def problem(self, down: PartitionsDefinition, up: PartitionsDefinition) -> str | None:
        """Needs the dimension on a side that has several."""
        if not isinstance(down, MultiPartitions) and not isinstance(up, MultiPartitions):
            return f"neither {name_of(down)} nor {name_of(up)} have dimensions; leave it out, or write all_partitions()."
        for side in (down, up):
            if self.name not in self._axes(side):
                names = ", ".join(self._axes(side))
                return f"{name_of(side)} have no dimension {self.name!r}; write one of {names}."
        return super().problem(down, up)

    def _rules(self) -> Mapping[str, PartitionMapping]:
        return {} if self.mapping is None else {self.name: self.mapping}

    def _axes(self, definition: PartitionsDefinition) -> _Axes:
        return definition.dimensions if isinstance(definition, MultiPartitions) else {self.name: definition}


@dataclass(frozen=True, repr=False)
class DimensionsMapping(_MappingByDimension):
    """Between partitions by several dimensions: those of the same name by a mapping each, others not at all.

    Attributes:
        rules: Names of dimensions with their mappings, sorted; the default mapping for a dimension without.
    """

    rules: tuple[tuple[str, PartitionMapping], ...] = ()

    def __post_init__(self) -> None:
        for name, rule in self.rules:
            _require_mapping(rule, f"dimensions({name}=...)")

    def __repr__(self) -> str:
        return f"dimensions({', '.join(f'{name}={rule!r}' for name, rule in self.rules)})"

    def problem(self, down: PartitionsDefinition, up: PartitionsDefinition) -> str | None:
        """Needs several dimensions on both sides."""
        for side in (down, up):
            if not isinstance(side, MultiPartitions):
                return f"{name_of(side)} have no dimensions; write In(partitions=dimension(NAME))."
        return super().problem(down, up)

    def _rules(self) -> Mapping[str, PartitionMapping]:
        return dict(self.rules)

    def _axes(self, definition: PartitionsDefinition) -> _Axes:
        return definition.dimensions if isinstance(definition, MultiPartitions) else {}


@dataclass(frozen=True, repr=False)
class MappedMapping(KeyMapping):
    """By a table of keys; a downstream partition that is not in it needs nothing.

    Attributes:
        table: Downstream keys, sorted, each with the upstream keys that it needs.
    """

    table: tuple[tuple[str, str | tuple[str, ...]], ...]

    def __repr__(self) -> str:
        shown = ", ".join(f"{key!r}: {_plain(names)!r}" for key, names in self.table)
        return f"mapped({{{shown}}})"

    @cached_property
    def _names_of(self) -> dict[str | None, tuple[str, ...]]:
        return {key: (names,) if isinstance(names, str) else names for key, names in self.table}

    def members(self, key: str | None, up: PartitionsDefinition) -> tuple[str, ...]:
        """What the table says."""
        return self._names_of.get(key, ())

    def reads_many(self, down: PartitionsDefinition, up: PartitionsDefinition) -> bool:
        """Unless every entry is a single key."""
        return any(not isinstance(names, str) for _, names in self.table)

    def problem(self, down: PartitionsDefinition, up: PartitionsDefinition) -> str | None:
        """Needs keys that there are, or can come to be where partitions are open or dynamic."""
        names = dict.fromkeys(name for needed in self._names_of.values() for name in needed)
        for side, keys, where in ((down, self._names_of, "downstream"), (up, names, "upstream")):
            lacking = [key for key in keys if not side.may_hold(key)]
            if lacking:
                shown = ", ".join(map(repr, lacking[:3])) + (", ..." if len(lacking) > 3 else "")
                return f"it names {shown}, and {where} has no such partition: {side.bounds()}."
        return None


def identity() -> PartitionMapping:
    """The upstream partition of the same key."""
    return IdentityMapping()


def overlap() -> PartitionMapping:
    """The upstream windows that share an instant with the downstream one, whatever the grains and zones."""
    return OverlapMapping()


def trailing(n: int) -> PartitionMapping:
    """The downstream window and the n - 1 before it, as `TrailingMapping` says.

    Raises:
        DefinitionError: `mapping-invalid`: n is not a whole number of at least 1.
    """
    return TrailingMapping(n)


def shift(n: int) -> PartitionMapping:
    """The window n steps later; earlier for a negative n, as `ShiftMapping` says.

    Raises:
        DefinitionError: `mapping-invalid`: n is not a whole number.
    """
    return ShiftMapping(n)


def all_partitions() -> PartitionMapping:
    """Every upstream partition."""
    return AllMapping()


def last() -> PartitionMapping:
    """The last upstream partition."""
    return LastMapping()


def dimension(name: str, mapping: PartitionMapping | None = None) -> PartitionMapping:
    """Through one dimension of partitions by several, as `DimensionMapping` says.

    Args:
        name: The dimension.
        mapping: Between the dimension and the other side, for instance `trailing(7)`; None for the default.

    Raises:
        DefinitionError: `mapping-invalid`: the second argument is no mapping.
    """
    return DimensionMapping(name, mapping)


def dimensions(**rules: PartitionMapping) -> PartitionMapping:
    """Between dimensions of the same name, by these mappings or the default ones; all of other upstream dimensions.

    Without arguments it is the default between two assets that both have several dimensions.

    Raises:
        DefinitionError: `mapping-invalid`: a value is no mapping.
    """
    return DimensionsMapping(tuple(sorted(rules.items())))


def mapped(table: Mapping[str, str | Iterable[str]]) -> PartitionMapping:
    """By a table of keys: `mapped({"NY": ["EWR", "JFK"], "MA": "BOS"})`.

    Args:
        table: For each downstream key one upstream key, or several; a downstream partition that is not in it reads
            nothing.

    Raises:
        DefinitionError: `mapping-invalid`: a key is no text.
    """
    entries: list[tuple[str, str | tuple[str, ...]]] = []
    for key, names in table.items():
        needed = names if isinstance(names, str) else tuple(names)
        for text in (key, *((needed,) if isinstance(needed, str) else needed)):
            if not isinstance(text, str):
                raise DefinitionError(
                    "mapping-invalid",
                    f"mapped() names the partition {text!r:.80}.",
                    why=f"that is of type {type(text).__name__}, and keys are texts.",
                    do='write for instance mapped({"NY": ["EWR", "JFK"]}).',
                )
        entries.append((key, needed))
    return MappedMapping(tuple(sorted(entries, key=lambda entry: entry[0])))


def default_mapping(down: PartitionsDefinition, up: PartitionsDefinition) -> PartitionMapping:
    """The mapping of an input that names none.

    The same definition: the same key. Both by time: the windows that overlap. One without partitions: everything.
    Both by several dimensions: dimensions of the same name by their default mapping, and all of other upstream ones.
    Otherwise the same key, of which `problem` then says what to write.
    """
    if down == up:
        return IdentityMapping()
    if isinstance(down, TimePartitions) and isinstance(up, TimePartitions):
        return OverlapMapping()
    if UNPARTITIONED in (down, up):
        return AllMapping()
    if isinstance(down, MultiPartitions) and isinstance(up, MultiPartitions):
        return DimensionsMapping()
    return IdentityMapping()


def _plain(names: str | tuple[str, ...]) -> str | list[str]:
    return names if isinstance(names, str) else list(names)


def _require_mapping(rule: object, name: str) -> None:
    if rule is not None and not isinstance(rule, PartitionMapping):
        raise DefinitionError(
            "mapping-invalid",
            f"{name} is given {rule!r:.80}.",
            why=f"that is of type {type(rule).__name__}, no mapping.",
            do="write for instance trailing(7) or all_partitions(), or leave it out.",
        )
