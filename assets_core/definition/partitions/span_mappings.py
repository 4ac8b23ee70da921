"""The mappings whose rule is a run of neighbours: the same key, windows of time, everything, the last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from assets_core.definition.partitions.base import PartitionsDefinition
from assets_core.definition.partitions.multi import MultiPartitions
from assets_core.definition.partitions.rules import SpanMapping, name_of
from assets_core.definition.partitions.static import StaticPartitions
from assets_core.definition.partitions.windows import TimePartitions
from assets_core.errors import DefinitionError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Ordinals = npt.NDArray[np.int64]

__all__ = [
    "AllMapping",
    "IdentityMapping",
    "LastMapping",
    "OverlapMapping",
    "ShiftMapping",
    "TrailingMapping",
]

#: Far beyond any use, and small enough for an array.
_MAX_STEPS = 1_000_000


@dataclass(frozen=True, repr=False)
class IdentityMapping(SpanMapping):
    """The partition of the same key; none where upstream has no such key."""

    def __repr__(self) -> str:
        return "identity()"

    def reads_many(self, down: PartitionsDefinition, up: PartitionsDefinition) -> bool:
        """It names one."""
        return False

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
        return f"{name_of(down)} and {name_of(up)} have no keys in common; write {_advice(down, up)}."

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
class OverlapMapping(SpanMapping):
    """The windows that share an instant with the downstream window."""

    def __repr__(self) -> str:
        return "overlap()"

    def problem(self, down: PartitionsDefinition, up: PartitionsDefinition) -> str | None:
        """Needs partitions by time on both sides."""
        if isinstance(down, TimePartitions) and isinstance(up, TimePartitions):
            return None
        return (
            f"only windows of time overlap, not {name_of(down)} and {name_of(up)}; write {_advice(down, up)}."
        )

    def _spans(self, down: PartitionsDefinition, up: PartitionsDefinition) -> tuple[Ordinals, Ordinals]:
        assert isinstance(down, TimePartitions)
        assert isinstance(up, TimePartitions)
        edges = down.boundaries()
        return _overlap(edges[:-1], edges[1:], up)


@dataclass(frozen=True, repr=False)
class TrailingMapping(SpanMapping):
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
class ShiftMapping(SpanMapping):
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
class AllMapping(SpanMapping):
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
class LastMapping(SpanMapping):
    """The last upstream partition."""

    def __repr__(self) -> str:
        return "last()"

    def reads_many(self, down: PartitionsDefinition, up: PartitionsDefinition) -> bool:
        """It names one."""
        return False

    def problem(self, down: PartitionsDefinition, up: PartitionsDefinition) -> str | None:
        """None: it can always be applied."""
        return None

    def _spans(self, down: PartitionsDefinition, up: PartitionsDefinition) -> tuple[Ordinals, Ordinals]:
        import numpy as np

        return np.full(len(down), len(up) - 1, np.int64), np.full(len(down), len(up), np.int64)


def _advice(down: PartitionsDefinition, up: PartitionsDefinition) -> str:
    if isinstance(down, TimePartitions) and isinstance(up, TimePartitions):
        return "In(partitions=overlap())"
    for side in (down, up):
        if isinstance(side, MultiPartitions):
            name = _likeliest(side, up if side is down else down)
            return f"In(partitions=dimension({name!r})) or In(partitions=all_partitions())"
    return "In(partitions=all_partitions()) or In(partitions=last())"


def _likeliest(sides: MultiPartitions, other: PartitionsDefinition) -> str:
    """The dimension that is most like another definition."""
    alike = [name for name, item in sides.dimensions.items() if item.signature() == other.signature()]
    return next(iter([*alike, *sides.dimensions]))


def _not_in_step(name: str, down: PartitionsDefinition, up: PartitionsDefinition) -> str | None:
    for side in (down, up):
        if isinstance(side, MultiPartitions):
            one = side.time_dimension or next(iter(side.dimensions))
            return (
                f"{name} steps through one list of keys, and {name_of(side)} are several; "
                f"write In(partitions=dimension({one!r}, {name}))."
            )
    if down == up or (isinstance(down, TimePartitions) and isinstance(up, TimePartitions)):
        return None
    return (
        f"{name} counts windows of time, or steps through one list of keys, not from {name_of(down)} to {name_of(up)}; "
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
