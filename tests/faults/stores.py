"""Stores that fail, halt or cut what they are given, beside those of `io_managers.storage.faults`."""

import os
import signal
from collections.abc import Callable
from typing import BinaryIO, TypeVar, cast

from io_managers.errors import StorageError
from io_managers.storage.base import Storage
from io_managers.storage.faults import Call, Wrapped

T = TypeVar("T")


def lost_answer() -> StorageError:
    """What a store raises when it cannot know whether a write took place."""
    return StorageError(
        "outcome-unknown", "no answer came.", why="the line broke.", do="try again.", retryable=True
    )


def passing_trouble() -> StorageError:
    """An error that trying again can help."""
    return StorageError("storage-io-error", "it is busy.", why="503.", do="try again.", retryable=True)


def lasting_trouble() -> StorageError:
    """An error that trying again cannot help."""
    return StorageError("storage-full", "the disk is full.", why="ENOSPC.", do="make room.")


class Halving(Wrapped):
    """One write takes only half of the bytes.

    Args:
        inner: The store.
        number: Which write is cut, counted from 1; 0 none.
        silent: Only streams are cut, and then report success, as a broken disk may; else the answer is lost.

    Attributes:
        seen: How many writes there were.
    """

    def __init__(self, inner: Storage, number: int, *, silent: bool = False) -> None:
        super().__init__(inner)
        self._number = number
        self._silent = silent
        self.seen = 0

    def _is_cut(self, *, stream: bool = False) -> bool:
        if self._silent and not stream:
            return False
        self.seen += 1
        return self.seen == self._number

    def _answer(self) -> None:
        if not self._silent:
            raise lost_answer()

    def put_new(self, path: str, data: bytes) -> None:
        cut = self._is_cut()
        self.inner.put_new(path, data[: len(data) // 2] if cut else data)
        if cut:
            self._answer()

    def put(self, path: str, data: bytes) -> None:
        cut = self._is_cut()
        self.inner.put(path, data[: len(data) // 2] if cut else data)
        if cut:
            self._answer()

    def open_write(self, path: str) -> BinaryIO:
        stream = self.inner.open_write(path)
        return cast(BinaryIO, _HalfStream(stream, self._answer)) if self._is_cut(stream=True) else stream


class _HalfStream:
    """Writes the first half of each piece."""

    def __init__(self, stream: BinaryIO, answer: Callable[[], None]) -> None:
        self._stream = stream
        self._answer = answer

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, data: bytes) -> int:
        self._stream.write(memoryview(data)[: len(data) // 2])
        return len(data)

    def close(self) -> None:
        self._stream.close()
        self._answer()


class Deaf(Wrapped):
    """From the first create below a folder on, no request for that folder is answered; the create took place."""

    def __init__(self, inner: Storage, folder: str) -> None:
        super().__init__(inner)
        self._folder = folder
        self._is_deaf = False

    def around(self, call: Call, action: Callable[[], T]) -> T:
        """Lose the answer."""
        if not call.path.startswith(self._folder):
            return action()
        if self._is_deaf:
            raise passing_trouble()
        result = action()
        if call.name == "put_new":
            self._is_deaf = True
            raise lost_answer()
        return result


class Halting(Wrapped):
    """The process is stopped, until somebody continues it, right before the first create below a folder."""

    def __init__(self, inner: Storage, folder: str) -> None:
        super().__init__(inner)
        self._folder = folder
        self._has_halted = False

    def around(self, call: Call, action: Callable[[], T]) -> T:
        """Halt when it is time."""
        if call.name == "put_new" and call.path.startswith(self._folder) and not self._has_halted:
            self._has_halted = True
            os.kill(os.getpid(), signal.SIGSTOP)
        return action()


def halting_before_orders(inner: Storage) -> Storage:
    """Halts before `orders` is published."""
    return Halting(inner, "log/main/orders")


def halting_before_run(inner: Storage) -> Storage:
    """Halts before the run is marked as begun."""
    return Halting(inner, "runs/open")
