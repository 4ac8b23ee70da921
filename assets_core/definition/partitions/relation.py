"""Which upstream partitions each downstream partition needs, applied to two definitions.

    Spans       one run of neighbours for each: two arrays, whatever the number of partitions in a run
    Scattered   any members for each: all of them one after the other, and where those of each begin

Both answer the same questions over all downstream partitions at once, so that nobody has to know which one it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from pyroaring import BitMap

from assets_core.definition.partitions.base import PartitionsDefinition, PartitionSet, bitmap_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Ordinals = npt.NDArray[np.int64]
    Mask = npt.NDArray[np.bool_]

__all__ = ["Relation", "Scattered", "Side", "Spans", "product"]


class Links(NamedTuple):
    """Pairs of chosen downstream and chosen upstream partitions, grouped by downstream.

    Attributes:
        counts: For each of the k downstream partitions its number of pairs.
        above: For each pair, in order, where its upstream partition stands among those chosen.
    """

    counts: Ordinals
    above: Ordinals


class Relation(ABC):
    """For each partition of `down`, n in all, the partitions of `up`, m in all, that it needs."""

    down: PartitionsDefinition
    up: PartitionsDefinition

    @property
    @abstractmethod
    def counts(self) -> Ordinals:
        """How many each needs: shape (n,)."""

    @abstractmethod
    def members(self, ordinal: int) -> Sequence[int]:
        """Upstream ordinals that one downstream partition needs, ascending."""

    @abstractmethod
    def index(self, ordinal: int) -> slice | Ordinals:
        """The same as what picks them out of an array over `up`."""

    @abstractmethod
    def bounds(self) -> tuple[Ordinals, Ordinals] | None:
        """Firsts and lasts + 1 where each needs neighbours only; None otherwise."""

    @abstractmethod
    def pairs(self, downs: Ordinals) -> tuple[Ordinals, Ordinals]:
        """Of some downstream partitions: how many each needs, and all of these one after the other."""

    @abstractmethod
    def sum_over(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """For each downstream partition the sum of the values of what it needs.

        Args:
            values: Shape (m,); of integers the sums wrap around, of a mask they count.

        Returns:
            Shape (n,).
        """

    @abstractmethod
    def upstream(self, partitions: PartitionSet) -> PartitionSet:
        """All upstream partitions that one of these downstream partitions needs."""

    @abstractmethod
    def links(self, downs: Ordinals, ups: Ordinals) -> Links:
        """The pairs among some partitions of both sides.

        Args:
            downs: Ordinals of `down`, k of them.
            ups: Ordinals of `up`, ascending.
        """

    def any_over(self, mask: Mask) -> Mask:
        """For each downstream partition whether it needs one of the mask: shape (m,) to (n,)."""
        import numpy as np

        if not mask.any():
            return np.zeros(len(self.down), np.bool_)
        needed: Mask = self.sum_over(mask) > 0
        return needed

    def downstream(self, partitions: PartitionSet) -> PartitionSet:
        """All downstream partitions that need one of these upstream partitions."""
        import numpy as np

        _require(partitions, self.up)
        mask = np.zeros(len(self.up), np.bool_)
        mask[partitions.to_array()] = True
        return PartitionSet(self.down, bitmap_of(self.any_over(mask)))


class Spans(Relation):
    """Neighbours only: for each downstream partition the half-open span of upstream ordinals that it needs.

    Args:
        down: The downstream definition, n partitions.
        up: The upstream definition, m partitions.
        first: n ordinals of `up`, 0 to m.
        last: n ordinals of `up`, `first` to m; equal to `first` where nothing is needed.
    """

    def __init__(
        self, down: PartitionsDefinition, up: PartitionsDefinition, first: Ordinals, last: Ordinals
    ) -> None:
        self.down = down
        self.up = up
        self.first = first
        self.last = last
        for array in (first, last):
            array.setflags(write=False)

    @property
    def counts(self) -> Ordinals:
        """How many each needs."""
        return self.last - self.first

    def members(self, ordinal: int) -> range:
        """The span of one."""
        return range(int(self.first[ordinal]), int(self.last[ordinal]))

    def index(self, ordinal: int) -> slice:
        """The span of one."""
        return slice(int(self.first[ordinal]), int(self.last[ordinal]))

    def bounds(self) -> tuple[Ordinals, Ordinals]:
        """Firsts and lasts + 1."""
        return self.first, self.last

    def pairs(self, downs: Ordinals) -> tuple[Ordinals, Ordinals]:
        """The spans of some laid end to end."""
        firsts = self.first[downs]
        counts = self.last[downs] - firsts
        return counts, _runs(firsts, counts)

    def sum_over(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """From prefix sums, two look-ups for each."""
        sums = _prefix_sums(values)
        found: npt.NDArray[Any] = sums[self.last] - sums[self.first]
        return found

    def links(self, downs: Ordinals, ups: Ordinals) -> Links:
        """By bisection; only the pairs themselves are written out."""
        import numpy as np

        low = np.searchsorted(ups, self.first[downs])
        counts = np.searchsorted(ups, self.last[downs]) - low
        return Links(counts, _runs(low, counts))

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

        core = self._orderly
        if core is None:
            return super().downstream(partitions)
        _require(partitions, self.up)
        firsts, lasts = partitions.run_bounds()
        low, high = core
        return PartitionSet(
            self.down,
            _union(
                np.searchsorted(self.last[low:high], firsts, side="right") + low,
                np.searchsorted(self.first[low:high], lasts, side="left") + low,
            ),
        )

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


class Scattered(Relation):
    """Any members for each.

    Args:
        down: The downstream definition, n partitions.
        up: The upstream definition, m partitions.
        starts: n + 1 places in `ordinals`: those of partition i stand from `starts[i]` to `starts[i + 1]`.
        ordinals: Ordinals of `up`; of each downstream partition ascending, none twice.
    """

    def __init__(
        self, down: PartitionsDefinition, up: PartitionsDefinition, starts: Ordinals, ordinals: Ordinals
    ) -> None:
        self.down = down
        self.up = up
        self.starts = starts
        self.ordinals = ordinals
        for array in (starts, ordinals):
            array.setflags(write=False)

    @property
    def counts(self) -> Ordinals:
        """How many each needs."""
        return self.starts[1:] - self.starts[:-1]

    def members(self, ordinal: int) -> list[int]:
        """Upstream ordinals that one needs, ascending."""
        found: list[int] = self.index(ordinal).tolist()
        return found

    def index(self, ordinal: int) -> Ordinals:
        """The same as an array."""
        return self.ordinals[self.starts[ordinal] : self.starts[ordinal + 1]]

    def bounds(self) -> tuple[Ordinals, Ordinals] | None:
        """Firsts and lasts + 1 where each needs neighbours only."""
        import numpy as np

        counts = self.counts
        used = counts > 0
        first, last = np.zeros(len(counts), np.int64), np.zeros(len(counts), np.int64)
        first[used] = self.ordinals[self.starts[:-1][used]]
        last[used] = self.ordinals[self.starts[1:][used] - 1] + 1
        return (first, last) if bool(np.all(last - first == counts)) else None

    def pairs(self, downs: Ordinals) -> tuple[Ordinals, Ordinals]:
        """The members of some one after the other."""
        starts = self.starts[downs]
        counts = self.starts[downs + 1] - starts
        return counts, self.ordinals[_runs(starts, counts)]

    def sum_over(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """From prefix sums over all members."""
        sums = _prefix_sums(values[self.ordinals])
        found: npt.NDArray[Any] = sums[self.starts[1:]] - sums[self.starts[:-1]]
        return found

    def links(self, downs: Ordinals, ups: Ordinals) -> Links:
        """All pairs of the downstream ones, less those that were not chosen upstream."""
        import numpy as np

        counts, members = self.pairs(downs)
        place = np.full(len(self.up), -1, np.int64)
        place[ups] = np.arange(len(ups))
        above = place[members]
        kept = above >= 0
        sums = _prefix_sums(kept)
        ends = np.cumsum(counts)
        return Links(sums[ends] - sums[ends - counts], above[kept])

    def upstream(self, partitions: PartitionSet) -> PartitionSet:
        """All upstream partitions that one of these downstream partitions needs."""
        import numpy as np

        _require(partitions, self.down)
        needed = np.zeros(len(self.up), np.bool_)
        needed[self.pairs(partitions.to_array())[1]] = True
        return PartitionSet(self.up, BitMap(np.flatnonzero(needed).astype(np.uint32)))


class Side(NamedTuple):
    """One upstream dimension in a product.

    Attributes:
        relation: To the partitions of this dimension.
        rows: For each of the n downstream partitions the row of the relation that holds for it.
    """

    relation: Relation
    rows: Ordinals


def product(down: PartitionsDefinition, up: PartitionsDefinition, sides: Sequence[Side]) -> Relation:
    """What needs every combination of what its sides need; `up` counts them with the last side fastest.

    Spans wherever the members are neighbours: then nothing is written out. Otherwise the cost is that of all members.
    """
    import numpy as np

    n = len(down)
    outer = list(sides)
    inner = 1  # combinations of the last sides, all of which are needed
    while outer and _is_full(outer[-1]):
        inner *= len(outer.pop().relation.up)
    if not outer:
        return Spans(down, up, np.zeros(n, np.int64), np.full(n, inner, np.int64))
    neighbours = _neighbours(down, up, outer[:-1], outer[-1], inner)
    if neighbours is not None:
        return neighbours
    starts, ordinals = np.arange(n + 1, dtype=np.int64), np.zeros(n, np.int64)
    for side in sides:
        owners = np.repeat(np.arange(n), starts[1:] - starts[:-1])
        counts, members = side.relation.pairs(side.rows[owners])
        ordinals = np.repeat(ordinals * len(side.relation.up), counts) + members
        starts = _prefix_sums(counts)[starts]
    found = Scattered(down, up, starts, ordinals)
    bounds = found.bounds()
    return found if bounds is None else Spans(down, up, *bounds)


def _neighbours(
    down: PartitionsDefinition, up: PartitionsDefinition, before: Sequence[Side], nearest: Side, inner: int
) -> Spans | None:
    """With at most one member of each of the sides before, a span of the nearest, and all of `inner` for each."""
    import numpy as np

    bounds = nearest.relation.bounds()
    if bounds is None:
        return None
    first, last = (edges[nearest.rows] for edges in bounds)
    lead = np.zeros(len(first), np.int64)
    for side in before:
        counts, members = side.relation.pairs(side.rows)
        if bool(np.any(counts > 1)):
            return None
        there = counts > 0
        last = np.where(there, last, first)
        lead *= len(side.relation.up)
        lead[there] += members
    used, size = first < last, len(nearest.relation.up)
    return Spans(
        down,
        up,
        np.where(used, (lead * size + first) * inner, 0),
        np.where(used, (lead * size + last) * inner, 0),
    )


def _is_full(side: Side) -> bool:
    """Whether every downstream partition needs all of this dimension."""
    counts = side.relation.counts
    n = len(side.relation.up)
    return bool((counts == n).all()) or bool((counts[side.rows] == n).all())


def _prefix_sums(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Wrapping sums of the first 0, 1, ..., n elements: unsigned for unsigned values, else int64."""
    import numpy as np

    kind = values.dtype if values.dtype.kind == "u" else np.dtype(np.int64)
    sums = np.zeros(len(values) + 1, kind)
    np.cumsum(values, dtype=kind, out=sums[1:])
    return sums


