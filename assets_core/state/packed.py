"""Columns of the database as arrays: numbers, and blobs that stand end to end in one buffer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from assets_core.state.rows import I64, U64

HASH_BYTES = 8


@dataclass(frozen=True, slots=True, eq=False)
class Blobs:
    """One blob a row: `data[offsets[i]:offsets[i + 1]]`; offsets have shape (n + 1,), data is of bytes."""

    offsets: npt.NDArray[np.int64] | npt.NDArray[np.int32]
    data: npt.NDArray[np.uint8]

    @classmethod
    def join(cls, values: Sequence[bytes]) -> Blobs:
        """From values one by one.

        Raises:
            TypeError: One of them is not bytes.
        """
        offsets = np.zeros(len(values) + 1, np.int64)
        data = np.frombuffer(b"".join(values), np.uint8)
        np.cumsum(np.fromiter(map(len, values), np.int64, len(values)), out=offsets[1:])
        return cls(offsets, data)

    @classmethod
    def concatenate(cls, parts: Sequence[Blobs]) -> Blobs:
        """The rows of several, one after the other."""
        offsets = np.zeros(sum(len(part.offsets) - 1 for part in parts) + 1, np.int64)
        np.cumsum(np.concatenate([part.lengths() for part in parts]), out=offsets[1:])
        data = [part.data[int(part.offsets[0]) : int(part.offsets[-1])] for part in parts]
        return cls(offsets, np.concatenate(data))

    def lengths(self) -> npt.NDArray[np.int64] | npt.NDArray[np.int32]:
        """Bytes of each row, shape (n,)."""
        return np.diff(self.offsets)

    def part(self, first: int, last: int) -> Blobs:
        """The rows from `first` to before `last`."""
        return Blobs(self.offsets[first : last + 1], self.data)


class PackedHashes(Mapping[str, "U64"]):
    """Hashes by name over the rows of a table; each look-up decodes the hashes of one name, shape (n,).

    A row whose list of names lacks a name has 0 there.
    """

    def __init__(self, list_ids: I64, blobs: Blobs, names: Mapping[int, tuple[str, ...]]) -> None:
        """Take columns whose lengths `require_lengths` has found right.

        Args:
            list_ids: Shape (n,), the list of names of each row.
            blobs: For each row 8 bytes a name, big end first.
            names: The lists.
        """
        self._list_ids = list_ids
        self._blobs = blobs
        self._lists = names

    def __getitem__(self, name: str) -> U64:
        found: U64 | None = None
        for names, rows in self._shapes:
            if name not in names:
                continue
            at = names.index(name)
            if rows is None:
                return self._decode_all(at, len(names))
            if found is None:
                found = np.zeros(len(self._list_ids), np.uint64)
            places = self._blobs.offsets[rows] + HASH_BYTES * at
            found[rows] = (
                self._blobs.data[places[:, None] + np.arange(HASH_BYTES)].view(">u8").reshape(len(rows))
            )
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    @cached_property
    def _names(self) -> dict[str, None]:
        return dict.fromkeys(name for names, _ in self._shapes for name in names)

    @cached_property
    def _shapes(self) -> list[tuple[tuple[str, ...], I64 | None]]:
        """The lists of names, in the order of their first row, with their rows; None for all."""
        ids = self._list_ids
        if not len(ids):
            return []
        if bool(np.all(ids == ids[0])):
            return [(self._lists[int(ids[0])], None)]
        return [
            (self._lists[number], np.flatnonzero(ids == number)) for number in dict.fromkeys(ids.tolist())
        ]

    def _decode_all(self, at: int, count: int) -> U64:
        start = int(self._blobs.offsets[0])
        size = HASH_BYTES * count * len(self._list_ids)
        table = self._blobs.data[start : start + size].view(">u8").reshape(-1, count)
        return table[:, at].astype(np.uint64)


def distinct(values: I64) -> list[int]:
    """The values there are, ascending; fast where equal ones stand together."""
    starts, _ = runs_of(values)
    return sorted(set(values[starts].tolist()))


def runs_of(values: I64) -> tuple[I64, I64]:
    """Where runs of equal values start and how long they are."""
    starts = np.flatnonzero(np.diff(values, prepend=values[:1] + 1)) if len(values) else np.zeros(0, np.int64)
    return starts, np.diff(starts, append=len(values))


def require_lengths(list_ids: I64, blobs: Blobs, names: Mapping[int, tuple[str, ...]]) -> None:
    """Make sure that every row has 8 bytes for each of its names.

    Raises:
        ValueError: One has not.
        LookupError: A list of names is not known.
    """
    starts, counts = runs_of(list_ids)
    sizes = np.array([HASH_BYTES * len(names[number]) for number in list_ids[starts].tolist()], np.int64)
    if not np.array_equal(np.repeat(sizes, counts), blobs.lengths()):
        raise ValueError(f"packed hashes are not {HASH_BYTES} bytes a name")
