"""Where the ticks of a calendar stand on a wall clock, zones left aside.

Ticks are numbered by integers that grow with the wall clock; number and reading turn into each other without
counting through.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from assets_core.definition.partitions.zone import DAY_S, date_of, wall_of
from assets_core.errors import DefinitionError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Grid(Protocol):
    """An endless row of wall-clock readings."""

    def index(self, wall: int) -> int:
        """The number of the first tick at or after `wall`."""

    def tick(self, index: int) -> int:
        """The reading of a tick."""

    def walls(self, first: int, last: int) -> Iterable[int]:
        """The readings of the ticks `first` to `last` - 1."""

    def array(self, first: int, last: int) -> npt.NDArray[np.int64]:
        """The same as an array."""


class EvenGrid:
    """Ticks at equal distances: hours, days, weeks."""

    def __init__(self, step_s: int, anchor: int = 0) -> None:
        self._step_s = step_s
        self._anchor = anchor

    def index(self, wall: int) -> int:
        """The number of the first tick at or after `wall`."""
        return -((self._anchor - wall) // self._step_s)

    def tick(self, index: int) -> int:
        """The reading of a tick."""
        return self._anchor + index * self._step_s

    def walls(self, first: int, last: int) -> Iterable[int]:
        """The readings of the ticks `first` to `last` - 1."""
        return range(self.tick(first), self.tick(last), self._step_s)

    def array(self, first: int, last: int) -> npt.NDArray[np.int64]:
        """The same as an array."""
        import numpy as np

        return np.arange(first, last, dtype=np.int64) * self._step_s + self._anchor


class MonthGrid:
    """Ticks at the beginning of each month, numbered by 12 * year + month - 1."""

    def index(self, wall: int) -> int:
        """The number of the first tick at or after `wall`."""
        date = date_of(wall)
        month = date.year * 12 + date.month - 1
        return month if self.tick(month) == wall else month + 1

    def tick(self, index: int) -> int:
        """The reading of a tick."""
        return wall_of(dt.date(index // 12, index % 12 + 1, 1))

    def walls(self, first: int, last: int) -> Iterable[int]:
        """The readings of the ticks `first` to `last` - 1."""
        return map(self.tick, range(first, last))

    def array(self, first: int, last: int) -> npt.NDArray[np.int64]:
        """The same as an array."""
        import numpy as np

        months = np.arange(first - 1970 * 12, last - 1970 * 12).astype("datetime64[M]")
        return months.astype("datetime64[s]").astype(np.int64)


class CronSchedule:
    """A cron expression of five fields, or of six with seconds in front, as days and times of day.

    Attributes:
        text: The expression with single spaces.
        every: The minute or the hour is a star: the expression means every such reading of the clock, be it the
            second time that night; otherwise it means once a day.
    """

    def __init__(self, text: str) -> None:
        from cronsim import CronSim, CronSimError

        self.text = " ".join(str(text).split())
        try:
            self._parsed = CronSim(self.text, dt.datetime(2000, 1, 1))  # noqa: DTZ001 - zones are applied by Axis
        except CronSimError as error:
            raise DefinitionError(
                "cron-invalid",
                f"{text!r} is not a cron expression.",
                why=f"{error}.".lower(),
                do="write minute, hour, day, month and weekday, for instance '*/15 6-18 * * MON-FRI'.",
            ) from None
        fields = self.text.split()[-5:]
        self.every = fields[0].startswith("*") or fields[1].startswith("*")
        self.times = sorted(
            hour * 3600 + minute * 60 + second
            for hour in self._parsed.hours
            for minute in self._parsed.minutes
            for second in self._parsed.seconds
        )

    def grid(self, first: int, last: int) -> CronGrid:
        """The ticks on the days of the readings `first` to `last`, both in."""
        months, has = self._parsed.months, self._parsed.match_day
        dates = map(date_of, range(first - first % DAY_S, last + 1, DAY_S))
        return CronGrid([wall_of(date) for date in dates if date.month in months and has(date)], self.times)


class CronGrid:
    """Ticks at the same times of chosen days; there are none before the first and after the last day."""

    def __init__(self, days: list[int], times: list[int]) -> None:
        self._days = days
        self._times = times

    def index(self, wall: int) -> int:
        """The number of the first tick at or after `wall`."""
        day = wall - wall % DAY_S
        row = bisect_left(self._days, day)
        if row == len(self._days) or self._days[row] != day:
            return row * len(self._times)
        return row * len(self._times) + bisect_left(self._times, wall - day)

    def tick(self, index: int) -> int:
        """The reading of a tick."""
        row, column = divmod(index, len(self._times))
        return self._days[row] + self._times[column]

    def walls(self, first: int, last: int) -> Iterable[int]:
        """The readings of the ticks `first` to `last` - 1."""
        return map(self.tick, range(first, last))

    def array(self, first: int, last: int) -> npt.NDArray[np.int64]:
        """The same as an array."""
        import numpy as np

        rows, columns = np.divmod(np.arange(first, last, dtype=np.int64), len(self._times))
        return np.asarray(self._days, dtype=np.int64)[rows] + np.asarray(self._times, dtype=np.int64)[columns]
