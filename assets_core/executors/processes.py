"""Steps in warm worker processes: they use all cores, and one that dies takes only its step along.

submit -> backlog -> _dispatch -> worker -> poll: _read -> _take -> reports
                                    `- its socket ends: _bury -> `lost`, a new worker, its waiting tasks go elsewhere

Workers find the project by name and print nothing on the coordinator's stdout. The first error of a kind that a new
worker cannot help (the project does not import) is not tried again: all waiting steps fail with it.
"""

import contextlib
import selectors
import signal
import sys
import time
from collections import deque
from itertools import count

from assets_core.engine.executor import Report, StepError, StepOutcome, StepStarted, StepTask, WorkerJob
from assets_core.errors import InternalError, PluginError, WorkerLostError
from assets_core.executors.channel import (
    Hello,
    NumberedTask,
    WorkerFailed,
    WorkerReady,
    encode,
)
from assets_core.executors.reporting import ended, label, step_error, timed_out
from assets_core.executors.worker_handle import EXIT_WITHIN_S, Work, Worker, lost, start_worker

_READ_BYTES = 1 << 18
# A task that fits into the socket's buffer can be sent ahead without the worker reading.
_SENT_AHEAD_BYTES = 1 << 15
_TAKEN_BACK_AT_MOST = 8
_MOVES_AT_MOST = 3
_STARTS_LOST_AT_MOST = 3
_LONGEST_WAIT_S = 3600.0


