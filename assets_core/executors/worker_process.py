"""A worker of the processes executor: `python -m assets_core.executors.worker_process SOCKET PERMITS PARENT`.

main -> _open_runner -> _Worker.serve -> [_claim -> run -> report]*

A worker ends when its coordinator does: at the end of the permits, and on Linux at once, by the parent-death signal.
It ignores Ctrl-C, which is the coordinator's business. SIGTERM interrupts the running step, so that its `finally`
blocks run, and ends the worker.
"""

import contextlib
import io
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from importlib import import_module
from types import FrameType
from typing import TextIO, cast

from assets_core.engine.executor import (
    Report,
    StepError,
    StepLog,
    StepOutcome,
    StepRunner,
    StepStarted,
    StepTask,
)
from assets_core.errors import AssetlineError, InternalError, WorkerLostError
from assets_core.executors.channel import (
    PERMIT,
    Hello,
    MessageReader,
    NumberedTask,
    SupportsClose,
    WorkerFailed,
    WorkerReady,
    encode,
)
from assets_core.executors.reporting import StepInterrupted, StepSink, ended, label, run_guarded, step_error

_READ_BYTES = 1 << 16
_LONGEST_LINE_CHARS = 8192
_PR_SET_PDEATHSIG = 1
_EXIT_TERMINATED = 128 + signal.SIGTERM


