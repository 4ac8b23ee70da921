"""Stores that go wrong on purpose: wrappers for tests, and for users who want to try their own pipelines.

    Recording(store)            what was called, in order
    Faulty(store, 3, error)     the third call fails, before or after its effect
    KillAt(store, 17)           the process is killed at the 17th point
    Laggy(store, 5)             listings show what was so five calls ago

Each is itself a store and can wrap another.
"""

import builtins
import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Protocol, TypeVar, cast, runtime_checkable

from io_managers.storage.base import ObjectInfo, Storage

__all__ = ["Call", "Faulty", "KillAt", "Laggy", "Recording", "SupportsPoints", "Wrapped"]

T = TypeVar("T")


@runtime_checkable
class SupportsPoints(Protocol):
    """A store that can be stopped between the operations that one call consists of."""

    on_point: Callable[[str], None] | None


@dataclass(frozen=True, slots=True)
class Call:
    """One call: the method's `name` (`close` for completing a stream) and the `path`, empty for `now`."""

    name: str
    path: str


class Wrapped:
    """A store that passes every call on through `around`; the base of the stores in this module."""

    def __init__(self, inner: Storage) -> None:
        self.inner = inner

    def around(self, call: Call, action: Callable[[], T]) -> T:
        """Carry out one call."""
        return action()

    @property
    def url(self) -> str:
        """The inner store's."""
        return self.inner.url

    def put_new(self, path: str, data: bytes) -> None:
        """See `Storage`."""
        self.around(Call("put_new", path), lambda: self.inner.put_new(path, data))

    def put(self, path: str, data: bytes) -> None:
        """See `Storage`."""
        self.around(Call("put", path), lambda: self.inner.put(path, data))

    def get(self, path: str) -> bytes:
        """See `Storage`."""
        return self.around(Call("get", path), lambda: self.inner.get(path))

    def head(self, path: str) -> ObjectInfo | None:
        """See `Storage`."""
        return self.around(Call("head", path), lambda: self.inner.head(path))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """See `Storage`; the listing is taken at once, as one call."""
        return iter(self.around(Call("list", prefix), lambda: builtins.list(self.inner.list(prefix))))

    def list_names(self, folder: str) -> builtins.list[str]:
        """See `Storage`."""
        return self.around(Call("list_names", folder), lambda: self.inner.list_names(folder))

    def delete(self, path: str) -> None:
        """See `Storage`."""
        self.around(Call("delete", path), lambda: self.inner.delete(path))

    def now(self) -> float:
        """See `Storage`."""
        return self.around(Call("now", ""), self.inner.now)

    def open_write(self, path: str) -> BinaryIO:
        """See `Storage`; completing the stream is a call of its own, named `close`."""
        stream = self.around(Call("open_write", path), lambda: self.inner.open_write(path))
        return cast(BinaryIO, _WrappedStream(self, path, stream))

    def open_read(self, path: str) -> BinaryIO:
        """See `Storage`."""
        return self.around(Call("open_read", path), lambda: self.inner.open_read(path))

    def local_path(self, path: str) -> Path | None:
        """See `Storage`; asks nothing of the store and so is no call."""
        return self.inner.local_path(path)


class _WrappedStream:
    """Passes everything to the inner stream, `close` through `around`."""

    def __init__(self, owner: Wrapped, path: str, stream: BinaryIO) -> None:
        self._owner = owner
        self._path = path
        self._stream = stream
        self.closed = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            try:
                self._owner.around(Call("close", self._path), self._stream.close)
            except BaseException:
                self._abort_inner()
                raise

    def abort(self) -> None:
        self.closed = True
        self._abort_inner()

    def _abort_inner(self) -> None:
        getattr(self._stream, "abort", self._stream.close)()

    def __enter__(self) -> "_WrappedStream":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


class Recording(Wrapped):
    """Remembers every call in `calls`, before it is carried out."""

    def __init__(self, inner: Storage) -> None:
        super().__init__(inner)
        self.calls: builtins.list[Call] = []

    def around(self, call: Call, action: Callable[[], T]) -> T:
        """Note the call."""
        self.calls.append(call)
        return action()

    def count(self, *names: str) -> int:
        """How many calls had one of these names; without names, how many there were."""
        return sum(call.name in names for call in self.calls) if names else len(self.calls)


