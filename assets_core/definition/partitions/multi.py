r"""Partitions by several dimensions at once.

Ordinals run through the dimensions in the order of their names, the last one fastest, so that the partitions that
share the key of the first dimensions are neighbours. A key is `day=2013-01-01|region=EWR`: every dimension in that
order, with a backslash before each `|`, `=` and `\` of its key.
"""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from assets_core.definition.partitions.base import UNPARTITIONED, PartitionsDefinition, StoredKeys
from assets_core.definition.partitions.static import key_position
from assets_core.definition.partitions.windows import TimePartitions
from assets_core.errors import DefinitionError, NotFoundError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from assets_core.definition.partitions.windows import Window

#: Half-open ordinals of one dimension, and of each dimension.
_Span = tuple[int, int]
_Box = tuple[_Span, ...]

_MAX_PARTITIONS = 2**32 - 1
_SEPARATOR = re.compile(r"[|=\\]")
#: `name=key`, where the key ends at a `|` without a backslash before it.
_PART = re.compile(r"([^|=\\]+)=((?:[^|=\\]|\\[|=\\])*)(\||\Z)", re.DOTALL)
_MASK = 0xFFFF_FFFF_FFFF_FFFF
# odd numbers with mixed bits: those of the finaliser of splitmix64
_FIRST, _SECOND = 0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB


