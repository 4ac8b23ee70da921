"""The lists of stored keys that a project's dynamic partitions name, and changing them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from assets_core.definition.partitions.dynamic import DynamicPartitions
from assets_core.errors import NotFoundError
from io_managers.nearest import nearest_names
from io_managers.versions.partition_keys import KeyChange, PartitionKeys

if TYPE_CHECKING:
    from assets_core.project.project import Project

__all__ = ["DynamicKeys", "dynamic_names", "list_named"]


def dynamic_names(project: Project) -> list[str]:
    """Names of all lists of keys that assets of a project are partitioned by, sorted."""
    return sorted(
        {name for asset in project.assets.values() for name in asset.partition_space.dynamic_names()}
    )


def list_named(project: Project, text: str) -> str:
    """The name of the list of keys that a text means: itself, or that of the asset of that key.

    Raises:
        NotFoundError: `partitions-not-found`, with the nearest names.
    """
    names = dynamic_names(project)
    if text in names:
        return text
    asset = project.assets.get(text)
    found = asset.partition_space.dynamic_names() if asset is not None else ()
    if len(found) == 1:
        return found[0]
    if asset is not None:
        why = (
            f"the asset {text!r} is partitioned by {', '.join(map(repr, found))}."
            if found
            else f"the partitions of the asset {text!r} are not dynamic."
        )
    else:
        near = nearest_names(text, names, n=3)
        known = f"known are {', '.join(map(repr, names))}" if names else "no asset has dynamic partitions"
        why = f"{known}{'; nearest: ' + ', '.join(map(repr, near)) if near else ''}."
    raise NotFoundError(
        "partitions-not-found",
        f"there are no dynamic partitions {text!r}.",
        why=why,
        do="name a list that an asset declares with partitions=DynamicPartitions(NAME).",
    )


class DynamicKeys:
    """The stored keys of one project's dynamic partitions. Safe to use from several threads."""

    def __init__(self, project: Project, stored: PartitionKeys) -> None:
        self._project = project
        self._stored = stored

    def reader(self) -> Callable[[str], Sequence[str]]:
        """Reads each list once, so that all that is closed over it sees the same keys."""
        known: dict[str, tuple[str, ...]] = {}

        def read(name: str) -> tuple[str, ...]:
            if name not in known:
                known[name] = self._stored.read(name)
            return known[name]

        return read

    def add(self, name: str, keys: Iterable[str]) -> KeyChange:
        """Add keys to a list.

        Raises:
            NotFoundError: `partitions-not-found`.
            DefinitionError: `partition-key-invalid`: a key is no text with a character.
            StorageError: The storage failed.
        """
        name = list_named(self._project, name)
        return self._stored.add(name, _checked(name, keys))

    def remove(self, name: str, keys: Iterable[str]) -> KeyChange:
        """Take keys out of a list; what was published for them stays in the history.

        Raises:
            NotFoundError: `partitions-not-found`; `partition-not-found`: the list does not have one of the keys.
            StorageError: The storage failed.
        """
        name = list_named(self._project, name)
        wanted = _checked(name, keys)
        present = DynamicPartitions(name).with_keys(self._stored.read(name))
        for key in wanted:
            present.ordinal(key)
        return self._stored.remove(name, wanted)


def _checked(name: str, keys: Iterable[str]) -> list[str]:
    """Distinct keys, each of them valid."""
    if not isinstance(keys, str):
        keys = dict.fromkeys(keys)
    return [str(key) for key in DynamicPartitions(name).with_keys(keys).keys()]