class ProcessesExecutor:
    """Runs up to `workers` steps at once, each in a process of its own.

    The thread that uses the executor must live as long as it: on Linux the workers end with that thread.

    Args:
        job: Where workers find project and environment.
        workers: Number of worker processes.
        opener: `module:function` that makes a worker's `StepRunner` from the job.
        grace_s: How long a step that is stopped may take to clean up before its worker is killed.
    """

    def __init__(
        self,
        job: WorkerJob,
        workers: int,
        *,
        opener: str = "assets_core.engine.step:open_step_runner",
        grace_s: float = 2.0,
    ) -> None:
        self._hello = encode(Hello(opener, job, tuple(sys.path)))
        self._n_workers = workers
        self._grace_s = grace_s
        self._numbers = count(1)
        self._selector = selectors.DefaultSelector()
        self._workers: list[Worker] = []
        self._backlog: deque[Work] = deque()
        self._reports: list[Report] = []
        self._start_error: StepError | None = None
        self._starts_lost = 0
        self._is_closing = False
        try:
            for _ in range(workers):
                self._start_worker()
        except PluginError:
            self.close(kill=True)
            raise

    @property
    def capacity(self) -> int:
        """Two steps for each worker: the one it runs, and one that waits so that the worker does not."""
        return 2 * self._n_workers

    def submit(self, task: StepTask) -> None:
        """Give the step to a free worker, or keep it until there is one."""
        self._backlog.append(Work(next(self._numbers), task))
        self._dispatch()

    def poll(self, timeout_s: float) -> list[Report]:
        """Reports that have arrived, waiting up to `timeout_s` for the first."""
        end = time.monotonic() + min(timeout_s, _LONGEST_WAIT_S)
        while True:
            self._share_out()
            now = time.monotonic()
            wait_s = 0.0 if self._reports else max(0.0, min([end, *self._deadlines()]) - now)
            self._receive(wait_s)
            self._stop_overdue()
            self._dispatch()
            if self._reports or time.monotonic() >= end:
                reports, self._reports = self._reports, []
                return reports

    def cancel(self, step: int, attempt: int) -> None:
        """Take the step back, or stop the worker that runs it."""
        for worker in self._workers:
            for work in [work for work in worker.works if work.is_of(step, attempt)]:
                self._take_back_all(worker)
                work.is_cancelled = True
                if work is worker.running:
                    self._stop(worker, ended(work.task, "cancelled", work.began))
        for work in [work for work in self._backlog if work.is_of(step, attempt)]:
            self._backlog.remove(work)
            self._reports.append(ended(work.task, "cancelled", None))

    def close(self, *, kill: bool = False) -> None:
        """Let the workers end after their current step; with `kill` kill them."""
        self._is_closing = True
        self._backlog.clear()
        for worker in self._workers:
            self._take_back_all(worker)
            self._backlog.clear()
            if kill or not worker.is_ready:
                worker.signal(signal.SIGKILL)
            worker.end_permits()
        while self._workers:
            for worker in self._workers:
                if not worker.works and worker.kill_at is None:
                    worker.kill_at = time.monotonic() + self._grace_s
            wait_s = min([_LONGEST_WAIT_S, *(at - time.monotonic() for at in self._deadlines())])
            self._receive(max(0.0, wait_s))
            self._stop_overdue()
        self._selector.close()

    # ------------------------------------------------------------------ tasks out

    def _dispatch(self) -> None:
        """Give waiting tasks to idle workers, then one ahead to each busy one."""
        backlog = self._backlog
        if not backlog:
            return
        if not self._workers and self._start_error is not None:
            for work in backlog:
                self._reports.append(ended(work.task, "failed", None, self._start_error))
            backlog.clear()
            return
        for n_given in (0, 1):
            for worker in self._workers:
                if backlog and worker.is_ready and not worker.is_ending and len(worker.works) == n_given:
                    self._give(worker, backlog[0])

    def _give(self, worker: Worker, work: Work) -> None:
        data = encode(NumberedTask(work.number, work.task))
        is_ahead = bool(worker.works)
        if is_ahead and (len(data) > _SENT_AHEAD_BYTES or worker.taken_back >= _TAKEN_BACK_AT_MOST):
            return
        self._backlog.popleft()
        worker.works.append(work)
        self._send(worker, data)
        worker.permit(work.number)

    def _send(self, worker: Worker, data: bytes) -> None:
        """Send without ever blocking; what does not fit goes out when the worker has read."""
        if not worker.outgoing:
            with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                data = data[worker.sock.send(data) :]
            if not data:
                return
            self._selector.modify(worker.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, worker)
        worker.outgoing += data

    def _flush(self, worker: Worker) -> None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            del worker.outgoing[: worker.sock.send(worker.outgoing)]
        if not worker.outgoing:
            self._selector.modify(worker.sock, selectors.EVENT_READ, worker)

    def _share_out(self) -> None:
        """When a worker has nothing to do, let it have what was sent ahead to another that is still busy."""
        if self._backlog or all(worker.works for worker in self._workers):
            return
        for idle in self._workers:
            if idle.works or not idle.is_ready or idle.is_ending:
                continue
            for busy in self._workers:
                if len(busy.works) > 1 and (work := self._take_back(busy)) is not None:
                    self._backlog.append(work)
                    self._dispatch()
                    break

    def _take_back(self, worker: Worker) -> Work | None:
        """One task that the worker has been given and has not begun."""
        number = worker.take_permit_back()
        if number is None:
            return None
        (work,) = [work for work in worker.works if work.number == number]
        worker.works.remove(work)
        worker.taken_back += 1
        work.number = next(self._numbers)
        return work

    def _take_back_all(self, worker: Worker) -> None:
        taken = []
        while (work := self._take_back(worker)) is not None:
            taken.append(work)
        self._backlog.extendleft(reversed(taken))

    # ------------------------------------------------------------------ reports in

    def _receive(self, wait_s: float) -> None:
        for key, events in self._selector.select(wait_s):
            worker: Worker = key.data
            if events & selectors.EVENT_WRITE:
                self._flush(worker)
            if events & selectors.EVENT_READ:
                self._read(worker)

    def _read(self, worker: Worker) -> None:
        try:
            data = worker.sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            self._bury(worker)
            return
        try:
            for message in worker.reader.feed(data):
                self._take(worker, message)
        except Exception as cause:  # noqa: BLE001 - unpickling runs the code of whatever was sent
            self._distrust(worker, cause)

    def _take(self, worker: Worker, message: Report | WorkerReady | WorkerFailed) -> None:
        match message:
            case WorkerReady():
                worker.is_ready = True
                self._starts_lost = 0
            case WorkerFailed(error):
                self._start_error = error
            case StepStarted():
                work = worker.works[0]
                work.began = time.monotonic()
                worker.taken_back = 0
                self._reports.append(message)
                if work.is_cancelled:
                    self._stop(worker, ended(work.task, "cancelled", work.began))
            case StepOutcome():
                if worker.works and worker.works[0].is_of(message.step, message.attempt):
                    del worker.works[0]
                    self._reports.append(message)
            case _:
                self._reports.append(message)

    def _distrust(self, worker: Worker, cause: Exception) -> None:
        """A worker that sends what cannot be read is of no use any more."""
        work = worker.running
        if work is not None:
            error = InternalError(
                "report-unreadable",
                f"the worker that runs {label(work.task)} sent a report that cannot be read.",
                why=f"{type(cause).__name__}: {cause}",
                do="report this; what a check gives as its sample must be plain values.",
            )
            worker.verdict = ended(work.task, "failed", work.began, step_error(error))
        worker.is_ending = True
        worker.signal(signal.SIGKILL)

    # ------------------------------------------------------------------ stopping

    def _deadlines(self) -> list[float]:
        found = []
        for worker in self._workers:
            if worker.kill_at is not None:
                found.append(worker.kill_at)
            elif (work := worker.running) is not None:
                found.append(work.deadline)
        return found

    def _stop_overdue(self) -> None:
        now = time.monotonic()
        for worker in self._workers:
            work = worker.running
            if worker.kill_at is not None:
                if worker.kill_at <= now:
                    worker.signal(signal.SIGKILL)
                    worker.kill_at = now + EXIT_WITHIN_S
            elif work is not None and work.deadline <= now:
                self._stop(worker, timed_out(work.task, work.began or now))

    def _stop(self, worker: Worker, verdict: StepOutcome) -> None:
        """End a worker for the sake of its running step; an outcome that is on its way counts more than the verdict."""
        if worker.is_ending:
            return
        self._take_back_all(worker)
        if len(worker.works) > 1:
            # It has claimed its next task already, so it is done with this one: the outcome is on its way.
            return
        worker.is_ending = True
        worker.verdict = verdict
        worker.kill_at = time.monotonic() + self._grace_s
        worker.signal(signal.SIGTERM)

    # ------------------------------------------------------------------ workers

    def _start_worker(self) -> None:
        worker = start_worker()
        self._workers.append(worker)
        self._selector.register(worker.sock, selectors.EVENT_READ, worker)
        self._send(worker, self._hello)

    def _bury(self, worker: Worker) -> None:
        """A worker has gone: settle its step, give its waiting tasks to others, start another in its place."""
        self._workers.remove(worker)
        self._selector.unregister(worker.sock)
        death = worker.release()
        for work in reversed(worker.works):
            if work.is_cancelled and work.began is None:
                self._reports.append(ended(work.task, "cancelled", None))
            elif work.began is None and work.moves < _MOVES_AT_MOST:
                work.moves += 1
                work.number = next(self._numbers)
                self._backlog.appendleft(work)
            else:
                verdict = worker.verdict if work is worker.running else None
                self._reports.append(verdict or lost(work, worker.process.pid, death))
        if not self._is_closing:
            self._replace(worker, death)

    def _replace(self, worker: Worker, death: str) -> None:
        if not worker.is_ready:
            self._starts_lost += 1
            if self._start_error is None and self._starts_lost >= _STARTS_LOST_AT_MOST:
                error = WorkerLostError(
                    "worker-start-failed",
                    f"{self._starts_lost} worker processes in a row died before they could begin.",
                    why=f"the last one, process {worker.process.pid}, {death}.",
                    do="look at what they wrote on stderr; `assetline doctor` tries to start one.",
                )
                self._start_error = step_error(error, retryable=False)
        if worker.is_ready or self._start_error is None:
            try:
                self._start_worker()
            except PluginError as error:
                self._start_error = step_error(error, retryable=False)
