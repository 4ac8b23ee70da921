"""A store in memory: strict, safe for threads, gone with the process; for tests, simulations and trials."""

import builtins
import io
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from io_managers.storage.base import ObjectExistsError, ObjectInfo, ObjectMissingError
from io_managers.storage.paths import path_taken, require_data, require_folder, require_path
from io_managers.storage.streams import ObjectWriter

__all__ = ["MemoryStorage"]


class MemoryStorage:
    """Objects in a dictionary, guarded by one lock.

    It allows only what every store allows: a path is an object or a folder, never both.

    Args:
        name: Shown in the URL.
        clock: The store's clock, epoch seconds.
    """

    def __init__(self, name: str = "", *, clock: Callable[[], float] = time.time) -> None:
        self._name = name
        self._clock = clock
        self._lock = threading.RLock()
        self._objects: dict[str, tuple[bytes, float]] = {}
        self._children: dict[str, set[str]] = {"": set()}

    @property
    def url(self) -> str:
        """`memory://` and the name."""
        return f"memory://{self._name}"

    def __repr__(self) -> str:
        return f"MemoryStorage({self.url!r})"

    def put_new(self, path: str, data: bytes) -> None:
        """Create an object whole, or raise `ObjectExistsError`."""
        require_path(path)
        require_data(data)
        with self._lock:
            if path in self._objects:
                raise ObjectExistsError(path)
            self._store(path, bytes(data))

    def put(self, path: str, data: bytes) -> None:
        """Write an object whole, replacing what was there."""
        require_path(path)
        with self._lock:
            self._store(path, bytes(data))

    def get(self, path: str) -> bytes:
        """Read an object, or raise `ObjectMissingError`."""
        require_path(path)
        with self._lock:
            entry = self._objects.get(path)
        if entry is None:
            raise ObjectMissingError(path)
        return entry[0]

    def head(self, path: str) -> ObjectInfo | None:
        """What is at the path, or None."""
        require_path(path)
        with self._lock:
            entry = self._objects.get(path)
        return None if entry is None else ObjectInfo(path, len(entry[0]), entry[1])

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object below a folder, sorted by path, as it was when the listing began."""
        folder = require_folder(prefix)
        with self._lock:
            paths: list[str] = []
            self._collect(folder, paths)
            found = [ObjectInfo(path, len(data), at) for path in paths for data, at in (self._objects[path],)]
        return iter(sorted(found, key=lambda info: info.path))

    def list_names(self, folder: str) -> builtins.list[str]:
        """Sorted names directly in a folder."""
        folder = require_folder(folder)
        with self._lock:
            return sorted(self._children.get(folder, ()))

    def delete(self, path: str) -> None:
        """Remove an object; no error when it is absent."""
        require_path(path)
        with self._lock:
            if self._objects.pop(path, None) is None:
                return
            while path:
                folder, _, name = path.rpartition("/")
                self._children[folder].discard(name)
                if self._children[folder] or not folder:
                    return
                del self._children[folder]
                path = folder

    def now(self) -> float:
        """The store's clock, epoch seconds."""
        return self._clock()

    def open_write(self, path: str) -> BinaryIO:
        """Stream a new object, which appears whole when closed.

        Raises:
            StorageError: `path-taken` when the path is in use already.
        """
        require_path(path)
        with self._lock:
            if path in self._objects:
                raise path_taken(path, "there is an object already.")
        return cast(BinaryIO, _MemoryWriter(self, path))

    def open_read(self, path: str) -> BinaryIO:
        """A seekable reader, or `ObjectMissingError`."""
        return io.BytesIO(self.get(path))

    def local_path(self, path: str) -> Path | None:
        """None."""
        require_path(path)
        return None

    def _store(self, path: str, data: bytes) -> None:
        """Enter an object and the folders above it; the caller holds the lock."""
        if path not in self._objects:
            if path in self._children:
                raise path_taken(path, "it is a folder.")
            folders = path.split("/")[:-1]
            for depth in range(1, len(folders) + 1):
                above = "/".join(folders[:depth])
                if above in self._objects:
                    raise path_taken(path, f"{above} is an object and cannot be a folder too.")
            below = path
            while below:
                folder, _, name = below.rpartition("/")
                known = folder in self._children
                self._children.setdefault(folder, set()).add(name)
                if known:
                    break
                below = folder
        self._objects[path] = (data, self._clock())

    def _collect(self, folder: str, into: builtins.list[str]) -> None:
        pending = [folder]
        while pending:
            current = pending.pop()
            for name in self._children.get(current, ()):
                path = f"{current}/{name}" if current else name
                (into if path in self._objects else pending).append(path)


class _MemoryWriter(ObjectWriter):
    """Collects an object, which appears when closed."""

    def __init__(self, storage: MemoryStorage, path: str) -> None:
        super().__init__(path, buffer_bytes=sys.maxsize)
        self._storage = storage

    def _emit(self, data: bytes | bytearray | memoryview) -> None:
        raise AssertionError("the buffer has no end")

    def _finish(self, rest: bytearray) -> None:
        self._storage.put(self.path, bytes(rest))

    def _discard(self) -> None:
        """Nothing is in the store yet."""
