"""Windows of time, and what all partitions by time have in common.

Windows are half-open, [start, end), and tile the time line: each ends where the next begins, whatever the zone's
clock does in between.

- A day, week or month begins at the first instant of its first civil day; where midnight does not exist that day,
  when the clock first shows a later time. A civil day that a zone left out has no window.
- An hour begins whenever the clock shows a full hour, so a day has 23, 24 or 25 of them. Where a clock is moved by
  half an hour, the window that contains the move lasts longer.
- A cron expression with a star as minute or hour cuts whenever the clock shows a matching time, both times when it
  was set back. Any other means once a day: at the first of two showings, and when the clock jumps over it, right
  then.

A definition holds the whole windows between its bounds: the first that begins at or after `start`, to the last that
ends at or before `end`. Bounds without an offset are local times of the definition's zone.

Without `end` a definition is open: at any time it holds the windows that have ended. `at(now)` fixes it; all other
methods ask the definition's `clock` on each call, so take `at` before calling several that must agree.
"""

from __future__ import annotations

import copy
import datetime as dt
import re
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assets_core.definition.partitions.axis import Axis
from assets_core.definition.partitions.base import PartitionsDefinition, StoredKeys
from assets_core.definition.partitions.grid import Grid
from assets_core.definition.partitions.zone import (
    DAY_S,
    MAX_INSTANT,
    MIN_INSTANT,
    LocalTime,
    ceil_instant,
    date_of,
    find_zone,
    floor_instant,
    wall_of,
)
from assets_core.errors import DefinitionError, NotFoundError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Bound = str | dt.date | dt.datetime

#: How far the boundaries of an open definition are worked out beyond the clock.
_AHEAD_S = 400 * DAY_S
_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")


def current_time() -> dt.datetime:
    """Now, in UTC."""
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True, slots=True)
class Window:
    """The half-open span of time of a partition.

    Attributes:
        start: The first instant, in the definition's local time with the fixed offset then in force.
        end: The first instant after it, likewise. `end - start` is the time that passes, also over a change of the
            clock.
    """

    start: dt.datetime
    end: dt.datetime

    def __contains__(self, moment: dt.datetime) -> bool:
        return self.start <= moment < self.end


