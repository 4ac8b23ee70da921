"""Partitions by hours, days, weeks, months, and by what a cron expression cuts; `windows` says how they behave."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator
from typing import Any

from assets_core.definition.partitions.grid import CronSchedule, EvenGrid, Grid, MonthGrid
from assets_core.definition.partitions.windows import Bound, TimePartitions, Window, current_time
from assets_core.definition.partitions.zone import DAY_S, date_of, floor_instant, wall_of
from assets_core.errors import DefinitionError
from io_managers.nearest import nearest_names

__all__ = [
    "CronPartitions",
    "DailyPartitions",
    "HourlyPartitions",
    "MonthlyPartitions",
    "TimePartitions",
    "WeeklyPartitions",
    "Window",
]

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")
_EVERY_DAY = EvenGrid(DAY_S)
_EVERY_HOUR = EvenGrid(3600)


class _ClockTimePartitions(TimePartitions):
    """Windows that begin at any time of day: their keys carry the time and the offset."""

    def _label(self, tick: int, reading: int, offset: int) -> str:
        day, second = divmod(reading, DAY_S)
        return f"{date_of(day * DAY_S).isoformat()}T{_time_text(second)}{_offset_text(offset)}"

    def _parse(self, key: str) -> int | None:
        try:
            moment = dt.datetime.fromisoformat(key)
            return None if moment.tzinfo is None else floor_instant(moment)
        except ValueError:
            return None

    def keys(self) -> Iterator[str]:
        """All keys in order."""
        axis, n = self._extent()
        times: dict[int, str] = {}
        known: tuple[int, int] | None = None
        date = zone = ""
        for _, reading, offset in axis.readings(n):
            day, second = divmod(reading, DAY_S)
            if (day, offset) != known:
                known = day, offset
                date, zone = date_of(day * DAY_S).isoformat() + "T", _offset_text(offset)
            text = times.get(second)
            if text is None:
                text = times[second] = _time_text(second)
            yield date + text + zone


class _CivilPartitions(TimePartitions):
    """Windows that begin with a civil day: their keys are dates."""

    def _label(self, tick: int, reading: int, offset: int) -> str:
        return date_of(tick).isoformat()

    def _parse(self, key: str) -> int | None:
        try:
            date = dt.date.fromisoformat(key)
        except ValueError:
            return None
        return self._local.first_instant(wall_of(date)) if 2 <= date.year <= 9998 else None


class HourlyPartitions(_ClockTimePartitions):
    """One partition an hour of the local clock; keys like `2013-11-03T01:00-0400`."""

    kind = "hourly"
    _every = True
    _typical_s = 3600

    def signature(self) -> str:
        """For instance `hourly UTC`."""
        return f"hourly {self.timezone}"

    def _grid_between(self, first: int, last: int) -> Grid:
        return _EVERY_HOUR


class DailyPartitions(_CivilPartitions):
    """One partition a civil day; keys like `2013-01-31`."""

    kind = "daily"
    _typical_s = DAY_S

    def signature(self) -> str:
        """For instance `daily America/New_York`."""
        return f"daily {self.timezone}"

    def _grid_between(self, first: int, last: int) -> Grid:
        return _EVERY_DAY


class WeeklyPartitions(_CivilPartitions):
    """One partition a week; keys are the first day of the week, like `2013-01-28`.

    Args:
        start: As for all partitions by time; the first week is the first that begins there or later.
        end: As for all partitions by time.
        timezone: IANA name.
        week_start: The first day of the week, `monday` to `sunday`.
        clock: As for all partitions by time.
    """

    kind = "weekly"
    _typical_s = 7 * DAY_S

    def __init__(
        self,
        start: Bound,
        end: Bound | None = None,
        timezone: str = "UTC",
        *,
        week_start: str = "monday",
        clock: Callable[[], dt.datetime] = current_time,
    ) -> None:
        name = str(week_start).lower()
        if name not in WEEKDAYS:
            near = nearest_names(name, WEEKDAYS, n=1) or ["monday"]
            raise DefinitionError(
                "week-start-invalid",
                f"a week cannot start on {week_start!r}.",
                why=f"nearest: {near[0]!r}.",
                do=f"write one of {', '.join(WEEKDAYS)}.",
            )
        self._week_start = name
        # day 0, 1970-01-01, was a Thursday
        self._weeks = EvenGrid(7 * DAY_S, (WEEKDAYS.index(name) - 3) * DAY_S)
        super().__init__(start, end, timezone, clock=clock)

    @property
    def week_start(self) -> str:
        """The first day of the week."""
        return self._week_start

    def signature(self) -> str:
        """For instance `weekly from monday UTC`."""
        return f"weekly from {self._week_start} {self.timezone}"

    def _grid_between(self, first: int, last: int) -> Grid:
        return self._weeks

    def _extra(self) -> dict[str, object]:
        return {} if self._week_start == "monday" else {"week_start": self._week_start}


class MonthlyPartitions(_CivilPartitions):
    """One partition a month; keys like `2013-01`."""

    kind = "monthly"
    _typical_s = 31 * DAY_S

    def signature(self) -> str:
        """For instance `monthly UTC`."""
        return f"monthly {self.timezone}"

    def _grid_between(self, first: int, last: int) -> Grid:
        return MonthGrid()

    def _label(self, tick: int, reading: int, offset: int) -> str:
        return date_of(tick).isoformat()[:7]

    def _parse(self, key: str) -> int | None:
        return super()._parse(f"{key}-01") if _MONTH.fullmatch(key) else None


class CronPartitions(_ClockTimePartitions):
    """One partition from each time a cron expression names to the next; keys like `2013-11-03T01:00-0400`.

    Args:
        cron: Five fields, or six with seconds in front, as Debian's cron reads them.
        start: As for all partitions by time.
        end: As for all partitions by time.
        timezone: IANA name.
        clock: As for all partitions by time.

    Raises:
        DefinitionError: Also `cron-invalid`.
    """

    kind = "cron"
    _typical_s = DAY_S

    def __init__(
        self,
        cron: str,
        start: Bound,
        end: Bound | None = None,
        timezone: str = "UTC",
        *,
        clock: Callable[[], dt.datetime] = current_time,
    ) -> None:
        self._cron = str(cron)
        self._set_schedule()
        super().__init__(start, end, timezone, clock=clock)

    @property
    def cron(self) -> str:
        """The expression with single spaces."""
        return self._schedule.text

    def signature(self) -> str:
        """For instance `cron '0 6 * * *' UTC`."""
        return f"cron {self.cron!r} {self.timezone}"

    def __repr__(self) -> str:
        return super().__repr__().replace("(", f"({self.cron!r}, ", 1)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_schedule": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._set_schedule()

    def _set_schedule(self) -> None:
        self._schedule = CronSchedule(self._cron)
        self._every = self._schedule.every

    def _grid_between(self, first: int, last: int) -> Grid:
        return self._schedule.grid(first, last)


def _time_text(second: int) -> str:
    minutes, seconds = divmod(second, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}" + (f":{seconds:02}" if seconds else "")


def _offset_text(offset: int) -> str:
    minutes, seconds = divmod(abs(offset), 60)
    sign = "-" if offset < 0 else "+"
    return f"{sign}{minutes // 60:02}{minutes % 60:02}" + (f"{seconds:02}" if seconds else "")
