"""What runs inside a Dask worker: the runs that it takes part in, and their steps.

join -> [run_step -> _claim -> _announce -> run -> outcome]* -> leave, take_back at any time

A Dask worker outlives the runs and may serve several at once, each in a `Site` of its own. Reports go to the coordinator
as Dask events of one topic. A step that has been announced is known to the scheduler before its code begins: so of a
worker that dies it is known which steps it had begun, and the others are no worse for it.
"""

import asyncio
import ctypes
import os
import pickle
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from assets_core.engine.executor import (
    Report,
    ReportSink,
    StepError,
    StepOutcome,
    StepRunner,
    StepStarted,
    StepTask,
    WorkerJob,
)
from assets_core.errors import AssetlineError, ConfigError, InternalError, WorkerLostError
from assets_core.executors.channel import SupportsClose
from assets_core.executors.reporting import StepInterrupted, StepSink, ended, label, run_guarded, step_error

if TYPE_CHECKING:
    from assets_core.engine.step import ProjectStepRunner

_LOGS_EVERY_S = 0.05
_LOOK_AGAIN_S = 1.0
_FLUSHED_WITHIN_S = 0.005
#: A site whose coordinator never said goodbye is closed when another run joins after this time.
_FORGOTTEN_AFTER_S = 3600.0

_sites: dict[str, "Site"] = {}


# ---------------------------------------------------------------------- what the coordinator calls


def join(token: str, topic: str, opener: str, job: bytes, *, dask_worker: Any) -> dict[str, Any]:
    """Take part in a run; what the worker says of itself, in plain values that every version can read.

    Args:
        token: Names this run in this worker process; no other process ever has it.
        topic: Of the events that carry the reports.
        opener: `module:function` that makes the `StepRunner` from the job.
        job: The pickled `WorkerJob`.
        dask_worker: Given by Dask: its `Worker`, which is typed in part only.
    """
    for site in [site for site in _sites.values() if site.is_forgotten()]:
        site.leave(interrupt=False)
    _sites[token] = Site(token, topic, opener, job, dask_worker)
    return own_versions() | {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "threads": dask_worker.state.nthreads,
        "resources": dict(dask_worker.state.total_resources),
    }


def run_step(number: int, payload: bytes, *, token: str, floor: int) -> None:
    """The Dask task: run one step; its reports go out as events, nothing is returned.

    Args:
        number: Of the step as it was sent to this worker; a step that is sent again has another.
        payload: The pickled `StepTask`.
        token: As in `join`; a process that does not know it has taken the address of one that died, and does nothing.
        floor: The coordinator asks no more about numbers below.
    """
    site = _sites.get(token)
    if site is not None:
        site.run(number, floor, payload)


def take_back(token: str, numbers: Sequence[int], *, interrupt: bool) -> list[int]:
    """Keep steps from beginning; the numbers of those that have not begun and never will.

    Args:
        token: As in `join`.
        numbers: The steps.
        interrupt: Interrupt those that run.
    """
    site = _sites.get(token)
    return [] if site is None else site.take_back(numbers, interrupt=interrupt)


async def leave(token: str, *, interrupt: bool) -> None:
    """The run is over here: close its runner, once its last step has ended."""
    site = _sites.get(token)
    if site is not None:
        await asyncio.to_thread(site.leave, interrupt=interrupt)


def own_versions() -> dict[str, Any]:
    """The versions that must be the same in coordinator and worker."""
    try:
        own = version("assetline")
    except PackageNotFoundError:
        own = "unknown"
    return {"python": ".".join(map(str, sys.version_info[:2])), "assetline": own}


# ---------------------------------------------------------------------- the runner


def open_checked_runner(job: WorkerJob) -> "CheckedRunner":
    """The project's runner, for processes that may have imported the project long ago.

    Raises:
        DefinitionError: The project cannot be imported here.
        ConfigError: The environment cannot be opened here.
    """
    from assets_core.engine.step import open_step_runner

    return CheckedRunner(open_step_runner(job))