class TimePartitions(PartitionsDefinition):
    """What all partitions by time have in common.

    Args:
        start: First bound: ISO text (`2013-01`, `2013-01-01`, `2013-01-01T06:00`, with or without offset), date or
            datetime.
        end: Second bound, exclusive; None leaves the definition open.
        timezone: IANA name.
        clock: What an open definition takes for now; no part of the definition's value.

    Raises:
        DefinitionError: `partition-bounds-invalid`, `partitions-empty` when no whole window lies between the bounds,
            `timezone-unknown`.
    """

    _every = False
    _typical_s: int

    def __init__(
        self,
        start: Bound,
        end: Bound | None = None,
        timezone: str = "UTC",
        *,
        clock: Callable[[], dt.datetime] = current_time,
    ) -> None:
        self._local = LocalTime(find_zone(timezone))
        self._clock = clock
        self._start = self._read_bound(start, "start", ceil_instant)
        self._end = None if end is None else self._read_bound(end, "end", floor_instant)
        self._is_open = end is None
        self._axis: Axis | None = None
        self._horizon = 0
        self._n: int | None = None
        if self._end is not None and len(self) == 0:
            raise DefinitionError(
                "partitions-empty",
                f"{self!r} has no partitions.",
                why="the end is not after the start."
                if self._end <= self._start
                else f"no whole {self.kind} window lies between the two.",
                do="choose an end that leaves room for a window, or leave it out for an open definition.",
            )

    # -- bounds -----------------------------------------------------------------------------------------------------

    @property
    def start(self) -> dt.datetime:
        """The first bound in local time."""
        return self._local.moment(self._start)

    @property
    def end(self) -> dt.datetime | None:
        """The second bound in local time, None for an open definition."""
        return None if self._end is None else self._local.moment(self._end)

    @property
    def timezone(self) -> str:
        """The IANA name of the zone."""
        return self._local.zone.key

    @property
    def local(self) -> LocalTime:
        """The clock of the zone."""
        return self._local

    def at(self, now: dt.datetime, stored: StoredKeys | None = None) -> TimePartitions:
        """The definition as of an instant: an open one closed at the last window that has ended by then."""
        if self._end is not None:
            return self
        axis, n = self._extent_at(floor_instant(now))
        closed = copy.copy(self)
        closed._axis, closed._n = axis, n
        closed._end = axis.instant(n) if n else self._start
        return closed

    # -- the definition ---------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self._extent()[1]

    def key(self, ordinal: int) -> str:
        """The key of an ordinal.

        Raises:
            IndexError: There is no such ordinal.
        """
        axis = self._extent_with(ordinal)
        offset = axis.offset(ordinal)
        return self._label(axis.tick(ordinal), axis.instant(ordinal) + offset, offset)

    def keys(self) -> Iterator[str]:
        """All keys in order."""
        axis, n = self._extent()
        label = self._label
        return (label(tick, reading, offset) for tick, reading, offset in axis.readings(n))

    def ordinal(self, key: str | None) -> int:
        """The ordinal of a key.

        Raises:
            NotFoundError: `partition-not-found`, naming the nearest key and the bounds.
        """
        axis, n = self._extent()
        instant = None if key is None else self._parse(key)
        if instant is not None:
            ordinal = axis.count_until(instant) - 1
            if 0 <= ordinal < n and self.key(ordinal) == key:
                return ordinal
        raise self._no_such_key(key)

    def window(self, ordinal: int) -> Window:
        """The window of an ordinal.

        Raises:
            IndexError: There is no such ordinal.
        """
        axis = self._extent_with(ordinal)
        return Window(
            self._local.moment(axis.instant(ordinal)), self._local.moment(axis.instant(ordinal + 1))
        )

    def window_of(self, key: str | None) -> Window:
        """The window of a key.

        Raises:
            NotFoundError: As `ordinal`.
        """
        return self.window(self.ordinal(key))

    def position_of(self, key: str | None) -> int | None:
        """When the window of a key begins, or would begin outside of the bounds; None for no key of this sort."""
        if key is None:
            return None
        try:
            return self._extent()[0].instant(self.ordinal(key))
        except NotFoundError:
            return self._parse(key)

    def may_hold(self, key: str | None) -> bool:
        """Whether there is a window of that key, or will be when the definition is open."""
        if super().may_hold(key):
            return True
        instant = self.position_of(key)
        return self._is_open and instant is not None and instant >= self.boundaries()[-1]

    def ranks_in_time(self) -> npt.NDArray[np.int64]:
        """The ordinals themselves."""
        import numpy as np

        return np.arange(len(self), dtype=np.int64)

    def boundaries(self) -> npt.NDArray[np.int64]:
        """UTC epoch seconds where windows begin, and where the last ends: n + 1 values, read-only, made once."""
        import numpy as np

        axis, n = self._extent()
        return axis.array()[: n + 1] if axis.n else np.array([self._start], dtype=np.int64)

    def positions(self) -> npt.NDArray[np.int64]:
        """UTC epoch seconds where each window begins."""
        return self.boundaries()[:-1]

    def overlapping(self, start: dt.datetime, end: dt.datetime) -> range:
        """Ordinals of the windows that share an instant with [start, end), both aware."""
        return self.overlapping_instants(floor_instant(start), ceil_instant(end))

    def overlapping_instants(self, start: int, end: int) -> range:
        """The same for UTC epoch seconds."""
        if start >= end:
            return range(0)
        axis, n = self._extent()
        return range(max(axis.count_until(start) - 1, 0), min(axis.count_until(end - 1), n))

    def boundaries_beyond(self, before: int, after: int, needed: tuple[int, int]) -> npt.NDArray[np.int64]:
        """`boundaries` with so many more in front and behind, as if the definition went on there.

        Args:
            before: How many to put in front.
            after: How many to put behind.
            needed: Instants outside of which it does not matter where a boundary lies: those there may be given as
                the least or the greatest integer.
        """
        import numpy as np

        own = self.boundaries()
        front = self._boundaries_between(int(own[0]), -1, before, needed[0])
        back = self._boundaries_between(int(own[-1]), 1, after, needed[1])
        limits = np.iinfo(np.int64)
        parts = (
            np.full(before - len(front), limits.min),
            front,
            own,
            back,
            np.full(after - len(back), limits.max),
        )
        return np.concatenate(parts)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, TimePartitions):
            return NotImplemented
        return (
            self.signature() == other.signature()
            and (self._end is None) == (other._end is None)
            and (self._end is None or len(self) == len(other))
            and self._first_boundary() == other._first_boundary()
        )

    def __hash__(self) -> int:
        return hash((self.signature(), None if self._end is None else len(self)))

    def __repr__(self) -> str:
        bounds = [self._format_bound(bound) for bound in (self._start, self._end) if bound is not None]
        extra = "".join(f", {name}={value!r}" for name, value in self._extra().items())
        return f"{type(self).__name__}({', '.join(bounds)}, timezone={self.timezone!r}{extra})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_axis": None, "_horizon": 0}

    # -- what a calendar adds ---------------------------------------------------------------------------------------

    @abstractmethod
    def _grid_between(self, first: int, last: int) -> Grid:
        """A grid that is right for readings of the clock from `first` to `last`, both in."""

    @abstractmethod
    def _label(self, tick: int, reading: int, offset: int) -> str:
        """The key of a window from its tick and from what the clock shows at its start."""

    @abstractmethod
    def _parse(self, key: str) -> int | None:
        """The instant at which a window of this key would begin, None if it has not the shape of a key."""

    def _extra(self) -> dict[str, object]:
        return {}

    # -- inside -----------------------------------------------------------------------------------------------------

    def _build_axis(self, start: int, end: int) -> Axis:
        grid = self._grid_between(start - 5 * DAY_S, end + 2 * DAY_S)
        return Axis(grid, self._local, start, end, every=self._every)

    def _extent(self) -> tuple[Axis, int]:
        """The boundaries, perhaps more than are in use, and the number of windows."""
        if self._end is None:
            return self._extent_at(floor_instant(self._clock()))
        if self._axis is None:
            self._axis = self._build_axis(self._start, self._end)
        if self._n is None:
            self._n = max(self._axis.n - 1, 0)
        return self._axis, self._n

    def _extent_at(self, now: int) -> tuple[Axis, int]:
        if self._axis is None or now > self._horizon:
            self._horizon = max(now, self._start) + _AHEAD_S
            self._axis = self._build_axis(self._start, self._horizon)
        return self._axis, max(self._axis.count_until(now) - 1, 0)

    def _extent_with(self, ordinal: int) -> Axis:
        axis, n = self._extent()
        if not 0 <= ordinal < n:
            raise IndexError(f"ordinal {ordinal} is outside 0..{n - 1} of {self!r}")
        return axis

    def _first_boundary(self) -> int:
        axis, _ = self._extent()
        return axis.instant(0) if axis.n else self._start

    def _boundaries_between(self, edge: int, way: int, wanted: int, needed: int) -> npt.NDArray[np.int64]:
        """Up to `wanted` boundaries before (way -1) or after (way 1) an edge, fewer only where none is needed."""
        import numpy as np

        nearest, furthest = (max, MIN_INSTANT) if way < 0 else (min, MAX_INSTANT)
        limit = nearest(needed, furthest)
        found = np.zeros(0, np.int64)
        reach = (wanted + 2) * self._typical_s
        while wanted and (limit - edge) * way > 0:
            far = nearest(edge + way * reach, limit)
            found = self._build_axis(*sorted((edge + way, far))).array()
            if len(found) >= wanted or far == limit:
                break
            reach *= 2
        return found[max(len(found) - wanted, 0) :] if way < 0 else found[:wanted]

    def _read_bound(self, bound: Bound, name: str, to_instant: Callable[[dt.datetime], int]) -> int:
        value: object = bound
        try:
            if isinstance(value, str):
                value = dt.datetime.fromisoformat(f"{value}-01" if _MONTH.fullmatch(value) else value)
            if isinstance(value, dt.datetime) and value.tzinfo is not None:
                instant = to_instant(value)
            elif isinstance(value, dt.date):
                instant = self._local.first_instant(wall_of(value))
            else:
                raise TypeError("it is a " + type(value).__name__)
            if not MIN_INSTANT <= instant <= MAX_INSTANT:
                raise ValueError("only the years 2 to 9998 can be used")
        except (ValueError, TypeError, OverflowError) as error:
            raise DefinitionError(
                "partition-bounds-invalid",
                f"{bound!r} cannot be the {name} of {self.kind} partitions.",
                why=f"{error}.",
                do=f"write a date or a time, for instance {name}='2013-01-01'.",
            ) from None
        return instant

    def _format_bound(self, instant: int) -> str:
        date = date_of(instant + self._local.offset(instant))
        if self._local.first_instant(wall_of(date)) == instant:
            return repr(date.isoformat())
        return repr(self._local.moment(instant).isoformat())

    def _no_such_key(self, key: str | None) -> NotFoundError:
        axis, n = self._extent()
        if key is None or not n:
            return self._not_found(key, (), self.bounds())
        rough = self._roughly(key)
        nearest = [] if rough is None else [self.key(min(max(axis.count_until(rough) - 1, 0), n - 1))]
        shape = "" if self._parse(key) is not None else f"a {self.kind} key looks like {self.key(0)!r}; "
        return self._not_found(key, nearest, shape + self.bounds())

    def _roughly(self, key: str) -> int | None:
        """An instant that a wrong key may have meant."""
        for text in (key, key[:16], key[:10], f"{key[:7]}-01"):
            try:
                moment = dt.datetime.fromisoformat(text)
            except ValueError:
                continue
            if moment.tzinfo is not None:
                return floor_instant(moment)
            if 2 <= moment.year <= 9998:
                return self._local.first_instant(wall_of(moment))
        return None
