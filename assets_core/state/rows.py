"""The values that go into the state store and come out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from io_managers.versions.publication import Publication

    I64 = npt.NDArray[np.int64]
    U64 = npt.NDArray[np.uint64]
    F64 = npt.NDArray[np.float64]
    Mask = npt.NDArray[np.bool_]

StepState = Literal[
    "pending",
    "queued",
    "running",
    "retrying",
    "succeeded",
    "unchanged",
    "failed",
    "blocked",
    "skipped",
    "cancelled",
    "lost",
    "superseded",
]
RunStatus = Literal["running", "succeeded", "failed", "blocked", "cancelled"]


@dataclass(frozen=True, slots=True)
class RunStart:
    """A run that begins.

    Attributes:
        started_at: Epoch seconds.
        n_steps: Asset partitions the plan holds.
        selection: The request as text, for people.
        pid: Of the coordinator, on `host`: whether an unfinished run still lives is found out from them.
    """

    run_id: str
    project: str
    branch: str
    started_at: float
    n_steps: int
    selection: str
    executor: str
    pid: int
    host: str
    code_revision: str = ""


@dataclass(frozen=True, slots=True)
class StepChanged:
    """A step entered a state; the last one recorded is the step's state.

    Attributes:
        step: Index of the step in its run.
        position: What `PartitionsDefinition.positions()` says of the partition.
        at: Epoch seconds.
        duration_s: Seconds the try took, 0 while it runs.
        basis: Unsigned 64-bit hash of all that the try started from; kept with a failed or blocked outcome.
    """

    run_id: str
    step: int
    asset: str
    partition: str | None
    position: int
    state: StepState
    attempt: int
    reason: str
    at: float
    duration_s: float = 0.0
    cpu_s: float = 0.0
    error_code: str = ""
    error_message: str = ""
    basis: int = 0


@dataclass(frozen=True, slots=True)
class Published:
    """A publication to be cached.

    Attributes:
        run_id: The run that found or made it; its branch is the publication's.
        branch: Of the publication, where the run is not in this store, as for what is read back from the log.
    """

    run_id: str
    position: int
    publication: Publication
    branch: str | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """The outcome of one check on one asset partition.

    Attributes:
        at: Epoch seconds.
        sample: Failing rows as plain values.
        branch: As in `Published`.
    """

    run_id: str
    asset: str
    partition: str | None
    position: int
    check: str
    status: str
    severity: str
    observed: str
    expected: str
    at: float
    sample: tuple[Mapping[str, object], ...] = ()
    branch: str | None = None


@dataclass(frozen=True, slots=True)
class Blocked:
    """A try that a gate blocked, as its mark in the storage says: for tries of runs that this store does not know.

    Attributes:
        basis: Unsigned 64-bit hash of all that the try started from.
    """

    branch: str
    asset: str
    position: int
    basis: int


Change = StepChanged | Published | Checked | Blocked


@dataclass(frozen=True, slots=True, eq=False)
class Heads:
    """The newest publications of one asset on one branch, one row per asset partition, by ascending position.

    Attributes:
        positions: (n,) what `PartitionsDefinition.positions()` says of each partition.
        seq: (n,) version numbers, 1 upward.
        code_version: (n,) as a number; so are `config_version` and, its first 16 hex digits, `data_version`.
        published_at: (n,) epoch seconds.
        rows: (n,) rows of the table, -1 for what is not a table.
        held: (n,) the version was chosen by a rollback.
        dropped: (n,) the publication is a tombstone: nothing is visible, but its number is taken.
        inputs: By parameter (n,) fingerprints, 0 where the version did not have the input; each look-up decodes one.
        columns: By column (n,) content hashes, 0 where the version did not have the column; decoded likewise.
        record_hashes: 32 bytes a row.
    """

    positions: I64
    seq: I64
    code_version: U64
    config_version: U64
    data_version: U64
    published_at: F64
    rows: I64
    held: Mask
    dropped: Mask
    inputs: Mapping[str, U64] = field(repr=False)
    columns: Mapping[str, U64] = field(repr=False)
    record_hashes: bytes | memoryview = field(repr=False)

    def __len__(self) -> int:
        return len(self.positions)

    def record_hash(self, row: int) -> str:
        """`self_hash` of the publication in a row, 64 hex digits."""
        return self.record_hashes[32 * row : 32 * row + 32].hex()


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """How the last try of each asset partition ended where it published nothing, by ascending position.

    Attributes:
        positions: (n,) as in `Heads`.
        blocked: (n,) True: blocked by a gate; False: failed.
        basis: (n,) the hash of what the try started from.
    """

    positions: I64
    blocked: Mask
    basis: U64

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run; `counts` steps by final state, `ended_at` is None while unfinished; times in epoch seconds."""

    run_id: str
    project: str
    branch: str
    status: str
    started_at: float
    ended_at: float | None
    n_steps: int
    counts: Mapping[str, int]
    selection: str
    executor: str
    pid: int
    host: str
    code_revision: str

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to end, None while the run is unfinished."""
        return None if self.ended_at is None else self.ended_at - self.started_at


@dataclass(frozen=True, slots=True)
class StepRow:
    """The last recorded state of a step; `at` (epoch seconds) is when it was entered."""

    step: int
    asset: str
    partition: str | None
    position: int
    state: str
    attempt: int
    reason: str
    at: float
    duration_s: float
    cpu_s: float
    error_code: str
    error_message: str


@dataclass(frozen=True, slots=True)
class EventRow:
    """A try of a step that ended without success: one per try and state, oldest first."""

    step: int
    attempt: int
    state: str
    at: float
    duration_s: float
    error_code: str
    error_message: str


@dataclass(frozen=True, slots=True)
class PublicationRow:
    """One version of an asset partition, as far as it is cached; the log in storage has the whole record.

    Attributes:
        seq: The version number.
        published_at: Epoch seconds.
        rows: None for what is not a table.
        code_version: 16 hex digits.
        data_version: 32 hex digits, "" for a tombstone.
    """

    partition: str | None
    seq: int
    kind: str
    run_id: str
    published_at: float
    rows: int | None
    size_bytes: int
    code_version: str
    data_version: str


@dataclass(frozen=True, slots=True)
class CheckRow:
    """The outcome of one check on one asset partition in one run; `at` in epoch seconds."""

    run_id: str
    asset: str
    partition: str | None
    position: int
    check: str
    status: str
    severity: str
    observed: str
    expected: str
    at: float
    sample: tuple[dict[str, object], ...]
