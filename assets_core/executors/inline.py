"""One step after the other in the calling thread: the least overhead, and a debugger works."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from assets_core.engine.executor import Report, StepOutcome, StepRunner, StepStarted, StepTask
from assets_core.errors import InternalError
from assets_core.executors.reporting import StepInterrupted, StepSink, ended, label, run_guarded, timed_out

_LONGEST_SLEEP_S = 3600.0
# Code that swallows the first interrupt gets another one each second.
_INTERRUPT_AGAIN_S = 1.0


class InlineExecutor:
    """Runs each step within `poll`.

    A timeout interrupts the step's Python code by a timer signal. That needs the main thread; in other threads, and in
    the middle of a long call into C, a step is not stopped.
    """

    capacity = 1
    #: An interrupt of the process reaches the step only by an exception within `poll`.
    runs_in_poll = True

    def __init__(self, runner: StepRunner) -> None:
        self._runner = runner
        self._task: StepTask | None = None
        self._reports: list[Report] = []

    def submit(self, task: StepTask) -> None:
        """Keep the step for the next `poll`."""
        if self._task is not None:
            raise InternalError(
                "executor-full",
                f"{label(task)} was submitted while {label(self._task)} still waits.",
                do="report this; an inline executor takes one step at a time.",
            )
        self._task = task

    def poll(self, timeout_s: float) -> list[Report]:
        """Run the submitted step to its end; without one, sleep for `timeout_s`.

        Raises:
            KeyboardInterrupt: The user interrupts the step; the next `poll` gives its outcome, `cancelled`.
        """
        task, self._task = self._task, None
        if task is not None:
            self._run(task)
        elif not self._reports:
            time.sleep(min(max(timeout_s, 0.0), _LONGEST_SLEEP_S))
        reports, self._reports = self._reports, []
        return reports

    def cancel(self, step: int, attempt: int) -> None:
        """Take the step back if it has not been run yet."""
        task = self._task
        if task is not None and (task.step, task.attempt) == (step, attempt):
            self._task = None
            self._reports.append(ended(task, "cancelled", None))

    def close(self, *, kill: bool = False) -> None:
        """Forget what was submitted; there is no worker to release."""
        self._task = None

    def _run(self, task: StepTask) -> None:
        began = time.monotonic()
        sink = StepSink(self._reports.append)
        self._reports.append(StepStarted(task.step, task.attempt, time.time(), "inline"))
        try:
            if task.timeout_s is not None and threading.current_thread() is threading.main_thread():
                outcome = self._run_within(task, sink, task.timeout_s)
            else:
                outcome = run_guarded(self._runner, task, sink)
        except BaseException:
            self._reports.append(ended(task, "cancelled", began))
            raise
        finally:
            sink.abandoned = True
        self._reports.append(outcome)

    def _run_within(self, task: StepTask, sink: StepSink, timeout_s: float) -> StepOutcome:
        began = time.monotonic()
        try:
            with _interrupt_after(timeout_s) as fired:
                outcome = run_guarded(self._runner, task, sink)
        except StepInterrupted:
            return timed_out(task, began)
        # The step may have caught the interrupt itself. What it published stays published.
        return timed_out(task, began) if fired and outcome.state == "failed" else outcome


@contextmanager
def _interrupt_after(timeout_s: float) -> Iterator[list[float]]:
    """Raise `StepInterrupted` in the block after a time; the list is filled when that happened."""
    fired: list[float] = []

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        fired.append(time.monotonic())
        raise StepInterrupted

    previous = signal.signal(signal.SIGALRM, interrupt)
    # A timer of 0 s would be none at all.
    signal.setitimer(signal.ITIMER_REAL, max(timeout_s, 1e-6), _INTERRUPT_AGAIN_S)
    try:
        yield fired
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)
