"""A worker process as the coordinator holds it: start it, permit it tasks, signal it, say how it died."""

import contextlib
import math
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field

from assets_core.engine.executor import StepOutcome, StepTask
from assets_core.errors import PluginError, WorkerLostError
from assets_core.executors.channel import PERMIT, MessageReader
from assets_core.executors.reporting import ended, label, step_error

#: How long a worker may take from the end of its socket to its exit, and from SIGKILL to its end.
EXIT_WITHIN_S = 2.0
_WORKER_MODULE = "assets_core.executors.worker_process"


@dataclass(slots=True, eq=False)
class Work:
    """One submitted try.

    Attributes:
        moves: How often a worker died before it took the try up.
        is_cancelled: To be stopped as soon as its worker says that it runs.
    """

    number: int
    task: StepTask
    began: float | None = None
    moves: int = 0
    is_cancelled: bool = False

    @property
    def deadline(self) -> float:
        """When its time is up, by the monotonic clock; infinite before it runs."""
        if self.began is None or self.task.timeout_s is None:
            return math.inf
        return self.began + self.task.timeout_s

    def is_of(self, step: int, attempt: int) -> bool:
        """Whether it is this attempt of this step."""
        return (self.task.step, self.task.attempt) == (step, attempt)


@dataclass(slots=True, eq=False)
class Worker:
    """A worker process as the coordinator sees it.

    Attributes:
        permit_in: Writing end of the permits.
        permit_out: Reading end, which the worker has too.
        outgoing: What its socket had no room for yet.
        is_ready: It has opened its runner.
        works: What it was given, at most two: the first may run, the second was sent ahead.
        taken_back: Tasks that lie in its socket and were given to others.
        is_ending: It was told to end and gets no more tasks.
        verdict: What to report for its running step once it is gone, when that is decided.
        kill_at: When it is killed for not ending by itself.
    """

    process: subprocess.Popen[bytes]
    sock: socket.socket
    permit_in: int
    permit_out: int
    reader: MessageReader = field(default_factory=MessageReader)
    outgoing: bytearray = field(default_factory=bytearray)
    is_ready: bool = False
    works: list[Work] = field(default_factory=list)
    taken_back: int = 0
    is_ending: bool = False
    verdict: StepOutcome | None = None
    kill_at: float | None = None

    @property
    def running(self) -> Work | None:
        """What it said last that it runs."""
        return self.works[0] if self.works and self.works[0].began is not None else None

    def permit(self, number: int) -> None:
        """Let it run the task of this number."""
        with contextlib.suppress(BrokenPipeError):  # it has died; its socket will tell
            os.write(self.permit_in, PERMIT.pack(number))

    def take_permit_back(self) -> int | None:
        """The number of a task that it has not begun and will not begin now, None when it has claimed all."""
        try:
            permit = os.read(self.permit_out, PERMIT.size)
        except BlockingIOError:
            return None
        if not permit:
            return None
        number: int = PERMIT.unpack(permit)[0]
        return number

    def end_permits(self) -> None:
        """Let it end when it has run what it claimed."""
        if self.permit_in >= 0:
            os.close(self.permit_in)
            self.permit_in = -1

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and to all that its step has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def release(self) -> str:
        """Close all that belongs to a worker that has gone, and say how it ended."""
        self.sock.close()
        self.end_permits()
        os.close(self.permit_out)
        death = _death_of(self.process)
        self.signal(signal.SIGKILL)  # what its step has started
        return death


def start_worker() -> Worker:
    """Start a process that waits for its `Hello`.

    Raises:
        PluginError: The system gives no more processes or files.
    """
    try:
        ours, theirs = socket.socketpair()
    except OSError as cause:
        raise _not_started(cause) from cause
    with theirs:
        try:
            permit_out, permit_in = os.pipe()
        except OSError as cause:
            ours.close()
            raise _not_started(cause) from cause
        os.set_blocking(permit_out, False)
        try:
            process = _spawn(theirs.fileno(), permit_out)
        except OSError as cause:
            ours.close()
            os.close(permit_in)
            os.close(permit_out)
            raise _not_started(cause) from cause
    ours.setblocking(False)
    return Worker(process, ours, permit_in, permit_out)


def _spawn(socket_fd: int, permits: int) -> "subprocess.Popen[bytes]":
    arguments = [str(number) for number in (socket_fd, permits, os.getpid())]
    return subprocess.Popen(
        [sys.executable, "-m", _WORKER_MODULE, *arguments],
        pass_fds=(socket_fd, permits),
        stdin=subprocess.DEVNULL,
        stdout=2,  # the coordinator's stdout belongs to its own output
        process_group=0,  # Ctrl-C reaches the coordinator alone, and a step's own children can be ended
    )


def _not_started(cause: OSError) -> PluginError:
    return PluginError(
        "worker-not-started",
        "a worker process could not be started.",
        why=str(cause),
        do="use fewer workers, or `--executor threads`.",
    )


def lost(work: Work, pid: int, death: str) -> StepOutcome:
    """The outcome of a step whose worker died."""
    task = work.task
    if "SIGKILL" in death:
        do = "look for the out-of-memory killer in `dmesg`; use fewer workers, or let the step use less memory."
    else:
        do = "look at what the step wrote on stderr; native code that crashes and os._exit end a process like this."
    error = WorkerLostError(
        "worker-killed",
        f"the worker process that ran {label(task)} {death}.",
        why=f"process {pid}, attempt {task.attempt}; the step had run for "
        f"{time.monotonic() - (work.began or time.monotonic()):.1f} s.",
        do=do,
        left="no version was published, or it was and the next attempt will find it.",
    )
    return ended(task, "lost", work.began, step_error(error))


def _death_of(process: subprocess.Popen[bytes]) -> str:
    """How a process ended: `was killed by SIGKILL`, `exited with code 3`."""
    try:
        code = process.wait(EXIT_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return "closed its connection to the coordinator and was ended"
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
