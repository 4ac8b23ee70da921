"""The write-only stream under which every store takes in a new object."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

__all__ = ["ObjectWriter"]


class ObjectWriter(ABC):
    """A buffered, write-only, unseekable binary stream for one new object.

    `close()` completes the object; `abort()`, leaving the `with` block by an exception, a failed write, or
    losing the last reference give it up. It is not an `io.IOBase`: those complete themselves when collected.

    Attributes:
        path: The object's path in the store.
        closed: No more can be written.
    """

    def __init__(self, path: str, buffer_bytes: int) -> None:
        self.path = path
        self.closed = False
        self._limit = buffer_bytes
        self._buffer = bytearray()
        self._sent = 0

    @abstractmethod
    def _emit(self, data: bytes | bytearray | memoryview) -> None:
        """Pass bytes on; called with at least `buffer_bytes` of them."""

    @abstractmethod
    def _finish(self, rest: bytearray) -> None:
        """Pass the rest on and make the object whole and durable."""

    @abstractmethod
    def _discard(self) -> None:
        """Take back what was passed on; raises nothing."""

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append bytes, and say how many.

        Raises:
            StorageError: The store failed; the object has been given up.
            ValueError: The stream is closed.
        """
        if self.closed:
            raise ValueError(f"write to the closed stream of {self.path}")
        buffer = self._buffer
        before = len(buffer)
        if isinstance(data, bytes) and not before and len(data) >= self._limit:
            self._pass_on(data)
            return len(data)
        buffer += data
        size = len(buffer) - before
        if len(buffer) >= self._limit:
            self._buffer = bytearray()
            self._pass_on(buffer)
        return size

    def _pass_on(self, data: bytes | bytearray) -> None:
        try:
            self._emit(data)
        except BaseException:
            self.abort()
            raise
        self._sent += len(data)

    def writelines(self, lines: Iterable[bytes]) -> None:
        """Append each of several byte strings."""
        for line in lines:
            self.write(line)

    def tell(self) -> int:
        """Bytes written so far."""
        return self._sent + len(self._buffer)

    def flush(self) -> None:  # noqa: B027 - a stream that is whole only when closed has nothing to flush
        """Nothing: the object becomes whole when closed."""

    def readable(self) -> bool:
        """False."""
        return False

    def writable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """False."""
        return False

    def close(self) -> None:
        """Complete the object; it is whole and durable once this returns.

        Raises:
            StorageError: The store failed, the object was given up; with code `outcome-unknown` it may exist.
        """
        if self.closed:
            return
        self.closed = True
        rest, self._buffer, sent = self._buffer, bytearray(), self._sent
        self._sent = sent + len(rest)
        try:
            self._finish(rest)
        except BaseException:
            self._discard()
            raise

    def abort(self) -> None:
        """Give the object up."""
        if not self.closed:
            self.closed = True
            self._buffer = bytearray()
            self._discard()

    def __enter__(self) -> "ObjectWriter":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        if not getattr(self, "closed", True):
            self.abort()