class MultiPartitions(PartitionsDefinition):
    """One partition for each combination of the keys of several dimensions.

    Args:
        dimensions: Definitions by name, for instance `day=DailyPartitions(...), region=StaticPartitions([...])`.

    Raises:
        DefinitionError: `dimensions-invalid`: there are none, or one is itself of several dimensions;
            `partitions-too-many`.
    """

    kind = "multi"

    def __init__(self, **dimensions: PartitionsDefinition) -> None:
        if not dimensions:
            raise _invalid("MultiPartitions() has no dimensions.", "nothing is given.")
        for name, definition in dimensions.items():
            self._require_dimension(name, definition)
        self._dimensions = MappingProxyType(dict(sorted(dimensions.items())))
        if prod(self.shape) > _MAX_PARTITIONS:
            raise DefinitionError(
                "partitions-too-many",
                f"{self!r:.200} has {prod(self.shape):,} partitions.",
                why=f"there can be {_MAX_PARTITIONS:,} at most.",
                do="choose coarser dimensions, or fewer.",
            )
        self._positions: npt.NDArray[np.int64] | None = None

    # -- dimensions -------------------------------------------------------------------------------------------------

    @property
    def dimensions(self) -> Mapping[str, PartitionsDefinition]:
        """The dimensions by name, in the order in which they are counted."""
        return self._dimensions

    def dimension(self, name: str) -> PartitionsDefinition:
        """The definition of one dimension.

        Raises:
            KeyError: There is no such dimension.
        """
        return self._dimensions[name]

    @property
    def shape(self) -> tuple[int, ...]:
        """How many keys each dimension has."""
        return tuple(map(len, self._dimensions.values()))

    @property
    def time_dimension(self) -> str | None:
        """The name of the one dimension of windows of time, None when there is none or several."""
        found = [name for name, item in self._dimensions.items() if isinstance(item, TimePartitions)]
        return found[0] if len(found) == 1 else None

    def coordinates(self, name: str) -> npt.NDArray[np.int64]:
        """For each ordinal the ordinal within one dimension: shape (len(self),)."""
        import numpy as np

        at, shape = list(self._dimensions).index(name), self.shape
        one = np.repeat(np.arange(shape[at], dtype=np.int64), prod(shape[at + 1 :]))
        return np.tile(one, prod(shape[:at]))

    def key_parts(self, ordinal: int) -> dict[str, str]:
        """The key of each dimension of one partition, by the dimension's name.

        Raises:
            IndexError: There is no such ordinal.
        """
        n = len(self)
        if not 0 <= ordinal < n:
            raise IndexError(f"ordinal {ordinal} is outside 0..{n - 1} of {self!r}")
        found: dict[str, str] = {}
        for name, definition in reversed(list(self._dimensions.items())):
            ordinal, within = divmod(ordinal, len(definition))
            found[name] = str(definition.key(within))
        return dict(reversed(found.items()))

    def parts(self, key: str | None) -> dict[str, str]:
        """The key of each dimension, by the dimension's name; whether those keys exist is not looked at.

        Raises:
            NotFoundError: `partition-not-found`: the text is not of the form of a key.
        """
        found = _split_key(key or "")
        if found is None or list(found) != list(self._dimensions):
            shape = "|".join(f"{name}=KEY" for name in self._dimensions)
            raise self._not_found(key, (), f"a key looks like {shape!r}; {self.bounds()}")
        return found

    # -- the definition ---------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return prod(self.shape)

    def key(self, ordinal: int) -> str:
        """The key of an ordinal.

        Raises:
            IndexError: There is no such ordinal.
        """
        return join_key(self.key_parts(ordinal))

    def keys(self) -> Iterator[str]:
        """All keys in order."""
        columns = [
            [f"{name}={_escape(str(key))}" for key in definition.keys()]
            for name, definition in self._dimensions.items()
        ]
        return map("|".join, itertools.product(*columns))

    def ordinal(self, key: str | None) -> int:
        """The ordinal of a key.

        Raises:
            NotFoundError: `partition-not-found`, naming what the dimension lacks.
        """
        ordinal = 0
        for name, part in self.parts(key).items():
            definition = self._dimensions[name]
            try:
                ordinal = ordinal * len(definition) + definition.ordinal(part)
            except NotFoundError as error:
                raise self._not_found(
                    key, (), f"of dimension {name!r}, {error.what} {error.why.rstrip('.')}"
                ) from None
        return ordinal

    def positions(self) -> npt.NDArray[np.int64]:
        """A hash of the dimensions' names and positions, whatever their bounds; read-only, made once.

        Raises:
            DefinitionError: `partition-keys-collide`: two partitions have the same hash.
        """
        if self._positions is None:
            import numpy as np

            mixed = np.zeros(1, np.uint64)
            for name, definition in self._dimensions.items():
                at = definition.positions().astype(np.uint64) + np.uint64(key_position(name) & _MASK)
                mixed = _mix_array(np.add.outer(mixed * np.uint64(_FIRST), _mix_array(at)).ravel())
            ordered = np.sort(mixed)
            if bool(np.any(ordered[1:] == ordered[:-1])):
                raise self._collision(mixed)
            self._positions = mixed.view(np.int64)
            self._positions.setflags(write=False)
        return self._positions

    def position_of(self, key: str | None) -> int | None:
        """The hash for a key, also outside of the bounds; None when a part is no key of its dimension's sort."""
        try:
            parts = self.parts(key)
        except NotFoundError:
            return None
        mixed = 0
        for name, part in parts.items():
            position = self._dimensions[name].position_of(part)
            if position is None:
                return None
            mixed = _mix(mixed * _FIRST + _mix(position + key_position(name)))
        return mixed - (1 << 64) if mixed >= 1 << 63 else mixed

    def may_hold(self, key: str | None) -> bool:
        """Whether every dimension may hold its part."""
        try:
            parts = self.parts(key)
        except NotFoundError:
            return False
        return all(self._dimensions[name].may_hold(part) for name, part in parts.items())

    def signature(self) -> str:
        """`multi` and the names and signatures of the dimensions."""
        inner = "; ".join(f"{name}: {item.signature()}" for name, item in self._dimensions.items())
        return f"multi ({inner})"

    def at(self, now: dt.datetime, stored: StoredKeys | None = None) -> MultiPartitions:
        """The definition with every dimension as of an instant."""
        closed = {name: item.at(now, stored) for name, item in self._dimensions.items()}
        if all(closed[name] is item for name, item in self._dimensions.items()):
            return self
        return MultiPartitions(**closed)

    def dynamic_names(self) -> tuple[str, ...]:
        """Those of the dimensions."""
        return tuple(
            dict.fromkeys(name for item in self._dimensions.values() for name in item.dynamic_names())
        )

    def window_of(self, key: str | None) -> Window | None:
        """The window of the one dimension of time, None when there is none or several."""
        name = self.time_dimension
        return None if name is None else self._dimensions[name].window_of(self.parts(key)[name])

    def ranks_in_time(self) -> npt.NDArray[np.int64] | None:
        """The ordinals within the one dimension of time."""
        name = self.time_dimension
        return None if name is None else self.coordinates(name)

    # -- for people -------------------------------------------------------------------------------------------------

    def bounds(self) -> str:
        """How many there are, and the bounds of each dimension."""
        inner = "; ".join(f"{name}: {item.bounds()}" for name, item in self._dimensions.items())
        return f"there are {len(self):,} combinations ({inner})"

    def format_key(self, key: str | None) -> str:
        """A key as `parse_partitions` takes it."""
        return "|".join(
            f"{name}={escape_separators(self._dimensions[name].format_key(part))}"
            for name, part in self.parts(key).items()
        )

    def format_runs(self, runs: Sequence[tuple[int, int]]) -> str:
        """Runs of ordinals as `parse_partitions` takes them: the boxes that they are made of; `all` for everything."""
        if list(runs) == [(0, len(self))] and len(self) > 1:
            return "all"
        boxes = [box for run in runs for box in _boxes(*run, self.shape)]
        return ",".join(map(self._format_box, _merge(boxes)))

    def describe_run(self, first: int, last: int) -> str:
        """The ordinals `first` to `last`, both in, for people."""
        return self.format_runs([(first, last + 1)])

    def _format_box(self, box: _Box) -> str:
        parts = [
            f"{name}={escape_separators(definition.format_runs([span]))}"
            for (name, definition), span in zip(self._dimensions.items(), box, strict=True)
            if span != (0, len(definition))
        ]
        if not parts:  # all of it, but not all there is to say: so the first dimension is named
            name, definition = next(iter(self._dimensions.items()))
            parts = [f"{name}={escape_separators(definition.format_runs([box[0]]))}"]
        return "|".join(parts)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, MultiPartitions):
            return NotImplemented
        return self._dimensions == other._dimensions

    def __hash__(self) -> int:
        return hash(tuple(self._dimensions.items()))

    def __repr__(self) -> str:
        return f"MultiPartitions({', '.join(f'{name}={item!r}' for name, item in self._dimensions.items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (dict(self._dimensions),)

    # -- inside -----------------------------------------------------------------------------------------------------

    @staticmethod
    def _require_dimension(name: str, definition: object) -> None:
        if not name.isidentifier():
            raise _invalid(f"{name!r} cannot name a dimension.", "it is not a Python name.")
        if not isinstance(definition, PartitionsDefinition):
            raise _invalid(
                f"dimension {name!r} is {definition!r:.80}.",
                f"that is of type {type(definition).__name__}, no definition of partitions.",
            )
        if isinstance(definition, MultiPartitions) or definition == UNPARTITIONED:
            raise _invalid(
                f"dimension {name!r} is {definition!r:.80}.",
                "a dimension has one key a partition, no more and no less.",
            )

    def _collision(self, mixed: npt.NDArray[np.uint64]) -> DefinitionError:
        import numpy as np

        order = np.argsort(mixed, kind="stable")
        at = int(np.flatnonzero(mixed[order][1:] == mixed[order][:-1])[0])
        first, second = (self.key(int(order[at + step])) for step in (0, 1))
        return DefinitionError(
            "partition-keys-collide",
            f"the partition keys {first!r} and {second!r} cannot be told apart.",
            why=f"both have the 64-bit hash {int(mixed[order[at]]):016x}, by which versions are found.",
            do="rename a key or a dimension.",
        )