class CheckedRunner:
    """Runs only steps whose code is here what the coordinator planned with."""

    def __init__(self, runner: "ProjectStepRunner") -> None:
        self._runner = runner
        self._codes: dict[str, str] = {}

    def run(self, task: StepTask, report: ReportSink) -> StepOutcome:
        """Run one step, or fail it when this process has other code."""
        code = self._codes.get(task.asset)
        if code is None:
            from assets_core.planning.code_versions import asset_code_version

            asset = self._runner.project.assets.get(task.asset)
            code = "" if asset is None else asset_code_version(asset).hash
            self._codes[task.asset] = code
        if code == task.code_version:
            return self._runner.run(task, report)
        error = ConfigError(
            "worker-code-differs",
            f"{label(task)} was not computed: its Dask worker has other code of {task.asset}.",
            why=f"the run was planned with code version {task.code_version}, {socket.gethostname()} process "
            f"{os.getpid()} has {code or 'no such asset'}; a worker imports the project once, and keeps it.",
            do="bring the same code to all workers and restart them, then run the command again.",
        )
        return ended(task, "failed", None, step_error(error, retryable=False))

    def close(self) -> None:
        """Close the resources that steps opened."""
        self._runner.close()


# ---------------------------------------------------------------------- a run in this process


class _Try:
    """A step in its thread. To interrupt it and to end it exclude each other."""

    def __init__(self, sink: StepSink) -> None:
        self.sink = sink
        self._thread: int | None = None
        self._lock = threading.Lock()

    def begin(self) -> bool:
        with self._lock:
            if not self.sink.abandoned:
                self._thread = threading.get_ident()
            return self._thread is not None

    def interrupt(self) -> None:
        """Raise `StepInterrupted` in the step's code as soon as it is back in Python."""
        with self._lock:
            if not self.sink.abandoned:
                self.sink.abandoned = True
                if self._thread is not None:
                    _raise_in(self._thread, ctypes.py_object(StepInterrupted))

    def end(self) -> None:
        """No interrupt comes after this, not even one that is on its way."""
        with self._lock:
            self.sink.abandoned = True
            if self._thread is not None:
                _raise_in(self._thread, None)
            self._thread = None


def _raise_in(thread: int, exception: "ctypes.py_object[type[BaseException]] | None") -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), exception)


