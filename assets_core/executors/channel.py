"""How the coordinator and a worker process talk: a socket for messages, a pipe for permits.

The socket carries length-prefixed pickles of small values, tasks one way and reports the other. A task may be sent
ahead, while the worker still runs another, so that it need not wait for the next. Such a task is not given away yet:
for each task a permit, its number in 8 bytes, goes through a pipe of which *both* sides hold the reading end. The
worker runs a task only with its permit; the coordinator takes a task back by reading the permit itself. The kernel
gives each permit to exactly one of them, so no task is run twice and none gets stuck behind a long one.
"""

import pickle
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from assets_core.engine.executor import StepError, StepTask, WorkerJob

PERMIT = struct.Struct("!Q")
_LENGTH = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class Hello:
    """First message to a worker: what it needs to open its runner.

    Attributes:
        opener: `module:function` that makes a `StepRunner` from the job.
        import_paths: The coordinator's `sys.path`.
    """

    opener: str
    job: WorkerJob
    import_paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NumberedTask:
    """A task and the number of its permit."""

    number: int
    task: StepTask


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """The worker has opened its runner."""


@dataclass(frozen=True, slots=True)
class WorkerFailed:
    """The worker could not open its runner and ends."""

    error: StepError


@runtime_checkable
class SupportsClose(Protocol):
    """A runner that holds something to release."""

    def close(self) -> None:
        """Release it."""
        ...


def encode(message: object) -> bytes:
    """One message as it goes over the socket."""
    body = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(body)) + body


class MessageReader:
    """Puts messages together again from pieces of the stream."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """The messages that are whole now that `data` has arrived."""
        pending = self._pending
        pending += data
        start = 0
        try:
            while len(pending) - start >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(pending, start)
                end = start + _LENGTH.size + length
                if len(pending) < end:
                    break
                message = pickle.loads(pending[start + _LENGTH.size : end])
                start = end
                yield message
        finally:
            del pending[:start]
