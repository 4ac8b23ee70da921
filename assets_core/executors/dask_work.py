"""What a Dask cluster was sent: the steps, and the workers that they are with."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from assets_core.engine.executor import StepOutcome, StepTask
from assets_core.errors import InternalError
from assets_core.executors.reporting import ended, label, step_error

if TYPE_CHECKING:
    from distributed import Future


@dataclass(slots=True, eq=False)
class Work:
    """One submitted try.

    Attributes:
        number: Of the try as it was sent; another one each time.
        verdict: How it ends if it is stopped; None as long as it is not to be.
        give_up_at: When the verdict counts though the worker has said nothing.
        moves: How often a worker died before it took the try up.
        doubts: How often Dask has said that the future is over, while no outcome has come.
    """

    number: int
    task: StepTask
    place: "Place | None" = None
    future: "Future[None] | None" = None
    sent_at: float = 0.0
    began: float | None = None
    verdict: StepOutcome | None = None
    give_up_at: float = math.inf
    moves: int = 0
    doubts: int = 0

    @property
    def due(self) -> float:
        """When something must be done about it, by the monotonic clock."""
        if self.verdict is not None:
            return self.give_up_at
        if self.began is None or self.task.timeout_s is None:
            return math.inf
        return self.began + self.task.timeout_s


@dataclass(slots=True, eq=False)
class Place:
    """A worker.

    Attributes:
        threads: How many steps it may run at once.
        works: What it was sent, by number.
        given_up: Steps that were given up and may still occupy a thread.
        is_asked: It was asked to give steps back and has not answered.
    """

    address: str
    token: str
    threads: int
    pid: int
    works: dict[int, Work] = field(default_factory=dict)
    given_up: set[int] = field(default_factory=set)
    is_asked: bool = False

    @property
    def n_slots(self) -> int:
        """Threads that are not occupied by what was given up."""
        return max(0, self.threads - len(self.given_up))

    def unbegun(self) -> list[Work]:
        """What it has not begun, as far as is known; last sent last."""
        return [work for work in self.works.values() if work.began is None and work.verdict is None]


def judged(work: Work, outcome: StepOutcome) -> StepOutcome:
    """What a step that was stopped reached counts, unless it is no more than that it was stopped."""
    if work.verdict is not None and outcome.state in ("cancelled", "failed"):
        return work.verdict
    return outcome


def running_mean(before: float | None, new: float) -> float:
    """A mean that forgets: each new value counts a tenth."""
    return new if before is None else before + 0.1 * (new - before)


def unreadable(work: Work, cause: Exception) -> StepOutcome:
    """The outcome of a step whose worker sent what cannot be read."""
    error = InternalError(
        "report-unreadable",
        f"the worker that runs {label(work.task)} sent a report that cannot be read.",
        why=f"{type(cause).__name__}: {cause}",
        do="report this; what a check gives as its sample must be plain values.",
    )
    return ended(work.task, "failed", work.began, step_error(error))
