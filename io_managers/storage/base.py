"""What a store must be able to do: the few calls on which the publish protocol stands.

Paths are relative to the store's root, separated by `/`, and built only from segments of
`io_managers.keys` and fixed names. A store is safe to use from several threads.
"""

import builtins
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One stored object: `path` below the root, `size_bytes`, `modified` in epoch seconds by the store's clock."""

    path: str
    size_bytes: int
    modified: float


class ObjectExistsError(Exception):
    """`put_new` found the path taken. A signal between the store and the publish protocol, never shown as it is."""


class ObjectMissingError(Exception):
    """The path does not exist. A signal for the layer above, which knows what the path stood for."""


@runtime_checkable
class Storage(Protocol):
    """An object store or a folder.

    Every failure other than the two signals above is raised as `StorageError`, with `retryable` set
    truthfully; when it cannot be known whether a write took place its code is `outcome-unknown`.
    """

    @property
    def url(self) -> str:
        """The root, without credentials."""
        ...

    def put_new(self, path: str, data: bytes) -> None:
        """Create an object whole, or raise `ObjectExistsError`; of racing callers exactly one succeeds.

        `data` is not empty.
        """
        ...

    def put(self, path: str, data: bytes) -> None:
        """Write an object whole, replacing what was there."""
        ...

    def get(self, path: str) -> bytes:
        """Read an object, or raise `ObjectMissingError`."""
        ...

    def head(self, path: str) -> ObjectInfo | None:
        """What is at the path, or None."""
        ...

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object below the folder `prefix` (recursive), sorted by path; nothing when there is none."""
        ...

    def list_names(self, folder: str) -> builtins.list[str]:
        """Sorted names of the objects and folders directly in a folder; empty when it does not exist."""
        ...

    def delete(self, path: str) -> None:
        """Remove an object; no error when it is absent."""
        ...

    def now(self) -> float:
        """The store's own clock, epoch seconds."""
        ...

    def open_write(self, path: str) -> BinaryIO:
        """Stream a new object: complete and durable once `close()` returns, absent or partial if the process dies before.

        Used for data files under a fresh attempt id only, so that no two callers share a path. `abort()`
        on the returned object, where it exists, discards it.
        """
        ...

    def open_read(self, path: str) -> BinaryIO:
        """A seekable reader, or `ObjectMissingError`."""
        ...

    def local_path(self, path: str) -> Path | None:
        """Where the object is on the local disk, or None for a remote store."""
        ...