class Site:
    """One run in this worker process; its steps run in Dask's threads."""

    def __init__(self, token: str, topic: str, opener: str, job: bytes, worker: Any) -> None:
        self._token = token
        self._topic = topic
        self._opener = opener
        self._job = job
        self._worker = worker
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._runner: StepRunner | StepError | None = None
        self._running: dict[int, _Try] = {}
        self._settled: set[int] = set()
        self._outbox: list[tuple[int, bytes]] = []
        self._is_flush_due = False
        self._is_leaving = False
        self._used_at = time.monotonic()

    def is_forgotten(self) -> bool:
        """Whether nothing has happened here for a long time."""
        return not self._running and time.monotonic() - self._used_at > _FORGOTTEN_AFTER_S

    # ------------------------------------------------------------------ steps

    def run(self, number: int, floor: int, payload: bytes) -> None:
        """Run one step to its end, unless it was taken back."""
        task: StepTask = pickle.loads(payload)
        runner = self._open()
        attempt = self._claim(number, floor)
        if attempt is None or runner is None:
            return
        if isinstance(runner, StepError):
            outcome = ended(task, "failed", None, runner)
        elif self._announce(number, task):
            outcome = self._run(attempt, runner, task)
        else:
            outcome = ended(task, "cancelled", None)  # nobody hears it: the scheduler has gone
        self._say(number, _encode_outcome(task, outcome), is_urgent=True)
        with self._lock:
            del self._running[number]
            self._settled.add(number)
            self._used_at = time.monotonic()
            is_last = self._is_leaving and not self._running
        if is_last:
            self._close()

    def _run(self, attempt: _Try, runner: StepRunner, task: StepTask) -> StepOutcome:
        began = time.monotonic()
        outcome = None
        try:
            if attempt.begin():
                outcome = run_guarded(runner, task, attempt.sink)
            attempt.end()
        except KeyboardInterrupt:
            attempt.end()
        return outcome or ended(task, "cancelled", began)

    def _claim(self, number: int, floor: int) -> _Try | None:
        with self._lock:
            self._settled = {settled for settled in self._settled if settled >= floor}
            if number in self._settled or self._is_leaving:
                return None
            attempt = self._running[number] = _Try(StepSink(self._deliver_as(number)))
            return attempt

    def take_back(self, numbers: Sequence[int], *, interrupt: bool) -> list[int]:
        """As the function of this name."""
        with self._lock:
            running = [self._running[number] for number in numbers if number in self._running]
            known = self._running.keys() | self._settled
            taken = [number for number in numbers if number not in known]
            self._settled.update(taken)
        if interrupt:
            for attempt in running:
                attempt.interrupt()
        return taken

    def leave(self, *, interrupt: bool) -> None:
        """As the function of this name."""
        _sites.pop(self._token, None)
        with self._lock:
            self._is_leaving = True
            running = list(self._running.values())
        if interrupt:
            for attempt in running:
                attempt.interrupt()
        if not running:
            self._close()

    def _open(self) -> StepRunner | StepError | None:
        """The runner, opened by the first step; or why it cannot be; None when the run is over."""
        with self._opening:
            if self._runner is None and not self._is_leaving:
                try:
                    module, _, name = self._opener.partition(":")
                    opener: Callable[[WorkerJob], StepRunner] = getattr(import_module(module), name)
                    self._runner = opener(pickle.loads(self._job))
                except BaseException as cause:  # noqa: BLE001 - whatever an import raises is the reason to tell
                    self._runner = _start_error(cause)
            return self._runner

    def _close(self) -> None:
        with self._opening:
            runner: object = self._runner
            if isinstance(runner, SupportsClose):
                runner.close()
            self._runner = None

    # ------------------------------------------------------------------ reports

    def _announce(self, number: int, task: StepTask) -> bool:
        """Tell that a step begins; True when that is on its way and outlives this process."""
        worker = self._worker
        self._put(number, StepStarted(task.step, task.attempt, time.time(), f"dask {worker.name}"))
        is_sent = threading.Event()
        worker.loop.add_callback(self._flush_through, is_sent)
        while not is_sent.wait(_LOOK_AGAIN_S):
            stream = worker.batched_stream
            if stream is None or stream.closed():
                return False
        return True

    def _deliver_as(self, number: int) -> Callable[[Report], None]:
        def deliver(report: Report) -> None:
            self._say(number, pickle.dumps(report), is_urgent=False)

        return deliver

    def _put(self, number: int, report: Report) -> None:
        with self._lock:
            self._outbox.append((number, pickle.dumps(report)))

    def _say(self, number: int, report: bytes, *, is_urgent: bool) -> None:
        with self._lock:
            self._outbox.append((number, report))
            if not is_urgent:
                if self._is_flush_due:
                    return
                self._is_flush_due = True
        self._worker.loop.add_callback(self._flush if is_urgent else self._flush_soon)

    async def _flush_soon(self) -> None:
        await asyncio.sleep(_LOGS_EVERY_S)
        self._flush()

    def _flush(self) -> None:
        """Hand all reports to Dask; runs in the worker's event loop, as all that follows."""
        with self._lock:
            reports, self._outbox = self._outbox, []
            self._is_flush_due = False
        if reports:
            self._worker.log_event(self._topic, [self._token, reports])

    async def _flush_through(self, is_sent: threading.Event) -> None:
        """Flush, and say so once the socket has it: what a process has written, its death does not take back."""
        self._flush()
        stream = self._worker.batched_stream
        if stream is None:
            return
        buffer = stream.buffer  # replaced by a new list when it is written
        while buffer and stream.buffer is buffer:
            if stream.closed():
                return
            wait_s = (stream.next_deadline or 0.0) - time.time()
            await asyncio.sleep(min(max(0.0, wait_s), _FLUSHED_WITHIN_S))
        is_sent.set()


def _encode_outcome(task: StepTask, outcome: StepOutcome) -> bytes:
    """The outcome as it is sent, or a failed one in its place when it cannot be."""
    try:
        return pickle.dumps(outcome)
    except Exception as cause:  # noqa: BLE001 - pickle lets through what the objects' own code raises
        error = InternalError(
            "outcome-not-picklable",
            f"the outcome of {label(task)} cannot be sent to the coordinator.",
            why=f"{type(cause).__name__}: {cause}",
            do="report this; checks must give plain values as their samples.",
        )
        return pickle.dumps(ended(task, "failed", None, step_error(error)))


def _start_error(cause: BaseException) -> StepError:
    if isinstance(cause, AssetlineError):
        return step_error(cause, retryable=False)
    error = WorkerLostError(
        "worker-start-failed",
        f"the Dask worker on {socket.gethostname()}, process {os.getpid()}, could not open the project.",
        why=f"{type(cause).__name__}: {cause}",
        do="make sure that the project and all that it imports are installed there.",
    )
    return step_error(error, frames="".join(traceback.format_exception(cause)), retryable=False)
