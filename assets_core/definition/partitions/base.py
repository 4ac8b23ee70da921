"""What a partition definition is, and sets of its partitions.

A definition maps keys to ordinals 0..n-1 and back; a `PartitionSet` is a definition and a roaring bitmap, so that
union, difference and mapping cost what the runs cost, not what the members cost.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pyroaring import BitMap

from io_managers.errors import NotFoundError

if TYPE_CHECKING:
    import datetime as dt

    import numpy as np
    import numpy.typing as npt

    from assets_core.definition.partitions.windows import Window

#: The keys that a storage holds for dynamic partitions of a name, in their order.
StoredKeys = Callable[[str], Sequence[str]]

#: Words that mean partitions by their state or place where a selection of partitions is written.
SELECTION_WORDS = ("latest", "all", "missing", "stale", "failed")

#: Of the exchange format of roaring bitmaps: its number, and how many members a container may have.
_ROARING_WITHOUT_RUNS, _CHUNK = 12346, 65_536


class PartitionsDefinition(ABC):
    """An ordered, finite list of partition keys.

    Definitions are values: equal when they describe the same keys in the same order. Constructing one, `len` and
    `signature` import nothing heavy; only the vectorised `positions` needs numpy.
    """

    #: Short name shown to people and in JSON: hourly, daily, weekly, monthly, cron, static, dynamic, multi, none.
    kind: str

    @abstractmethod
    def __len__(self) -> int:
        """How many partitions there are."""

    @abstractmethod
    def key(self, ordinal: int) -> str | None:
        """The key of an ordinal; None only for `UNPARTITIONED`."""

    @abstractmethod
    def ordinal(self, key: str | None) -> int:
        """The ordinal of a key.

        Raises:
            NotFoundError: `partition-not-found`, naming the nearest keys or the bounds.
        """

    @abstractmethod
    def positions(self) -> npt.NDArray[np.int64]:
        """For each ordinal a 64-bit name that does not depend on where the definition starts.

        Epoch seconds of a window's start, or a hash of a static key: the state store finds partitions by it.
        """

    @abstractmethod
    def signature(self) -> str:
        """What makes two definitions slice data alike, bounds left out: for instance `daily America/New_York`."""

    def at(self, now: dt.datetime, stored: StoredKeys | None = None) -> PartitionsDefinition:
        """The definition as of an instant, from when on it does not change.

        Args:
            now: An open-ended definition is closed at the last window that has ended by then.
            stored: Gives the keys of dynamic partitions; without it they have none.
        """
        return self

    def dynamic_names(self) -> tuple[str, ...]:
        """Names of the lists of stored keys that the definition is made of."""
        return ()

    def position_of(self, key: str | None) -> int | None:
        """The element of `positions` for a key, also for one that the definition does not hold now; None if unknown."""
        try:
            return int(self.positions()[self.ordinal(key)])
        except NotFoundError:
            return None

    def may_hold(self, key: str | None) -> bool:
        """Whether there is, or can come to be, a partition of that key without a change of the definition."""
        try:
            self.ordinal(key)
        except NotFoundError:
            return False
        return True

    def window_of(self, key: str | None) -> Window | None:
        """The span of time that a partition stands for; None where it stands for none.

        Raises:
            NotFoundError: As `ordinal`.
        """
        return None

    def parts(self, key: str | None) -> Mapping[str, str]:
        """The key of each dimension, by the dimension's name; empty for a definition without dimensions.

        Raises:
            NotFoundError: As `ordinal`.
        """
        return {}

    def ranks_in_time(self) -> npt.NDArray[np.int64] | None:
        """For each ordinal the place of its window among all windows; None where partitions are no spans of time."""
        return None

    def describe_run(self, first: int, last: int) -> str:
        """The ordinals `first` to `last`, both in, for people."""
        return str(self.key(first)) if first == last else f"{self.key(first)}..{self.key(last)}"

    def bounds(self) -> str:
        """The first and the last key, for people."""
        n = len(self)
        if n == 0:
            return f"there are no {self.kind} partitions yet"
        return f"the {n:,} {self.kind} partitions run from {self.key(0)!r} to {self.key(n - 1)!r}"

    def format_key(self, key: str | None) -> str:
        """A key as `parse_partitions` takes it, with an escape where it would mean something else."""
        return str(key)

    def format_runs(self, runs: Sequence[tuple[int, int]]) -> str:
        """Half-open runs of ordinals as `parse_partitions` takes them: ranges with both ends in."""
        name = self.format_key
        return ",".join(
            name(self.key(first))
            if last - first == 1
            else f"{name(self.key(first))}..{name(self.key(last - 1))}"
            for first, last in runs
        )

    def keys(self) -> Iterator[str | None]:
        """All keys in order."""
        return (self.key(ordinal) for ordinal in range(len(self)))

    def all(self) -> PartitionSet:
        """The set of all partitions."""
        return PartitionSet(self, BitMap(range(len(self))))

    def none(self) -> PartitionSet:
        """The empty set."""
        return PartitionSet(self, BitMap())

    def subset(self, keys: Iterable[str | None]) -> PartitionSet:
        """The set of the given keys; raises as `ordinal` does."""
        return PartitionSet(self, BitMap([self.ordinal(key) for key in keys]))

    def __bool__(self) -> bool:
        """True, also without any partition: a definition is asked for its presence, not for its length."""
        return True

    def _not_found(self, key: str | None, nearest: Sequence[str | None], why: str) -> NotFoundError:
        near = f"; nearest: {', '.join(map(repr, nearest))}" if nearest else ""
        return NotFoundError(
            "partition-not-found",
            f"there is no partition {_shorten(key)}.",
            why=f"{why}{near}.",
            do="choose a key of the definition; `assetline show KEY` prints its bounds.",
        )


def _shorten(key: str | None) -> str:
    text = repr(key)
    return text if len(text) <= 80 else f"{text[:77]}..."


class Unpartitioned(PartitionsDefinition):
    """One partition without a key, so that assets with and without partitions are handled alike."""

    kind = "none"

    def __len__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Unpartitioned)

    def __hash__(self) -> int:
        return hash("Unpartitioned")

    def __repr__(self) -> str:
        return "UNPARTITIONED"

    def key(self, ordinal: int) -> None:
        """None."""

    def ordinal(self, key: str | None) -> int:
        """0 for None."""
        if key is None:
            return 0
        raise self._not_found(key, (), "the asset has no partitions")

    def positions(self) -> npt.NDArray[np.int64]:
        """One zero."""
        import numpy as np

        return np.zeros(1, dtype=np.int64)

    def signature(self) -> str:
        """`none`."""
        return "none"

    def bounds(self) -> str:
        """That there are none."""
        return "the asset has no partitions"

    def format_runs(self, runs: Sequence[tuple[int, int]]) -> str:
        """`all` for the one there is."""
        return "all" if runs else ""


UNPARTITIONED = Unpartitioned()


class PartitionSet:
    """Some partitions of one definition, in the definition's order."""

    __slots__ = ("_bits", "definition")

    def __init__(self, definition: PartitionsDefinition, bits: BitMap) -> None:
        self.definition = definition
        self._bits = bits

    @property
    def bits(self) -> BitMap:
        """The ordinals; not to be changed in place."""
        return self._bits

    def ordinals(self) -> Iterator[int]:
        """Ordinals, ascending."""
        return iter(self._bits)

    def keys(self) -> list[str | None]:
        """Keys, in the definition's order."""
        key = self.definition.key
        return [key(ordinal) for ordinal in self._bits]

    def to_array(self) -> npt.NDArray[np.int64]:
        """Ordinals as an array, ascending."""
        return _to_array(self._bits)

    def spans(self) -> list[tuple[int, int]]:
        """Maximal runs of neighbours as half-open (first, last + 1)."""
        bits = self._bits  # set operations find the ends of all runs at once, in C
        firsts, lasts = bits - bits.shift(1), bits - bits.shift(-1)
        return [(first, last + 1) for first, last in zip(firsts, lasts, strict=True)]

    def run_bounds(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The same runs as two arrays: firsts, and lasts + 1."""
        bits = self._bits
        return _to_array(bits - bits.shift(1)), _to_array(bits - bits.shift(-1)) + 1

    def __len__(self) -> int:
        return len(self._bits)

    def __bool__(self) -> bool:
        return bool(self._bits)

    def __contains__(self, ordinal: int) -> bool:
        return ordinal in self._bits

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PartitionSet):
            return NotImplemented
        return self.definition == other.definition and self._bits == other._bits

    def __hash__(self) -> int:
        return hash((self.definition, bytes(self._bits.serialize())))

    def __reduce__(self) -> tuple[Any, ...]:
        # a roaring bitmap of strewn members takes 8 KiB for every 65,536 ordinals, however few there are
        return _unpacked, (self.definition, zlib.compress(self._bits.serialize(), 1))

    def __or__(self, other: PartitionSet) -> PartitionSet:
        return PartitionSet(self.definition, self._bits | self._same(other))

    def __and__(self, other: PartitionSet) -> PartitionSet:
        return PartitionSet(self.definition, self._bits & self._same(other))

    def __sub__(self, other: PartitionSet) -> PartitionSet:
        return PartitionSet(self.definition, self._bits - self._same(other))

    def _same(self, other: PartitionSet) -> BitMap:
        if other.definition != self.definition:
            raise ValueError("sets of different partition definitions cannot be combined")
        return other._bits

    def __str__(self) -> str:
        """Ranges with both ends in, as the command line takes them: `2013-01-01..2013-01-31,2013-02-03`."""
        return self.definition.format_runs(self.spans())

    def __repr__(self) -> str:
        return f"PartitionSet({len(self)} of {len(self.definition)} {self.definition.kind}: {self!s:.80})"


def _unpacked(definition: PartitionsDefinition, packed: bytes) -> PartitionSet:
    return PartitionSet(definition, BitMap.deserialize(zlib.decompress(packed)))


def bitmap_of(mask: npt.NDArray[np.bool_]) -> BitMap:
    """The set of the ordinals where a mask holds.

    Written in the format that roaring bitmaps are exchanged in, which costs a copy; adding member by member costs a
    hundred times as much.
    """
    import numpy as np

    heads, bodies = [], []
    for key, start in enumerate(range(0, len(mask), _CHUNK)):
        chunk = mask[start : start + _CHUNK]
        count = int(np.count_nonzero(chunk))
        if not count:
            continue
        heads.append((key, count - 1))
        if count <= _CHUNK // 16:
            bodies.append(np.flatnonzero(chunk).astype("<u2").tobytes())
        else:
            bodies.append(np.packbits(chunk, bitorder="little").tobytes().ljust(_CHUNK // 8, b"\0"))
    n = len(heads)
    ends = [8 + 8 * n]
    for body in bodies:
        ends.append(ends[-1] + len(body))
    header = np.array([_ROARING_WITHOUT_RUNS, n], "<u4").tobytes()
    parts = (header, np.array(heads, "<u2").tobytes(), np.array(ends[:-1], "<u4").tobytes(), *bodies)
    return BitMap.deserialize(b"".join(parts))


def _to_array(bits: BitMap) -> npt.NDArray[np.int64]:
    import numpy as np

    return np.frombuffer(bits.to_array(), dtype=np.uint32).astype(np.int64) if bits else np.zeros(0, np.int64)
