"""Partitions by a list of keys, and those whose list is fixed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from assets_core.definition.partitions.base import SELECTION_WORDS, PartitionsDefinition
from assets_core.errors import DefinitionError
from io_managers.nearest import nearest_names

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

#: More keys than this are not all compared to find the nearest.
_MAX_COMPARED = 2_000
_SPECIAL = re.compile(rf"(?:{'|'.join(SELECTION_WORDS)})(?::.*)?", re.DOTALL)


class ListedPartitions(PartitionsDefinition):
    """One partition a key, in the order of a list; any text with a character can be a key.

    Args:
        keys: Distinct.

    Raises:
        DefinitionError: `partition-key-invalid`, `partition-key-twice`.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        if isinstance(keys, str):
            raise DefinitionError(
                "partition-key-invalid",
                f"the keys of {self.kind} partitions are given as the one text {_shorten(keys)}.",
                why="each of its characters would become a partition.",
                do=f"write a list: [{_shorten(keys)}].",
            )
        self._keys = tuple(keys)
        self._ordinals: dict[str, int] = {}
        for ordinal, key in enumerate(self._keys):
            self._check(key, ordinal)
            self._ordinals[key] = ordinal
        self._positions: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, ordinal: int) -> str:
        """The key of an ordinal.

        Raises:
            IndexError: There is no such ordinal.
        """
        if ordinal < 0:
            raise IndexError(f"ordinal {ordinal} is negative")
        return self._keys[ordinal]

    def keys(self) -> Iterator[str]:
        """All keys in order."""
        return iter(self._keys)

    def ordinal(self, key: str | None) -> int:
        """The ordinal of a key.

        Raises:
            NotFoundError: `partition-not-found`, naming the nearest keys and the bounds.
        """
        found = self._ordinals.get(key) if key is not None else None
        if found is None:
            raise self._not_found(key, self.nearest(key or ""), self.bounds())
        return found

    def has_key(self, key: str) -> bool:
        """Whether there is a partition of that key."""
        return key in self._ordinals

    def nearest(self, text: str) -> list[str]:
        """Up to three keys that look like a text, the most alike first."""
        keys: Sequence[str] = self._keys
        if len(keys) > _MAX_COMPARED:
            keys = [key for key in keys if key[:1] == text[:1]][:_MAX_COMPARED]
        return nearest_names(text, keys, n=3)

    def positions(self) -> npt.NDArray[np.int64]:
        """The signed 64-bit xxh3 of each key's UTF-8 form; read-only, made once.

        Raises:
            DefinitionError: `partition-keys-collide`: two keys have the same hash.
        """
        if self._positions is None:
            import numpy as np
            from xxhash import xxh3_64_intdigest

            hashes = [xxh3_64_intdigest(_utf8(key)) for key in self._keys]
            if len(set(hashes)) != len(hashes):
                raise self._collision(hashes)
            self._positions = np.array(hashes, dtype=np.uint64).view(np.int64)
            self._positions.setflags(write=False)
        return self._positions

    def position_of(self, key: str | None) -> int:
        """The hash of the key, whether or not it is one of the list."""
        return 0 if key is None else key_position(key)

    def bounds(self) -> str:
        """How many keys there are and the first few."""
        if not self._keys:
            return f"there are no {self.kind} partitions yet"
        shown = ", ".join(_shorten(key) for key in self._keys[:3])
        return f"there are {len(self):,}: {shown}" + (", ..." if len(self) > 3 else "")

    def format_key(self, key: str | None) -> str:
        """A key with a backslash before what would otherwise mean something in a selection of partitions."""
        text = str(key)
        last = len(text) - 1
        return "".join(
            f"\\{char}" if self._must_escape(text, index, last) else char for index, char in enumerate(text)
        )

    def format_runs(self, runs: Sequence[tuple[int, int]]) -> str:
        """Runs of ordinals as `parse_partitions` takes them, never one that is a key as it stands."""
        items = []
        for first, last in runs:
            item = super().format_runs([(first, last)])
            items.append(self._distinguish(item) if last - first > 1 else item)
        text = ",".join(items)
        return self._distinguish(text) if len(items) > 1 else text

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_positions": None}

    def _distinguish(self, text: str) -> str:
        """The same with a backslash in front if it could be taken for a key; escaped text never is."""
        return f"\\{text}" if text in self._ordinals and "\\" not in text else text

    @staticmethod
    def _must_escape(text: str, index: int, last: int) -> bool:
        char = text[index]
        if char in "\\,":
            return True
        at_edge = index in (0, last)
        if char == ".":  # two in a row make a range, also one of the key and one of the range
            return at_edge or "." in (text[index - 1], text[index + 1])
        return (at_edge and char.isspace()) or (index == 0 and _SPECIAL.fullmatch(text) is not None)

    def _check(self, key: object, ordinal: int) -> None:
        if not isinstance(key, str) or not key:
            raise DefinitionError(
                "partition-key-invalid",
                f"{_shorten(key)} cannot be the key of a partition.",
                why=f"number {ordinal + 1} of the {len(self._keys):,} keys is not a text with at least one character.",
                do="give every partition a text as its key.",
            )
        if key in self._ordinals:
            raise DefinitionError(
                "partition-key-twice",
                f"the partition key {_shorten(key)} is given twice.",
                why=f"as numbers {self._ordinals[key] + 1} and {ordinal + 1} of {len(self._keys):,}.",
                do="remove one of them.",
            )

    def _collision(self, hashes: Sequence[int]) -> DefinitionError:
        seen: dict[int, str] = {}
        for key, value in zip(self._keys, hashes, strict=True):
            if value in seen:
                break
            seen[value] = key
        return DefinitionError(
            "partition-keys-collide",
            f"the partition keys {_shorten(seen[value])} and {_shorten(key)} cannot be told apart.",
            why=f"both have the 64-bit hash {value:016x}, by which versions are found.",
            do="rename one of them.",
        )


class StaticPartitions(ListedPartitions):
    """One partition a key, in the order given.

    Args:
        keys: Non-empty, distinct; any other text is allowed.

    Raises:
        DefinitionError: `partitions-empty`, `partition-key-invalid`, `partition-key-twice`.
    """

    kind = "static"

    def __init__(self, keys: Iterable[str]) -> None:
        super().__init__(keys)
        if not self._keys:
            raise DefinitionError(
                "partitions-empty",
                "StaticPartitions([]) has no partitions.",
                why="the list of keys is empty.",
                do="give at least one key, or leave `partitions` out.",
            )
        self._digest: str | None = None

    def signature(self) -> str:
        """`static` and a hash of the keys, whatever their order."""
        if self._digest is None:
            digest = hashlib.sha256()
            for raw in sorted(map(_utf8, self._keys)):
                digest.update(len(raw).to_bytes(8, "big") + raw)
            self._digest = digest.hexdigest()[:16]
        return f"static {self._digest}"

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, StaticPartitions):
            return NotImplemented
        return self._keys == other._keys

    def __hash__(self) -> int:
        return hash(self._keys)

    def __repr__(self) -> str:
        return f"StaticPartitions({list(self._keys)!r})"


def key_position(key: str) -> int:
    """The element of `positions` for a key, whatever the definition."""
    from xxhash import xxh3_64_intdigest

    value: int = xxh3_64_intdigest(_utf8(key))
    return value - (1 << 64) if value >= 1 << 63 else value


def _utf8(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
