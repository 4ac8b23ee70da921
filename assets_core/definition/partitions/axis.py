"""The ticks of a calendar in a zone as instants, numbered from 0: the boundaries of time windows.

Between two changes of the zone's clock a tick is its reading minus a constant, so a boundary is found by a bisection
over the changes and one subtraction, whatever the number of windows.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from assets_core.definition.partitions.zone import DAY_S, LocalTime, Piece

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from assets_core.definition.partitions.grid import Grid

#: Before the first boundary the clock may have been set back; what it showed twice is known only from there on.
_LOOK_BACK_S = 3 * DAY_S


class Axis:
    """The boundaries from instant `start` to instant `end`, both in, strictly ascending.

    With `every` a boundary is wherever the clock shows a tick: twice when it was set back, not at all when it
    jumped over. Without, a tick counts once: at its first showing, or at the jump when it was jumped over; of ticks
    that fall together there (a civil day that a zone left out and the next one) the last counts.
    """

    __slots__ = ("_array", "_first", "_grid", "_offset", "_since", "_tick", "n")

    def __init__(self, grid: Grid, local: LocalTime, start: int, end: int, *, every: bool) -> None:
        self._grid = grid
        self._array: npt.NDArray[np.int64] | None = None
        self._first: list[int] = []  # per piece with ticks: the number of its first boundary,
        self._tick: list[int] = []  # the tick that is,
        self._offset: list[int] = []
        self._since: list[int] = []
        self.n = 0
        pieces = local.pieces(start - _LOOK_BACK_S, end) if end >= start else []
        shown: int | None = None  # the clock has shown all readings below, save those it jumped over
        for piece, following in pairwise([*pieces, Piece(end + 1, 0)]):
            low, high = piece.since + piece.offset, following.since + piece.offset
            first = grid.index(low)
            if not every and shown is not None:
                first = max(grid.index(shown), grid.index(low + 1) - 1)
            if piece.since < start:
                first = max(first, grid.index(start + piece.offset))
            last = grid.index(high)
            shown = high  # a piece lasts longer than any clock was ever set back
            if first < last:
                self._first.append(self.n)
                self._tick.append(first)
                self._offset.append(piece.offset)
                self._since.append(piece.since)
                self.n += last - first

    def instant(self, number: int) -> int:
        """The instant of a boundary, 0 <= number < n."""
        row = bisect_right(self._first, number) - 1
        wall = self._grid.tick(self._tick[row] + number - self._first[row])
        return max(wall - self._offset[row], self._since[row])

    def tick(self, number: int) -> int:
        """The reading of the tick that a boundary stands for; the clock may have jumped over it."""
        row = bisect_right(self._first, number) - 1
        return self._grid.tick(self._tick[row] + number - self._first[row])

    def offset(self, number: int) -> int:
        """The offset of the zone from that boundary on."""
        return self._offset[bisect_right(self._first, number) - 1]

    def count_until(self, instant: int) -> int:
        """How many boundaries are at or before an instant."""
        row = bisect_right(self._since, instant) - 1
        if row < 0:
            return 0
        last = self._first[row + 1] if row + 1 < len(self._first) else self.n
        passed = self._grid.index(instant + self._offset[row] + 1) - self._tick[row]
        return min(self._first[row] + max(passed, 0), last)

    def readings(self, n: int) -> Iterator[tuple[int, int, int]]:
        """Of the first n boundaries the tick, the reading of the clock and the offset."""
        for row, first in enumerate(self._first):
            count = min(self._first[row + 1] if row + 1 < len(self._first) else self.n, n) - first
            if count <= 0:
                return
            tick, offset = self._tick[row], self._offset[row]
            low = self._since[row] + offset
            for wall in self._grid.walls(tick, tick + count):
                yield wall, wall if wall > low else low, offset

    def array(self) -> npt.NDArray[np.int64]:
        """All boundaries as UTC epoch seconds; made once, not to be written to."""
        if self._array is not None:
            return self._array
        import numpy as np

        parts = [np.zeros(0, np.int64)]
        for row, first in enumerate(self._first):
            count = (self._first[row + 1] if row + 1 < len(self._first) else self.n) - first
            ticks = self._grid.array(self._tick[row], self._tick[row] + count)
            parts.append(np.maximum(ticks - self._offset[row], self._since[row]))
        self._array = np.concatenate(parts)
        self._array.setflags(write=False)
        return self._array
