"""What all executors need to run one step and to say how it ended."""

import traceback
from collections.abc import Callable
from time import monotonic

from assets_core.engine.executor import (
    OutcomeState,
    Report,
    StepError,
    StepOutcome,
    StepRunner,
    StepTask,
)
from assets_core.errors import AssetlineError, InternalError, UserCodeError, WorkerLostError
from io_managers.keys import format_asset_partition


class StepInterrupted(KeyboardInterrupt):
    """Raised inside a running step to stop it.

    A `KeyboardInterrupt`, because that is the one exception that a `StepRunner` lets through.
    """


class StepSink:
    """The `ReportSink` of one try.

    Attributes:
        abandoned: Nobody waits for this try any more: it was cancelled, ran out of time, or has ended. Its reports go
            nowhere, and it must not publish.
    """

    __slots__ = ("_deliver", "abandoned")

    def __init__(self, deliver: Callable[[Report], None]) -> None:
        self._deliver = deliver
        self.abandoned = False

    def __call__(self, report: Report) -> None:
        """Deliver one report, unless the try is abandoned."""
        if not self.abandoned:
            self._deliver(report)


def run_guarded(runner: StepRunner, task: StepTask, sink: StepSink) -> StepOutcome:
    """Run one try; whatever the runner raises becomes a failed outcome.

    Raises:
        KeyboardInterrupt: Somebody interrupts; `StepInterrupted` when the executor does.
    """
    began = monotonic()
    try:
        return runner.run(task, sink)
    except SystemExit as stop:
        error: AssetlineError = UserCodeError(
            "step-exited",
            f"{label(task)} asked the interpreter to exit.",
            why=f"its code called sys.exit({stop.code!r}).",
            do="return from the asset's function, or raise an exception that says what is wrong.",
        )
        return ended(task, "failed", began, step_error(error))
    except KeyboardInterrupt:
        raise
    except BaseException as cause:  # noqa: BLE001 - the border: a bug in a runner must not end the whole run
        error = InternalError(
            "runner-raised",
            f"{label(task)} could not be run.",
            why=f"the step's runner raised {type(cause).__name__}: {cause}",
            do="report this with the traceback.",
        )
        frames = "".join(traceback.format_exception(cause))
        return ended(task, "failed", began, step_error(error, frames=frames))


def ended(
    task: StepTask, state: OutcomeState, began: float | None, error: StepError | None = None
) -> StepOutcome:
    """An outcome that the executor itself decides; `began` by the monotonic clock, None if it never began."""
    duration_s = 0.0 if began is None else monotonic() - began
    return StepOutcome(task.step, task.attempt, state, duration_s=duration_s, error=error)


def timed_out(task: StepTask, began: float, *, left: str = "") -> StepOutcome:
    """The outcome of a step that took longer than it may."""
    error = WorkerLostError(
        "step-timeout",
        f"{label(task)} took longer than its timeout of {task.timeout_s:g} s and was stopped.",
        do="make it faster, or raise the asset's timeout.",
        left=left,
    )
    return ended(task, "failed", began, step_error(error))


def step_error(error: AssetlineError, *, frames: str = "", retryable: bool = True) -> StepError:
    """The error as it travels in an outcome."""
    if isinstance(error, InternalError):
        retryable = False
    return StepError(type(error).__name__, error.code, str(error), frames, retryable)


def label(task: StepTask) -> str:
    """The step's asset partition, for people."""
    return format_asset_partition(task.asset, task.partition)