class Faulty(Wrapped):
    """One call fails.

    Args:
        inner: The store.
        number: Which call fails, counted from 1 among those that match; 0 lets none fail.
        error: What it raises, or makes what it raises.
        when: `before` the call had any effect, or `after` it, which is how a lost answer looks.
        names: Only calls of these names count; all when empty.

    Attributes:
        seen: How many matching calls there were.
    """

    def __init__(
        self,
        inner: Storage,
        number: int,
        error: Exception | Callable[[Call], Exception],
        *,
        when: Literal["before", "after"] = "before",
        names: Collection[str] = (),
    ) -> None:
        super().__init__(inner)
        self._number = number
        self._error = error
        self._when = when
        self._names = frozenset(names)
        self._lock = threading.Lock()
        self.seen = 0

    def around(self, call: Call, action: Callable[[], T]) -> T:
        """Fail when it is this call's turn."""
        fails = False
        if not self._names or call.name in self._names:
            with self._lock:
                self.seen += 1
                fails = self.seen == self._number
        if not fails:
            return action()
        if self._when == "after":
            action()
        raise self._error if isinstance(self._error, Exception) else self._error(call)


class KillAt(Wrapped):
    """The process is killed at one point, as by `kill -9`.

    On a store that `SupportsPoints` (the local disk) every operation on the file system is a point; on any other
    there is one right before and one right after each call.

    Args:
        inner: The store.
        number: At which point, counted from 1; 0 never, to count them.
        kill: What happens there.

    Attributes:
        passed: Names of the points so far.
    """

    def __init__(self, inner: Storage, number: int, kill: Callable[[], None] | None = None) -> None:
        super().__init__(inner)
        self._number = number
        self._kill = kill or _kill_this_process
        self._lock = threading.Lock()
        self.passed: builtins.list[str] = []
        self._inside = isinstance(inner, SupportsPoints)
        if isinstance(inner, SupportsPoints):
            inner.on_point = self.point

    def point(self, name: str) -> None:
        """Pass a point, or die there; may also be called for points outside the store."""
        with self._lock:
            self.passed.append(name)
            dies = len(self.passed) == self._number
        if dies:
            self._kill()

    def around(self, call: Call, action: Callable[[], T]) -> T:
        """Put the call between two points, unless the store has points of its own."""
        if self._inside:
            return action()
        self.point(f"{call.name}:before")
        result = action()
        self.point(f"{call.name}:after")
        return result


def _kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Laggy(Wrapped):
    """Listings lag: they do not show objects created during the last calls, and still show those deleted then.

    Reading one object by its path is always up to date, as on an object store with weak listings.

    Args:
        inner: The store.
        lag: How many calls a change stays unseen.
    """

    def __init__(self, inner: Storage, lag: int) -> None:
        super().__init__(inner)
        self._lag = lag
        self._lock = threading.Lock()
        self._tick = 0
        self._created: dict[str, int] = {}
        self._deleted: dict[str, tuple[int, ObjectInfo]] = {}

    def around(self, call: Call, action: Callable[[], T]) -> T:
        """Count the call, and note what it changes."""
        changes = call.name in {"put_new", "put", "close", "delete"}
        before = self.inner.head(call.path) if changes else None
        result = action()
        with self._lock:
            self._tick += 1
            if changes and call.name == "delete" and before is not None:
                self._deleted[call.path] = (self._tick, before)
                self._created.pop(call.path, None)
            elif changes and call.name != "delete" and before is None:
                self._created[call.path] = self._tick
                self._deleted.pop(call.path, None)
        return result

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """The objects as they were `lag` calls ago."""
        folder = prefix.removesuffix("/")
        found = {info.path: info for info in super().list(prefix)}
        with self._lock:
            since = self._tick - self._lag
            for path, tick in self._created.items():
                if tick >= since:
                    found.pop(path, None)
            for path, (tick, info) in self._deleted.items():
                if tick >= since and (not folder or path.startswith(f"{folder}/")):
                    found[path] = info
        return iter([found[path] for path in sorted(found)])

    def list_names(self, folder: str) -> builtins.list[str]:
        """The names as they were `lag` calls ago."""
        start = len(folder.removesuffix("/")) + 1 if folder else 0
        return sorted({info.path[start:].partition("/")[0] for info in self.list(folder)})
