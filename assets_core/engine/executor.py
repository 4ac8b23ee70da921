"""What travels between the coordinator and the workers, and the Protocol that every executor implements.

Everything here is a small picklable value: a step travels as names and version numbers, never as code or data.
"""

import time
from dataclasses import dataclass, field
from typing import Literal, Protocol

from assets_core.definition.check_outcome import CheckOutcome
from io_managers.versions.publication import InputUse, Publication

OutcomeState = Literal["succeeded", "unchanged", "failed", "blocked", "superseded", "lost", "cancelled"]


@dataclass(frozen=True, slots=True)
class StepTask:
    """One try of one step.

    Attributes:
        step: Index of the step in its run.
        attempt: 1 upward.
        partition: Partition key, None for an asset without partitions.
        base: Version number that was current when the step began; the publication will be `base + 1`.
        base_hash: `self_hash` of the record of `base`, "" when there is none.
        inputs: For each parameter the versions it reads, resolved when the run began.
        timeout_s: Seconds the asset's function may take, None for no bound.
    """

    run_id: str
    step: int
    attempt: int
    asset: str
    partition: str | None
    base: int
    base_hash: str
    code_version: str
    config_version: str
    inputs: dict[str, InputUse]
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class StepError:
    """Why a step did not succeed.

    Attributes:
        kind: Class name of the `AssetlineError`.
        message: The whole text of the error, what, why, do and left.
        traceback: The user's frames only, "" when no code of the user raised.
        retryable: Whether a retry policy applies: user errors, lost workers and transient storage errors.
    """

    kind: str
    code: str
    message: str
    traceback: str = ""
    retryable: bool = True


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """How one try ended; `publication` is set when it succeeded, or when an equal or newer one was adopted."""

    step: int
    attempt: int
    state: OutcomeState
    duration_s: float = 0.0
    cpu_s: float = 0.0
    publication: Publication | None = None
    checks: tuple[CheckOutcome, ...] = ()
    error: StepError | None = None


@dataclass(frozen=True, slots=True)
class StepLog:
    """One log line of a running step: `level` as in logging, `at` epoch seconds."""

    step: int
    attempt: int
    at: float
    level: str
    message: str


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A worker took the step up; `worker` names it for people (`inline`, `thread-1`, `process 4711`)."""

    step: int
    attempt: int
    at: float
    worker: str


Report = StepStarted | StepLog | StepOutcome


@dataclass(frozen=True, slots=True)
class WorkerJob:
    """What a worker needs to find project and environment by name.

    Attributes:
        project: `module` or `module:attribute` of the project, "" when it exists only in this process.
        search_paths: Folders put in front of `sys.path` before the import.
        environment: Name and settings of the environment, as `Environment.to_dict()` gives them.
        config: Run configuration by asset key.
        now: Epoch seconds at which the run closed open-ended partitions.
    """

    run_id: str
    project: str
    search_paths: tuple[str, ...]
    environment: dict[str, object]
    branch: str = "main"
    config: dict[str, dict[str, object]] = field(default_factory=dict)
    now: float = field(default_factory=time.time)


class Executor(Protocol):
    """Where steps run. All methods are called from one thread."""

    @property
    def capacity(self) -> int:
        """How many steps may be submitted and unfinished at once."""
        ...

    def submit(self, task: StepTask) -> None:
        """Start a step without waiting for it (`inline` runs it in `poll`); may raise `StorageError`, `PluginError`."""
        ...

    def poll(self, timeout_s: float) -> list[Report]:
        """Reports that have arrived, waiting up to `timeout_s` for the first.

        Each submitted step ends in exactly one `StepOutcome`: a worker that died gives `lost` with a
        `WorkerLostError` that names the signal, a step over its time `failed` with code `step-timeout`.
        """
        ...

    def cancel(self, step: int, attempt: int) -> None:
        """Ask a step to stop; its outcome (`cancelled`, or what it reached) still arrives by `poll`."""
        ...

    def close(self, *, kill: bool = False) -> None:
        """Release every worker; with `kill` without waiting for running steps."""
        ...


class StepRunner(Protocol):
    """Runs one step in this process; `engine.step.ProjectStepRunner` is the one implementation besides tests'."""

    def run(self, task: StepTask, report: "ReportSink") -> StepOutcome:
        """Load inputs, compute, stage, audit, publish; never raises except `KeyboardInterrupt`."""
        ...


class ReportSink(Protocol):
    """Takes the reports of a running step to the coordinator."""

    @property
    def abandoned(self) -> bool:
        """Whether the coordinator has given this try up: it must not publish any more."""
        ...

    def __call__(self, report: Report) -> None:
        """Deliver one report; safe from any thread."""
        ...
