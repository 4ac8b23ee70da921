"""A project of small misdeeds: the step runner of the executors' contract tests, importable by worker processes.

A task's `asset` names what the step does, its `partition` is the argument.
"""

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

from assets_core.engine.executor import (
    CheckOutcome,
    ReportSink,
    StepLog,
    StepOutcome,
    StepTask,
    WorkerJob,
)
from assets_core.errors import DefinitionError


class Unpicklable:
    def __reduce__(self) -> tuple[object, ...]:
        raise ValueError("cannot be pickled")


class UnreadableElsewhere:
    def __reduce__(self) -> tuple[object, ...]:
        return int, ("not a number",)


class Steps:
    def run(self, task: StepTask, report: ReportSink) -> StepOutcome:
        getattr(self, task.asset)(task, report)
        samples = {"unpicklable": Unpicklable(), "unreadable": UnreadableElsewhere()}
        checks = (
            (CheckOutcome("c", "passed", "warn", "", "", ({"row": samples[task.asset]},)),)
            if task.asset in samples
            else ()
        )
        return StepOutcome(task.step, task.attempt, "succeeded", checks=checks)

    def nothing(self, task: StepTask, report: ReportSink) -> None:
        pass

    unpicklable = unreadable = nothing

    def log(self, task: StepTask, report: ReportSink) -> None:
        for number in range(int(task.partition or 0)):
            report(StepLog(task.step, task.attempt, 0.0, "INFO", str(number)))

    def print(self, task: StepTask, report: ReportSink) -> None:
        print("first\nsecond")
        print("to stderr", file=sys.stderr)
        print("no end", end="")
        os.write(1, b"to the raw stdout\n")

    def raises(self, task: StepTask, report: ReportSink) -> None:
        raise RuntimeError("a bug in the runner")

    def raises_a_base_exception(self, task: StepTask, report: ReportSink) -> None:
        raise GeneratorExit("as asyncio's CancelledError would")

    def log_and_touch(self, task: StepTask, report: ReportSink) -> None:
        for _ in range(5000):
            report(StepLog(task.step, task.attempt, 0.0, "INFO", "x" * 100))
        Path(task.partition or "").touch()

    def exits(self, task: StepTask, report: ReportSink) -> None:
        sys.exit(3)

    def interrupts(self, task: StepTask, report: ReportSink) -> None:
        raise KeyboardInterrupt

    def dies(self, task: StepTask, report: ReportSink) -> None:
        os._exit(int(task.partition or 0))

    def kills_itself(self, task: StepTask, report: ReportSink) -> None:
        os.kill(os.getpid(), getattr(signal, task.partition or ""))

    def dies_once(self, task: StepTask, report: ReportSink) -> None:
        if task.attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    def never_returns(self, task: StepTask, report: ReportSink) -> None:
        if task.partition:
            Path(task.partition).write_text(str(os.getpid()))
        while True:
            time.sleep(0.005)

    def waits_for(self, task: StepTask, report: ReportSink) -> None:
        path = Path(task.partition or "")
        while not path.exists():
            time.sleep(0.002)

    def log_and_wait(self, task: StepTask, report: ReportSink) -> None:
        report(StepLog(task.step, task.attempt, 0.0, "INFO", "waiting"))
        self.waits_for(task, report)

    def waits_until_abandoned(self, task: StepTask, report: ReportSink) -> None:
        while not report.abandoned:  # type: ignore[attr-defined]
            time.sleep(0.002)
        Path(task.partition or "").touch()

    def ignores_sigterm(self, task: StepTask, report: ReportSink) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.never_returns(task, report)

    def cleans_up(self, task: StepTask, report: ReportSink) -> None:
        try:
            while True:
                time.sleep(0.005)
        finally:
            Path(task.partition or "").touch()

    def swallows(self, task: StepTask, report: ReportSink) -> None:
        try:
            while True:
                time.sleep(0.005)
        except KeyboardInterrupt:
            raise RuntimeError("never mind") from None

    def forks(self, task: StepTask, report: ReportSink) -> None:
        """Die with a child left that holds all open files."""
        if os.fork() == 0:
            print("from the child")
            report(StepLog(task.step, task.attempt, 0.0, "INFO", "from the child"))
            Path(task.partition or "").write_text(str(os.getpid()))
            while True:
                time.sleep(0.01)
        while not (Path(task.partition or "").exists() and Path(task.partition or "").read_text()):
            time.sleep(0.002)
        os._exit(1)

    def logs_after_the_end(self, task: StepTask, report: ReportSink) -> None:
        def late() -> None:
            path = Path(task.partition or "")
            while not path.exists():
                time.sleep(0.002)
            report(StepLog(task.step, task.attempt, 0.0, "INFO", "too late"))
            Path(f"{path}.done").touch()

        threading.Thread(target=late, daemon=True).start()


def open_steps(job: WorkerJob) -> Steps:
    return Steps()


def open_badly(job: WorkerJob) -> Steps:
    raise DefinitionError("asset-unknown", "the project has a flaw.", do="mend it.")


def open_never(job: WorkerJob) -> Steps:
    raise ModuleNotFoundError("No module named 'frobnicate'")


def open_and_die(job: WorkerJob) -> Steps:
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError


def open_as_the_project_says(job: WorkerJob) -> object:
    """What a real opener does: import the project by its name, found through the search paths."""
    module = __import__(job.project)
    logging.getLogger(__name__).info("opened %s", module)
    return module.steps
