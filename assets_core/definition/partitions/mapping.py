"""Which upstream partitions a downstream partition needs.

Every mapping gives each downstream partition one span of neighbouring upstream partitions, so that whole sets are
translated by arithmetic on two arrays. Mappings are values; their `repr` is how they are written, and enters code
versions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from pyroaring import BitMap

from assets_core.definition.partitions.base import UNPARTITIONED, PartitionsDefinition, PartitionSet
from assets_core.definition.partitions.static import StaticPartitions
from assets_core.definition.partitions.windows import TimePartitions
from assets_core.errors import DefinitionError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Ordinals = npt.NDArray[np.int64]

#: Far beyond any use, and small enough for an array.
_MAX_STEPS = 1_000_000


@dataclass(frozen=True, eq=False)
class Spans:
    """For each downstream partition the half-open span of upstream ordinals that it needs.

    Attributes:
        down: The downstream definition, n partitions.
        up: The upstream definition, m partitions.
        first: n ordinals of `up`, 0 to m.
        last: n ordinals of `up`, `first` to m; equal to `first` where nothing is needed.
    """

    down: PartitionsDefinition
    up: PartitionsDefinition
    first: Ordinals
    last: Ordinals

    def upstream(self, partitions: PartitionSet) -> PartitionSet:
        """All upstream partitions that one of these downstream partitions needs.

        Cost: of the order of the runs, for spans that follow one another; of the members, for others.
        """
        _require(partitions, self.down)
        core = self._orderly
        if core is None:
            members = partitions.to_array()
            firsts, lasts = self.first[members], self.last[members]
        else:
            firsts, lasts = _clip_runs(partitions, *core)
            firsts, lasts = self.first[firsts], self.last[lasts - 1]
        return PartitionSet(self.up, _union(firsts, lasts))

    def downstream(self, partitions: PartitionSet) -> PartitionSet:
        """All downstream partitions that need one of these upstream partitions.

        Cost: as of `upstream`, with a bisection a run.
        """
        import numpy as np

        _require(partitions, self.up)
        core = self._orderly
        firsts, lasts = partitions.run_bounds()
        if core is not None:
            low, high = core
            return PartitionSet(
                self.down,
                _union(
                    np.searchsorted(self.last[low:high], firsts, side="right") + low,
                    np.searchsorted(self.first[low:high], lasts, side="left") + low,
                ),
            )
        member = np.zeros(len(self.up) + 1, np.int64)
        member[partitions.to_array() + 1] = 1
        counts = np.cumsum(member)
        needed = np.flatnonzero(counts[self.last] > counts[self.first])
        return PartitionSet(self.down, BitMap(needed.astype(np.uint32)))

    @cached_property
    def _orderly(self) -> tuple[int, int] | None:
        """The range of all partitions with a span, if spans there follow one another without a hole; else None."""
        import numpy as np

        used = np.flatnonzero(self.first < self.last)
        if not len(used):
            return 0, 0
        low, high = int(used[0]), int(used[-1]) + 1
        first, last = self.first[low:high], self.last[low:high]
        orderly = (
            high - low == len(used)
            and bool(np.all(first[1:] >= first[:-1]))
            and bool(np.all(last[1:] >= last[:-1]))
            and bool(np.all(first[1:] <= last[:-1]))
        )
        return (low, high) if orderly else None


class PartitionMapping(ABC):
    """A rule that says which upstream partitions a downstream partition needs.

    Attributes:
        reads_many: Whether it may name several for one; then `dict[str, T]` means by partition.
    """

    reads_many: ClassVar[bool] = True

    @abstractmethod
    def problem(self, down: PartitionsDefinition, up: PartitionsDefinition) -> str | None:
        """A sentence that says why the mapping cannot be applied and what to write instead; None if it can."""

    def spans(self, down: PartitionsDefinition, up: PartitionsDefinition) -> Spans:
        """Apply the mapping to two definitions; open ones count as they stand at this moment.

        Raises:
            DefinitionError: `mapping-impossible`, saying what `problem` says.
        """
        problem = self.problem(down, up)
        if problem is not None:
            raise DefinitionError(
                "mapping-impossible",
                f"{self!r} cannot map {_name(down)} to {_name(up)}.",
                why=problem,
                do="name another mapping with In(partitions=...).",
            )
        import numpy as np

        first, last = self._spans(down, up)
        first = np.clip(first, 0, len(up))
        last = np.maximum(np.clip(last, 0, len(up)), first)
        for array in (first, last):
            array.setflags(write=False)
        return Spans(down, up, first, last)

    @abstractmethod
    def _spans(self, down: PartitionsDefinition, up: PartitionsDefinition) -> tuple[Ordinals, Ordinals]:
        """Firsts and lasts, not yet clipped to the bounds of `up`."""


@dataclass(frozen=True, repr=False)
class IdentityMapping(PartitionMapping):
    """The partition of the same key; none where upstream has no such key."""

    reads_many = False

    def __repr__(self) -> str:
        return "identity()"

    def problem(self, down: PartitionsDefinition, up: PartitionsDefinition) -> str | None:
        """Needs partitions of one sort on both sides."""
        if down == up or down.signature() == up.signature():
            return None
        if isinstance(down, StaticPartitions) and isinstance(up, StaticPartitions):
            lacking = [key for key in down.keys() if key not in set(up.keys())][:3]
            if not lacking:
                return None
            return (
                f"the downstream partitions {', '.join(map(repr, lacking))} do not exist upstream; write "
                "In(partitions=all_partitions()) or In(partitions=last()), or give both assets the same keys."
            )
        return f"{_name(down)} and {_name(up)} have no keys in common; write {_advice(down, up)}."

    def _spans(self, down: PartitionsDefinition, up: PartitionsDefinition) -> tuple[Ordinals, Ordinals]:
        import numpy as np

        if down == up:
            first = np.arange(len(down), dtype=np.int64)
            return first, first + 1
        own, other = down.positions(), up.positions()
        order = np.argsort(other, kind="stable")
        found = np.searchsorted(other, own, sorter=order)
        padded = np.append(order, len(other))
        first = padded[found]
        known = np.append(other, 0)[first] == own
        return first, first + (known & (first < len(other)))


@dataclass(frozen=True, repr=False)
class OverlapMapping(PartitionMapping):
    """The windows that share an instant with the downstream window."""

    def __repr__(self) -> str:
        return "overlap()"

    def problem(self, down: PartitionsDefinition, up: PartitionsDefinition) -> str | None:
        """Needs partitions by time on both sides."""
        if isinstance(down, TimePartitions) and isinstance(up, TimePartitions):
            return None
        return f"only windows of time overlap, not {_name(down)} and {_name(up)}; write {_advice(down, up)}."

    def _spans(self, down: PartitionsDefinition, up: PartitionsDefinition) -> tuple[Ordinals, Ordinals]:
        assert isinstance(down, TimePartitions)
        assert isinstance(up, TimePartitions)
        edges = down.boundaries()
        return _overlap(edges[:-1], edges[1:], up)


@dataclass(frozen=True, repr=False)
class TrailingMapping(PartitionMapping):
    """The last n windows up to the downstream one, which is the last of them.

    The windows are counted on the downstream side; of an upstream of another grain all windows that overlap them
    are needed. Windows before the first downstream one count too, where upstream has them.
    """

    n: int

    def __post_init__(self) -> None:
        _require_whole(self.n, repr(self))
        if self.n < 1:
            raise DefinitionError(
                "mapping-invalid",
                f"{self!r} asks for no partition.",
                why="n counts the partition itself and those before it.",
                do="write trailing(1) or more; shift(-1) is the one before.",
            )

    def __repr__(self) -> str:
        return f"trailing({self.n!r})"

    def problem(self, down: PartitionsDefinition, up: PartitionsDefinition) -> str | None:
        """Needs partitions by time on both sides, or equal ones."""
        return _not_in_step(repr(self), down, up)

    def _spans(self, down: PartitionsDefinition, up: PartitionsDefinition) -> tuple[Ordinals, Ordinals]:
        import numpy as np

        if isinstance(down, TimePartitions) and isinstance(up, TimePartitions):
            edges = down.boundaries_beyond(self.n - 1, 0, _reach(up))
            count = len(edges) - self.n
            return _overlap(edges[:count], edges[self.n :], up)
        last = np.arange(1, len(down) + 1, dtype=np.int64)
        return last - self.n, last


@dataclass(frozen=True, repr=False)
class ShiftMapping(PartitionMapping):
    """The window that many later, earlier when negative.

    The step is counted in downstream windows; of an upstream of another grain all windows that overlap the shifted
    one are needed.
    """

    n: int

    def __post_init__(self) -> None:
        _require_whole(self.n, repr(self))

    def __repr__(self) -> str:
        return f"shift({self.n!r})"

    def problem(self, down: PartitionsDefinition, up: PartitionsDefinition) -> str | None:
        """Needs partitions by time on both sides, or equal ones."""
        return _not_in_step(repr(self), down, up)

    def _spans(self, down: PartitionsDefinition, up: PartitionsDefinition) -> tuple[Ordinals, Ordinals]:
        import numpy as np

        if isinstance(down, TimePartitions) and isinstance(up, TimePartitions):
            edges = down.boundaries_beyond(max(-self.n, 0), max(self.n, 0), _reach(up))
            count = len(down.boundaries()) - 1
            edges = edges[max(self.n, 0) :]
            return _overlap(edges[:count], edges[1 : count + 1], up)
        first = np.arange(len(down), dtype=np.int64) + self.n
        return first, first + 1


@dataclass(frozen=True, repr=False)
class AllMapping(PartitionMapping):
    """Every upstream partition."""

    def __repr__(self) -> str:
        return "all_partitions()"

    def problem(self, down: PartitionsDefinition, up: PartitionsDefinition) -> str | None:
        """None: it can always be applied."""
        return None

    def _spans(self, down: PartitionsDefinition, up: PartitionsDefinition) -> tuple[Ordinals, Ordinals]:
        import numpy as np

        return np.zeros(len(down), np.int64), np.full(len(down), len(up), np.int64)


@dataclass(frozen=True, repr=False)
class LastMapping(PartitionMapping):
    """The last upstream partition."""

    reads_many = False

    def __repr__(self) -> str:
        return "last()"

    def problem(self, down: PartitionsDefinition, up: PartitionsDefinition) -> str | None:
        """None: it can always be applied."""
        return None

    def _spans(self, down: PartitionsDefinition, up: PartitionsDefinition) -> tuple[Ordinals, Ordinals]:
        import numpy as np

        return np.full(len(down), len(up) - 1, np.int64), np.full(len(down), len(up), np.int64)


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


def default_mapping(down: PartitionsDefinition, up: PartitionsDefinition) -> PartitionMapping:
    """The mapping of an input that names none.

    The same definition: the same key. Both by time: the windows that overlap. One without partitions: everything.
    Otherwise the same key, of which `problem` then says what to write.
    """
    if down == up:
        return IdentityMapping()
    if isinstance(down, TimePartitions) and isinstance(up, TimePartitions):
        return OverlapMapping()
    if UNPARTITIONED in (down, up):
        return AllMapping()
    return IdentityMapping()


def _name(definition: PartitionsDefinition) -> str:
    if isinstance(definition, TimePartitions):
        return f"{definition.signature()} partitions"
    if definition == UNPARTITIONED:
        return "no partitions"
    return f"{len(definition):,} {definition.kind} partitions"


def _advice(down: PartitionsDefinition, up: PartitionsDefinition) -> str:
    if isinstance(down, TimePartitions) and isinstance(up, TimePartitions):
        return "In(partitions=overlap())"
    return "In(partitions=all_partitions()) or In(partitions=last())"


def _not_in_step(name: str, down: PartitionsDefinition, up: PartitionsDefinition) -> str | None:
    if down == up or (isinstance(down, TimePartitions) and isinstance(up, TimePartitions)):
        return None
    return (
        f"{name} counts windows of time, or steps through one list of keys, not from {_name(down)} to {_name(up)}; "
        f"write {_advice(down, up)}."
    )


def _require_whole(n: object, name: str) -> None:
    if not isinstance(n, int) or isinstance(n, bool):
        raise DefinitionError(
            "mapping-invalid",
            f"{name} does not count partitions.",
            why=f"{n!r} is not a whole number.",
            do="write a whole number, for instance 7.",
        )
    if abs(n) > _MAX_STEPS:
        raise DefinitionError(
            "mapping-invalid",
            f"{name} reaches too far.",
            why=f"at most {_MAX_STEPS:,} partitions can be counted.",
            do="write a smaller number, or all_partitions().",
        )


def _require(partitions: PartitionSet, definition: PartitionsDefinition) -> None:
    if partitions.definition != definition:
        raise ValueError(f"{partitions!r} is not a set of partitions of {definition!r}")


def _reach(up: TimePartitions) -> tuple[int, int]:
    edges = up.boundaries()
    return int(edges[0]), int(edges[-1])


def _overlap(starts: Ordinals, ends: Ordinals, up: TimePartitions) -> tuple[Ordinals, Ordinals]:
    """Spans of upstream windows that share an instant with [start, end)."""
    import numpy as np

    edges = up.boundaries()
    firsts = np.searchsorted(edges, starts, side="right") - 1
    lasts = np.searchsorted(edges, ends, side="left")
    return firsts, np.where(starts < ends, lasts, firsts)


def _clip_runs(partitions: PartitionSet, low: int, high: int) -> tuple[Ordinals, Ordinals]:
    """The runs of a set as far as they lie in [low, high), each with a member."""
    import numpy as np

    firsts, lasts = partitions.run_bounds()
    firsts, lasts = np.maximum(firsts, low), np.minimum(lasts, high)
    kept = firsts < lasts
    return firsts[kept], lasts[kept]


def _union(firsts: Ordinals, lasts: Ordinals) -> BitMap:
    """The members of half-open ranges, which may be empty or backwards, overlap and stand in any order."""
    import numpy as np

    kept = firsts < lasts
    firsts, lasts = firsts[kept], lasts[kept]
    if not len(firsts):
        return BitMap()
    order = np.argsort(firsts, kind="stable")
    firsts, reached = firsts[order], np.maximum.accumulate(lasts[order])
    begins = np.flatnonzero(np.append(True, firsts[1:] > reached[:-1]))
    firsts, lasts = firsts[begins], reached[np.append(begins[1:], len(reached)) - 1]
    if len(firsts) * 8 > int(np.sum(lasts - firsts)):  # short ranges: cheaper member by member
        lengths = lasts - firsts
        offsets = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return BitMap((np.repeat(firsts, lengths) + offsets).astype(np.uint32))
    bits = BitMap()
    for begin, end in zip(firsts.tolist(), lasts.tolist(), strict=True):
        bits.add_range(begin, end)
    return bits