def join_key(parts: Mapping[str, str]) -> str:
    """The key of a partition from those of its dimensions, in their order."""
    return "|".join(f"{name}={_escape(part)}" for name, part in parts.items())


def escape_separators(text: str) -> str:
    """A selection within one dimension with a backslash before each `|` and `=` that has none yet."""
    return re.sub(
        r"\\.|[|=]", lambda found: found[0] if len(found[0]) > 1 else f"\\{found[0]}", text, flags=re.DOTALL
    )


def _escape(key: str) -> str:
    return _SEPARATOR.sub(r"\\\g<0>", key)


def _split_key(text: str) -> dict[str, str] | None:
    """The parts of a key in the order in which they stand; None when the text is not what `join_key` gives."""
    found: dict[str, str] = {}
    at = 0
    while True:
        part = _PART.match(text, at)
        if part is None or part[1] in found:
            return None
        found[part[1]] = re.sub(r"\\(.)", r"\1", part[2], flags=re.DOTALL)
        at = part.end()
        if not part[3]:
            return found


def _boxes(first: int, last: int, shape: Sequence[int]) -> Iterator[_Box]:
    """Cut [first, last) into boxes, half-open in each dimension, in order."""
    if first >= last:
        return
    if len(shape) == 1:
        yield ((first, last),)
        return
    inner = prod(shape[1:])
    low, high = -(-first // inner), last // inner  # rows from `low` to `high` are whole
    rest = tuple((0, n) for n in shape[1:])
    if low > high:  # both ends within one row
        for box in _boxes(first - high * inner, last - high * inner, shape[1:]):
            yield (high, high + 1), *box
        return
    for box in _boxes(first - (low - 1) * inner, inner, shape[1:]) if first % inner else ():
        yield (low - 1, low), *box
    if low < high:
        yield (low, high), *rest
    for box in _boxes(0, last - high * inner, shape[1:]):
        yield (high, high + 1), *box


def _merge(boxes: Sequence[_Box]) -> Iterator[_Box]:
    """The same boxes, those of neighbouring rows that differ in nothing but the row as one."""
    rows: list[tuple[_Span, list[_Box]]] = []
    for head, *rest in boxes:
        if rows and rows[-1][0] == head:
            rows[-1][1].append(tuple(rest))
        else:
            rows.append((head, [tuple(rest)]))
    start = 0
    for at in range(1, len(rows) + 1):
        if at < len(rows) and rows[at][0][0] == rows[at - 1][0][1] and rows[at][1] == rows[start][1]:
            continue
        span = rows[start][0][0], rows[at - 1][0][1]
        yield from ((span, *rest) for rest in rows[start][1])
        start = at


def _mix(value: int) -> int:
    value &= _MASK
    value = (value ^ (value >> 30)) * _FIRST & _MASK
    value = (value ^ (value >> 27)) * _SECOND & _MASK
    return value ^ (value >> 31)


def _mix_array(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    import numpy as np

    value = (value ^ (value >> np.uint64(30))) * np.uint64(_FIRST)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(_SECOND)
    return value ^ (value >> np.uint64(31))


def _rebuild(dimensions: Mapping[str, PartitionsDefinition]) -> MultiPartitions:
    return MultiPartitions(**dimensions)


def _invalid(what: str, why: str) -> DefinitionError:
    return DefinitionError(
        "dimensions-invalid",
        what,
        why=why,
        do="write for instance MultiPartitions(day=DailyPartitions(...), region=StaticPartitions([...])).",
    )
