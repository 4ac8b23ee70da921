"""The clock of a time zone as pieces of constant offset: instants to wall-clock readings and back, in whole seconds.

A wall-clock reading is written as the seconds that an unzoned clock would have counted since 1970-01-01T00:00.
"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from bisect import bisect_right
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from assets_core.errors import DefinitionError
from io_managers.nearest import nearest_names

DAY_S = 86_400
_EPOCH_DAY = dt.date(1970, 1, 1).toordinal()
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SECOND = dt.timedelta(seconds=1)
#: In the zone database two changes of one zone's offset are never closer than 95 hours.
_PROBE_S = 3 * DAY_S
#: More than any clock was ever set back or forward.
_MARGIN_S = 2 * DAY_S
#: Instants that a zone can be asked for, years 2 to 9998: a local reading never leaves the range of `datetime`.
MIN_INSTANT = (dt.date(2, 1, 1).toordinal() - _EPOCH_DAY) * DAY_S
MAX_INSTANT = (dt.date(9998, 12, 31).toordinal() - _EPOCH_DAY) * DAY_S


class Piece(NamedTuple):
    """From instant `since` on, until the next piece, the clock shows `offset` seconds more than UTC."""

    since: int
    offset: int


def wall_of(moment: dt.datetime | dt.date) -> int:
    """The reading of a wall clock at an unzoned date or datetime; parts of a second are left out."""
    days = (moment.toordinal() - _EPOCH_DAY) * DAY_S
    if isinstance(moment, dt.datetime):
        return days + moment.hour * 3600 + moment.minute * 60 + moment.second
    return days


def date_of(wall: int) -> dt.date:
    """The date that a wall clock shows."""
    return dt.date.fromordinal(wall // DAY_S + _EPOCH_DAY)


def floor_instant(moment: dt.datetime) -> int:
    """UTC epoch seconds of an aware datetime, the second that has begun."""
    return (moment - _EPOCH) // _SECOND


def ceil_instant(moment: dt.datetime) -> int:
    """UTC epoch seconds of an aware datetime, or of the next whole second."""
    return -((_EPOCH - moment) // _SECOND)


def find_zone(name: str) -> zoneinfo.ZoneInfo:
    """The zone of that name.

    Raises:
        DefinitionError: `timezone-unknown`, with the nearest names.
    """
    try:
        return zoneinfo.ZoneInfo(name)
    except (LookupError, ValueError, OSError, TypeError):
        near = nearest_names(str(name), sorted(zoneinfo.available_timezones()), n=3)
        raise DefinitionError(
            "timezone-unknown",
            f"there is no time zone {name!r}.",
            why=f"nearest: {', '.join(near)}." if near else "the zone database does not list it.",
            do="name a zone of the IANA database, for instance 'UTC' or 'America/New_York'.",
        ) from None


class LocalTime:
    """The wall clock of one zone."""

    __slots__ = ("zone",)

    def __init__(self, zone: zoneinfo.ZoneInfo) -> None:
        self.zone = zone

    def pieces(self, first: int, last: int) -> list[Piece]:
        """The pieces that cover the instants `first` to `last`, both in; the first begins at `first`."""
        first = min(max(first, MIN_INSTANT), MAX_INSTANT)
        last = min(max(last, first), MAX_INSTANT)
        pieces = [Piece(first, _offset(self.zone, first))]
        if self.zone.key == "UTC":
            return pieces
        for year in range(_year(first), _year(last) + 1):
            pieces += [piece for piece in _changes(self.zone, year) if first < piece.since <= last]
        return pieces

    def offset(self, instant: int) -> int:
        """Seconds that the clock is ahead of UTC."""
        return _offset(self.zone, instant)

    def moment(self, instant: int) -> dt.datetime:
        """The instant as local time with the fixed offset then in force.

        A fixed offset, unlike a zone, makes differences and comparisons of datetimes those of the instants.
        """
        offset = _offset(self.zone, instant)
        zone = dt.timezone(dt.timedelta(seconds=offset)) if offset else dt.UTC
        return dt.datetime.fromtimestamp(instant, zone)

    def first_instant(self, wall: int) -> int:
        """When the clock first shows `wall` or, if it jumps over it, the instant of the jump."""
        pieces = self._around(wall)
        for piece, following in pairwise(pieces):
            if wall < following.since + piece.offset:
                return max(piece.since, wall - piece.offset)
        return max(pieces[-1].since, wall - pieces[-1].offset)

    def last_instant(self, wall: int) -> int | None:
        """When the clock shows `wall` for the last time; None if it jumps over it."""
        pieces = self._around(wall)
        ends = [following.since for following in pieces[1:]] + [MAX_INSTANT + 2 * _MARGIN_S]
        for piece, end in zip(reversed(pieces), reversed(ends), strict=True):
            if piece.since <= wall - piece.offset < end:
                return wall - piece.offset
        return None

    def _around(self, wall: int) -> list[Piece]:
        return self.pieces(wall - _MARGIN_S, wall + _MARGIN_S)


def _offset(zone: zoneinfo.ZoneInfo, instant: int) -> int:
    found = dt.datetime.fromtimestamp(instant, zone).utcoffset()
    assert found is not None
    return found.days * DAY_S + found.seconds


def _year(instant: int) -> int:
    return date_of(instant).year


def _year_start(year: int) -> int:
    return min(max((dt.date(year, 1, 1).toordinal() - _EPOCH_DAY) * DAY_S, MIN_INSTANT), MAX_INSTANT)


@lru_cache(maxsize=20_000)
def _changes(zone: zoneinfo.ZoneInfo, year: int) -> tuple[Piece, ...]:
    """The changes of the offset in a year of UTC, found by probing because `zoneinfo` does not tell them."""
    start, end = _year_start(year), _year_start(year + 1)
    probes = [*range(start - 1, end - 1, _PROBE_S), end - 1]
    offsets = [_offset(zone, max(probe, MIN_INSTANT)) for probe in probes]
    found = []
    for index in range(1, len(probes)):
        if offsets[index] != offsets[index - 1]:
            before = offsets[index - 1]
            since = bisect_right(
                range(probes[index - 1], probes[index]),
                0,
                key=lambda at: int(_offset(zone, at) != before),
            )
            found.append(Piece(probes[index - 1] + since, offsets[index]))
    return tuple(found)
