"""Steps in threads of this process: for steps that wait for databases and networks.

A Python thread cannot be killed. A step that runs out of time or is cancelled is abandoned: its outcome is reported at
once, a new thread takes the place of its thread, which ends when the step's code returns. The abandoned step sees
`report.abandoned` and does not publish; should it be past that point, its version number is fenced like any other's.
"""

import threading
import time
from collections import deque
from queue import Empty, SimpleQueue
from typing import Literal

from assets_core.engine.executor import Report, StepOutcome, StepRunner, StepStarted, StepTask
from assets_core.executors.reporting import StepSink, ended, run_guarded, timed_out

_LONGEST_WAIT_S = 3600.0
_ABANDONED = "its thread goes on until the step's code returns; it will not publish."

Phase = Literal["queued", "running", "ended", "abandoned"]


class _Work:
    """One submitted try; thread and coordinator race for its next phase, and one of them wins."""

    __slots__ = ("_lock", "began", "deadline", "phase", "sink", "task", "thread")

    def __init__(self, task: StepTask, outbox: "SimpleQueue[tuple[_Work, Report]]") -> None:
        self.task = task
        self.sink = StepSink(lambda report: outbox.put((self, report)))
        self.phase: Phase = "queued"
        self.began = 0.0
        self.deadline: float | None = None
        self.thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def advance(self, before: Phase, after: Phase) -> bool:
        with self._lock:
            if self.phase != before:
                return False
            self.phase = after
            return True


class ThreadsExecutor:
    """Runs up to `workers` steps at once, each in a thread of this process."""

    def __init__(self, runner: StepRunner, workers: int) -> None:
        self._runner = runner
        self._workers = workers
        self._inbox: SimpleQueue[_Work | None] = SimpleQueue()
        self._outbox: SimpleQueue[tuple[_Work, Report]] = SimpleQueue()
        self._live: dict[tuple[int, int], _Work] = {}
        self._timed: set[_Work] = set()
        self._decided: deque[StepOutcome] = deque()
        self._threads: set[threading.Thread] = set()
        self._n_started = 0
        for _ in range(workers):
            self._start_thread()

    @property
    def capacity(self) -> int:
        """One step for each thread."""
        return self._workers

    def submit(self, task: StepTask) -> None:
        """Give the step to the next free thread."""
        work = _Work(task, self._outbox)
        self._live[task.step, task.attempt] = work
        self._inbox.put(work)

    def poll(self, timeout_s: float) -> list[Report]:
        """Reports that have arrived, waiting up to `timeout_s` for the first."""
        end = time.monotonic() + min(timeout_s, _LONGEST_WAIT_S)
        reports: list[Report] = []
        while True:
            self._stop_overdue()
            while self._decided:
                reports.append(self._decided.popleft())
            now = time.monotonic()
            wait_s = 0.0 if reports else max(0.0, min([end, *self._deadlines()]) - now)
            self._collect(wait_s, reports)
            if reports or now >= end:
                return reports

    def cancel(self, step: int, attempt: int) -> None:
        """Take the step back, or abandon it when it runs already."""
        work = self._live.get((step, attempt))
        if work is None:
            return
        if work.advance("queued", "abandoned"):
            self._decide(work, ended(work.task, "cancelled", None))
        else:
            self._abandon(work, ended(work.task, "cancelled", work.began))

    def close(self, *, kill: bool = False) -> None:
        """Let the threads end after their current step; with `kill` abandon those steps and do not wait."""
        for work in self._live.values():
            if work.advance("queued", "abandoned") or kill:
                work.sink.abandoned = True
        for _ in self._threads:
            self._inbox.put(None)
        if not kill:
            for thread in tuple(self._threads):
                thread.join()
        self._threads.clear()
        self._live.clear()
        self._timed.clear()

    def _start_thread(self) -> None:
        self._n_started += 1
        # A daemon: an abandoned step must not keep the interpreter from exiting.
        thread = threading.Thread(target=self._serve, name=f"thread-{self._n_started}", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _serve(self) -> None:
        """What a thread does: run steps until told to end, or until its step was abandoned."""
        thread = threading.current_thread()
        while (work := self._inbox.get()) is not None:
            task = work.task
            work.began, work.thread = time.monotonic(), thread
            if not work.advance("queued", "running"):
                continue
            work.sink(StepStarted(task.step, task.attempt, time.time(), thread.name))
            try:
                outcome = run_guarded(self._runner, task, work.sink)
            except KeyboardInterrupt:
                outcome = ended(task, "cancelled", work.began)
            if not work.advance("running", "ended"):
                return
            self._outbox.put((work, outcome))

    def _collect(self, wait_s: float, reports: list[Report]) -> None:
        try:
            item = self._outbox.get(timeout=wait_s) if wait_s > 0 else self._outbox.get_nowait()
            while True:
                self._take(*item, reports)
                item = self._outbox.get_nowait()
        except Empty:
            return

    def _take(self, work: _Work, report: Report, reports: list[Report]) -> None:
        task = work.task
        if self._live.get((task.step, task.attempt)) is not work:
            return
        if isinstance(report, StepOutcome):
            self._forget(work)
            work.sink.abandoned = True
        elif isinstance(report, StepStarted) and task.timeout_s is not None:
            work.deadline = work.began + task.timeout_s
            self._timed.add(work)
        reports.append(report)

    def _deadlines(self) -> list[float]:
        return [work.deadline for work in self._timed if work.deadline is not None]

    def _stop_overdue(self) -> None:
        if not self._timed:
            return
        now = time.monotonic()
        for work in [work for work in self._timed if work.deadline is not None and work.deadline <= now]:
            self._timed.discard(work)
            self._abandon(work, timed_out(work.task, work.began, left=_ABANDONED))

    def _abandon(self, work: _Work, outcome: StepOutcome) -> None:
        """Report for a running step in its stead; if it has just ended, its own outcome is on the way."""
        if work.advance("running", "abandoned"):
            self._decide(work, outcome)
            if work.thread is not None:
                self._threads.discard(work.thread)
            self._start_thread()

    def _decide(self, work: _Work, outcome: StepOutcome) -> None:
        work.sink.abandoned = True
        self._forget(work)
        self._decided.append(outcome)

    def _forget(self, work: _Work) -> None:
        del self._live[work.task.step, work.task.attempt]
        self._timed.discard(work)