class _Connection:
    """The worker's end of the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._reader = MessageReader()
        self._received: deque[object] = deque()
        self._lock = threading.Lock()
        self._is_forked = False

    def send(self, data: bytes) -> None:
        """Send encoded messages; whole, whatever thread it comes from."""
        if not self._is_forked:
            with self._lock:
                self._sock.sendall(data)

    def receive(self) -> object:
        """The next message.

        Raises:
            EOFError: The coordinator has gone.
        """
        while not self._received:
            data = self._sock.recv(_READ_BYTES)
            if not data:
                raise EOFError
            self._received.extend(self._reader.feed(data))
        return self._received.popleft()

    def leave_to_parent(self) -> None:
        """In a forked child: it has no part in the conversation, and must not hold the socket open."""
        self._is_forked = True
        self._sock.close()


class _Worker:
    """Runs one task after the other."""

    def __init__(self, connection: _Connection, permits: int, runner: StepRunner) -> None:
        self._connection = connection
        self._permits = permits
        self._has_permit = select.poll()
        self._has_permit.register(permits, select.POLLIN)
        self._runner = runner
        self._unsent = bytearray()
        self._is_running = False
        self._is_told_to_end = False
        self._prints = [_StepPrints("INFO", sys.stdout), _StepPrints("WARNING", sys.stderr)]

    def serve(self) -> None:
        """Run steps until the permits end, or SIGTERM comes."""
        signal.signal(signal.SIGTERM, self._on_sigterm)
        sys.stdout, sys.stderr = (cast(TextIO, prints) for prints in self._prints)
        # A child that a step forks must not hold the socket open: its end is how the coordinator sees this
        # worker die. What the child prints goes to the real streams.
        os.register_at_fork(after_in_child=self._leave_to_parent)
        try:
            while not self._is_told_to_end:
                task = self._claim()
                if task is None:
                    self._send_unsent()
                else:
                    self._run(task)
        except EOFError:
            pass
        self._send_unsent()

    def _run(self, task: StepTask) -> None:
        name = f"process {os.getpid()}"
        began = time.monotonic()
        # The outcome of the step before travels together with the start of this one.
        self._unsent += encode(StepStarted(task.step, task.attempt, time.time(), name))
        self._send_unsent()
        sink = StepSink(self._send_report)
        for prints in self._prints:
            prints.begin(task, sink)
        self._is_running = True
        try:
            outcome = run_guarded(self._runner, task, sink)
            self._is_running = False
        except StepInterrupted:
            raise
        except KeyboardInterrupt:
            outcome = ended(task, "cancelled", began)
        finally:
            self._is_running = False
            for prints in self._prints:
                prints.end()
            sink.abandoned = True
        self._unsent += _encode_outcome(task, outcome)

    def _claim(self) -> StepTask | None:
        """The next task; None when there is none yet and outcomes wait to be sent."""
        while True:
            try:
                permit = os.read(self._permits, PERMIT.size)
            except BlockingIOError:
                if self._unsent:
                    return None
                self._has_permit.poll()
                continue
            if not permit:
                raise EOFError
            (number,) = PERMIT.unpack(permit)
            return self._receive(number)

    def _receive(self, number: int) -> StepTask:
        """The task with this number; those before it were taken back by the coordinator."""
        while True:
            message = self._connection.receive()
            if isinstance(message, NumberedTask) and message.number == number:
                return message.task

    def _send_report(self, report: Report) -> None:
        self._connection.send(encode(report))

    def _send_unsent(self) -> None:
        if self._unsent:
            self._connection.send(bytes(self._unsent))
            self._unsent.clear()

    def _leave_to_parent(self) -> None:
        self._connection.leave_to_parent()
        for prints in self._prints:
            prints.let_go()

    def _on_sigterm(self, _signal: int, _frame: FrameType | None) -> None:
        if self._is_running:
            raise StepInterrupted
        if not self._unsent:
            raise SystemExit(_EXIT_TERMINATED)
        self._is_told_to_end = True


class _StepPrints(io.TextIOBase):
    """Takes what a step prints, line by line, as log lines; between steps it goes to the real stream."""

    def __init__(self, level: str, stream: TextIO) -> None:
        self._level = level
        self._stream = stream
        self._target: tuple[StepTask, StepSink] | None = None
        self._line = ""
        self._lock = threading.RLock()

    def begin(self, task: StepTask, sink: StepSink) -> None:
        self._target = (task, sink)

    def end(self) -> None:
        with self._lock:
            if self._line:
                self._log(self._line)
            self._line = ""
            self._target = None

    def let_go(self) -> None:
        """Write to the real stream from now on; takes no lock, because a forked child may find it locked."""
        self._target = None

    def write(self, text: str) -> int:
        if self._target is None:
            return self._stream.write(text)
        with self._lock:
            *lines, self._line = (self._line + text).split("\n")
            if len(self._line) > _LONGEST_LINE_CHARS:
                lines.append(self._line)
                self._line = ""
            for line in lines:
                self._log(line)
        return len(text)

    def _log(self, line: str) -> None:
        if self._target is not None:
            task, sink = self._target
            sink(StepLog(task.step, task.attempt, time.time(), self._level, line))

    def flush(self) -> None:
        self._stream.flush()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def buffer(self) -> object:
        return self._stream.buffer

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding


def _encode_outcome(task: StepTask, outcome: StepOutcome) -> bytes:
    """The outcome as it is sent, or a failed one in its place when it cannot be."""
    try:
        return encode(outcome)
    except Exception as cause:  # noqa: BLE001 - pickle lets through what the objects' own code raises
        error = InternalError(
            "outcome-not-picklable",
            f"the outcome of {label(task)} cannot be sent to the coordinator.",
            why=f"{type(cause).__name__}: {cause}",
            do="report this; checks must give plain values as their samples.",
        )
        return encode(ended(task, "failed", None, step_error(error)))


def _open_runner(hello: Hello) -> StepRunner:
    paths = [*hello.job.search_paths, *hello.import_paths]
    sys.path[:] = list(dict.fromkeys(paths))
    module, _, name = hello.opener.partition(":")
    opener: Callable[[object], StepRunner] = getattr(import_module(module), name)
    return opener(hello.job)


def _start_error(cause: BaseException) -> StepError:
    if isinstance(cause, AssetlineError):
        return step_error(cause, retryable=False)
    error = WorkerLostError(
        "worker-start-failed",
        "a worker process could not open the project.",
        why=f"{type(cause).__name__}: {cause}",
        do="make sure that the project can be imported: `assetline doctor` tries it.",
    )
    return step_error(error, frames="".join(traceback.format_exception(cause)), retryable=False)


def _die_with(parent: int) -> None:
    """Have the kernel end this process when its coordinator ends, where it can."""
    if sys.platform == "linux":
        with contextlib.suppress(ImportError, OSError, AttributeError):
            import ctypes

            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def main(arguments: Sequence[str]) -> int:
    """Serve the coordinator at the given file descriptors; the exit code is 0 when it let this worker go."""
    socket_fd, permits, parent = (int(argument) for argument in arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with(parent)
    os.set_inheritable(socket_fd, False)
    os.set_inheritable(permits, False)
    connection = _Connection(socket.socket(fileno=socket_fd))
    try:
        hello = connection.receive()
        if not isinstance(hello, Hello):
            return 1
        try:
            runner = _open_runner(hello)
        except BaseException as cause:  # noqa: BLE001 - whatever an import raises is the reason to tell
            connection.send(encode(WorkerFailed(_start_error(cause))))
            return 1
        connection.send(encode(WorkerReady()))
        try:
            _Worker(connection, permits, runner).serve()
        finally:
            if isinstance(runner, SupportsClose):
                runner.close()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return 1
    except StepInterrupted:
        return _EXIT_TERMINATED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
