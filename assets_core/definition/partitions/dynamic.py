"""Partitions whose keys are added and removed at run time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from assets_core.definition.partitions.base import StoredKeys
from assets_core.definition.partitions.static import ListedPartitions
from assets_core.errors import DefinitionError


class DynamicPartitions(ListedPartitions):
    """One partition a key, where the keys are kept in the storage.

    A definition only names the list; assets that name the same one have the same keys. Keys are added and removed
    with `assetline partitions`, `Session.add_partitions` and `Context.add_partitions`. `at` gives the definition with
    the keys that are stored then, in the order in which they were added; without them it has no partitions.

    Args:
        name: Of the list of keys.

    Raises:
        DefinitionError: `partitions-name-invalid`: the name is no text with a character.
    """

    kind = "dynamic"

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not name:
            raise DefinitionError(
                "partitions-name-invalid",
                f"{name!r:.80} cannot be the name of dynamic partitions.",
                why="their keys are stored under a text with at least one character.",
                do="write for instance DynamicPartitions('customers').",
            )
        super().__init__(())
        self._name = name

    @property
    def name(self) -> str:
        """Under which the keys are stored."""
        return self._name

    def with_keys(self, keys: Iterable[str]) -> DynamicPartitions:
        """The definition with these keys.

        Raises:
            DefinitionError: `partition-key-invalid`, `partition-key-twice`.
        """
        found = DynamicPartitions(self._name)
        ListedPartitions.__init__(found, keys)
        return found

    def at(self, now: dt.datetime, stored: StoredKeys | None = None) -> DynamicPartitions:
        """The definition with the keys that are stored; as it is when `stored` is not given."""
        return self if stored is None else self.with_keys(stored(self._name))

    def dynamic_names(self) -> tuple[str, ...]:
        """The one name."""
        return (self._name,)

    def may_hold(self, key: str | None) -> bool:
        """Any text with a character can be added."""
        return bool(key)

    def signature(self) -> str:
        """`dynamic` and the name: keys that come and go change nothing for those that stay."""
        return f"dynamic {self._name}"

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, DynamicPartitions):
            return NotImplemented
        return self._name == other._name and self._keys == other._keys

    def __hash__(self) -> int:
        return hash((self._name, self._keys))

    def __repr__(self) -> str:
        return f"DynamicPartitions({self._name!r})"