def _runs(firsts: Ordinals, counts: Ordinals) -> Ordinals:
    """Runs of so many integers from each first on, laid end to end."""
    import numpy as np

    offsets = firsts - np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)[:-1]])[: len(counts)]
    runs: Ordinals = np.arange(int(counts.sum()), dtype=np.int64) + np.repeat(offsets, counts)
    return runs


def _require(partitions: PartitionSet, definition: PartitionsDefinition) -> None:
    if partitions.definition != definition:
        raise ValueError(f"{partitions!r} is not a set of partitions of {definition!r}")


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
    top = int(lasts.max())
    if len(firsts) * 8 > top:  # dense: cheaper to count over all ordinals how many ranges hold each
        depth = np.bincount(firsts, minlength=top + 1) - np.bincount(lasts, minlength=top + 1)
        return bitmap_of(np.cumsum(depth) > 0)
    order = np.argsort(firsts, kind="stable")
    firsts, reached = firsts[order], np.maximum.accumulate(lasts[order])
    begins = np.flatnonzero(np.append(True, firsts[1:] > reached[:-1]))
    firsts, lasts = firsts[begins], reached[np.append(begins[1:], len(reached)) - 1]
    lengths = lasts - firsts
    if len(firsts) * 8 > int(np.sum(lengths)):  # short ranges: cheaper member by member
        return BitMap(_runs(firsts, lengths).astype(np.uint32))
    bits = BitMap()
    for begin, end in zip(firsts.tolist(), lasts.tolist(), strict=True):
        bits.add_range(begin, end)
    return bits
