"""The tiny project of the fault tests, and what their forked processes do with it.

raw (a JSON value) -> orders (a table with a contract and a check) -> report (a text)

A generation stands for a state of the code: each computes other values, so that old and new can be told apart.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel
from sqlalchemy import Engine, event
from sqlalchemy.dialects import sqlite

import assets_core as al
from assets_core.engine.executor import Report as EngineReport
from assets_core.engine.executor import StepOutcome
from assets_core.errors import AssetlineError, NotFoundError
from assets_core.planning.plan import Plan, PlannedStep
from assets_core.project.environment import Environment
from assets_core.project.project import Project
from assets_core.running import RunResult
from assets_core.session import Session
from assets_core.state import schema
from assets_core.state.database import Database
from io_managers.storage.base import Storage
from io_managers.storage.faults import KillAt
from io_managers.storage.local import LocalStorage
from io_managers.storage.remote import RemoteStorage
from io_managers.versions.store import VersionStore
from tests.support.invariants import Report, check_reports, check_store, read_chains, unfinished_files

ASSETS = ("raw", "orders", "report")
#: A check that each version of an asset must have passed.
GATES = {"orders": "is_right"}


class OrderRow(BaseModel):
    id: int
    amount: float


@dataclass(frozen=True)
class Job:
    """One command: materialize everything as of a generation.

    Attributes:
        folder: Holds `storage`, `state.db`, `calls.txt` (what was computed) and `acks.jsonl` (what was reported).
        passes: Whether the check on `orders` passes.
        storage_url: Where the storage is, when not in the folder.
    """

    folder: Path
    generation: int
    passes: bool = True
    storage_url: str = ""
    storage_options: dict[str, Any] = field(default_factory=dict)


def make_project(job: Job) -> Project:
    """The project as of a job's generation."""
    generation, calls = job.generation, job.folder / "calls.txt"

    def called(key: str) -> None:
        with open(calls, "a") as stream:
            stream.write(f"{key} {generation}\n")

    @al.asset(code_version=f"raw-{generation}")
    def raw() -> dict[str, int]:
        called("raw")
        return {"generation": generation}

    @al.asset(code_version=f"orders-{generation}")
    def orders(raw: dict[str, int]) -> al.Table[OrderRow]:
        called("orders")
        amounts = [float(raw["generation"])] * 3
        return pa.table({"id": [1, 2, 3], "amount": amounts})

    @al.asset(code_version="report")
    def report(orders: pa.Table) -> str:
        called("report")
        return f"{orders.num_rows} rows of generation {orders['amount'][0].as_py():.0f}"

    @al.asset_check(asset="orders")
    def is_right(orders: pa.Table) -> al.CheckResult:
        return al.CheckResult(passed=job.passes, observed="seen", expected="wanted")

    return al.Project(assets=[raw, orders, report], checks=[is_right], name="faults")


def generation_of(key: str, value: Any) -> int:
    """The generation of a value that a reader got, after looking at all of it."""
    match key:
        case "raw":
            (generation,) = value.values()
            return int(generation)
        case "orders":
            assert list(value["id"]) == [1, 2, 3]
            (generation,) = set(value["amount"])
            return int(generation)
        case _:
            assert value.startswith("3 rows of generation ")
            return int(value.rpartition(" ")[2])


class MovableStorage(LocalStorage):
    """A store that says the same of itself wherever its folder is copied to, so that a copied database fits it."""

    @property
    def url(self) -> str:
        return "file:///movable"


class MovableRemote(RemoteStorage):
    """The same for a bucket."""

    @property
    def url(self) -> str:
        return "s3://movable"


def environment(job: Job) -> Environment:
    """The job's environment; syncing is a point to be killed at, but waits for no disk."""
    os.fsync = lambda _handle: None  # type: ignore[assignment]  # of a forked process
    made = Environment.in_folder(job.folder)
    made._storage = (
        MovableRemote(job.storage_url, job.storage_options)
        if job.storage_url
        else MovableStorage(job.folder / "storage")
    )
    return made


class Collector:
    """Keeps what a run reports, and notes on the disk what it acknowledged, for when the process is killed."""

    def __init__(self, folder: Path) -> None:
        self._acks = os.open(folder / "acks.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._run_id = ""
        self.reports: dict[str, Report] = {}
        self.errors: dict[str, str] = {}
        self.messages: dict[str, str] = {}

    def run_started(self, run_id: str, plan: Plan) -> None:
        self._run_id = run_id

    def report(self, step: PlannedStep, report: EngineReport) -> None:
        if not isinstance(report, StepOutcome):
            return
        published = report.publication
        seq, commit_id = (published.seq, published.commit_id) if published else (0, "")
        seen = Report(self._run_id, step.asset, step.partition, report.state, seq, commit_id)
        self.reports[step.asset] = seen
        self.errors[step.asset] = report.error.code if report.error else ""
        self.messages[step.asset] = report.error.message if report.error else ""
        if report.state == "succeeded":
            line = json.dumps([seen.run_id, seen.asset, seen.partition, seen.state, seq, commit_id])
            os.write(self._acks, line.encode() + b"\n")

    def run_finished(self, result: RunResult) -> None:
        """Nothing: the result is returned."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended: the run's status or the code of the error it raised; steps' errors as code and as text."""

    status: str
    reports: tuple[Report, ...] = ()
    errors: dict[str, str] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    points: tuple[str, ...] = ()
    text: str = ""

    @property
    def ended_well(self) -> bool:
        return self.status == "succeeded"


def acknowledged(folder: Path) -> list[Report]:
    """What commands, killed ones too, reported as published."""
    with suppress(FileNotFoundError):
        return [Report(*json.loads(line)) for line in (folder / "acks.jsonl").read_text().splitlines()]
    return []


def computed(folder: Path) -> list[str]:
    """What was computed so far, as `asset generation`."""
    with suppress(FileNotFoundError):
        return (folder / "calls.txt").read_text().splitlines()
    return []


def materialize(job: Job, kill_at: int = 0, wrap: Callable[[Storage], Storage] | None = None) -> Outcome:
    """Carry out a job in this process.

    Args:
        job: What to do.
        kill_at: The point, of the storage's and the database's operations, at which this process is killed; 0 never.
        wrap: Puts another store around the environment's.
    """
    work = environment(job)
    storage = work.require_trusted_storage()
    killer = _use_killer(work, storage, kill_at)
    if wrap is not None:
        work._storage = wrap(work.storage)
    collector = Collector(job.folder)
    with _database_points(killer.point):
        return _materialize(job, work, collector, killer)


class KillAtWrites(KillAt):
    """Kills only where something changes: around requests that write, and around commits of the database."""

    def point(self, name: str) -> None:
        """Pass a point, unless nothing changes there."""
        if name.startswith(("put", "close", "delete", "sql:before-commit", "sql:after-commit")):
            super().point(name)


def _use_killer(work: Environment, storage: Storage, kill_at: int) -> KillAt:
    """Number the operations of a store; one that has no points within its calls is used through the wrapper."""
    if isinstance(storage, LocalStorage):
        work._storage = storage
        return KillAt(storage, kill_at)
    killer = KillAtWrites(storage, kill_at)
    work._storage = killer
    return killer


def _materialize(job: Job, work: Environment, collector: Collector, killer: KillAt) -> Outcome:
    try:
        with Session.open(make_project(job), work) as session:
            result = session.materialize(observer=collector)
            status, text = result.status, ""
    except AssetlineError as error:
        status, text = error.code, str(error)
    reports, points = tuple(collector.reports.values()), tuple(killer.passed)
    return Outcome(status, reports, collector.errors, collector.messages, points, text)


def publish_unrecorded(job: Job) -> None:
    """Publish `raw` as a process does that dies before anything is recorded."""
    versions = VersionStore(environment(job).storage)
    head = versions.head("raw", None)
    assert head.publication is not None
    staging = versions.stage("raw", None)
    with staging.create("value.json") as stream:
        stream.write(json.dumps({"generation": job.generation}).encode())
    attempt_id, files = staging.folder.rpartition("/")[2], tuple(staging.files)
    draft = replace(head.publication, attempt_id=attempt_id, files=files, data_version=staging.data_version)
    versions.publish(draft, head)


@contextmanager
def _database_points(point: Callable[[str], None]) -> Iterator[None]:
    """Number each statement that writes to the state database, and the moments around each commit."""

    def statement(_connection: Any, _cursor: Any, text: str, *_: Any) -> None:
        if not text.startswith(("\nCREATE", "CREATE", "SELECT", "PRAGMA")):
            point(f"sql:{text.split(None, 1)[0].lower()}")

    original = Database.writing

    @contextmanager
    def writing(self: Database) -> Iterator[Any]:
        with original(self) as connection:
            yield connection
            point("sql:before-commit")
        point("sql:after-commit")

    event.listen(Engine, "before_cursor_execute", statement)
    Database.writing = writing  # type: ignore[method-assign]
    try:
        yield
    finally:
        Database.writing = original  # type: ignore[method-assign]
        event.remove(Engine, "before_cursor_execute", statement)


def recover(job: Job, kill_at: int = 0) -> tuple[str, ...]:
    """Do what every command begins with: open, synchronize, plan; killed at a point of it. Gives the points."""
    work = environment(job)
    killer = _use_killer(work, work.storage, kill_at)
    with _database_points(killer.point), Session.open(make_project(job), work) as session:
        session.plan()
    return tuple(killer.passed)


# -- what must hold after a kill ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """All that a session knows of what is published."""

    plan: dict[str, str]
    fresh: int
    heads: dict[str, Any]
    history: dict[str, Any]
    seen: dict[str, int]
    unfinished: list[str]


def what_is_known(job: Job) -> Known:
    """Open a session as the next command would, and look at everything."""
    with Session.open(make_project(job), environment(job)) as session:
        plan = session.plan()
        heads = session.state.heads("main", ASSETS)
        return Known(
            plan={group.asset: group.reason for group in (*plan.groups, *plan.blocked, *plan.waiting)},
            fresh=plan.fresh,
            heads={
                key: (found.seq.tolist(), found.code_version.tolist(), found.record_hashes.hex())
                for key, found in heads.items()
            },
            history={
                key: sorted(
                    (row.seq, row.kind, row.data_version) for row in session.state.publications("main", key)
                )
                for key in ASSETS
            },
            seen=visible(session),
            unfinished=[run.run_id for run in session.state.unfinished_runs()],
        )


def visible(session: Session) -> dict[str, int]:
    """The generation that a reader sees of each asset, 0 for nothing; raises when a value is not whole."""
    seen = {}
    for key in ASSETS:
        try:
            seen[key] = generation_of(key, session.load(key))
        except NotFoundError:
            seen[key] = 0
    return seen


def copy_folder(source: Path, target: Path) -> Path:
    """A copy whose objects, which nobody changes, are shared, and whose database is its own."""
    target.mkdir(parents=True, exist_ok=True)
    if (source / "storage").exists():
        shutil.copytree(source / "storage", target / "storage", copy_function=os.link)
    for file in source.iterdir():
        if file.is_file():
            shutil.copy(file, target / file.name)
    return target


def drop_state(folder: Path) -> None:
    """Delete the state database."""
    for file in folder.glob("state.db*"):
        file.unlink()


def verify(job: Job, before: dict[str, int], kills: int = 1) -> list[str]:
    """Everything that must hold in a folder after its commands were killed; then carry the same command out again.

    Args:
        job: The command that was killed.
        before: The generation that readers saw of each asset before it.
        kills: How many processes were killed, each of which may have left one attempt and one temporary file.
    """
    folder, found = job.folder, []
    storage = environment(job).storage

    def expect(rule: str, holds: bool, what: str) -> None:
        if not holds:
            found.append(f"{rule} {what}")

    def store(max_garbage: int) -> None:
        broken = check_store(
            storage, gates=GATES, acknowledged=acknowledged(folder), max_garbage_attempts=max_garbage
        )
        found.extend(str(violation) for violation in broken)

    old_garbage = 1 if not job.passes else 0
    store(kills + old_garbage)
    expect("I13", len(unfinished_files(folder / "storage")) <= kills, "more unfinished files than kills")

    known = _known_in_copies(job, expect)
    for key in ASSETS:
        allowed = {before[key], job.generation} if key == "raw" or job.passes else {before[key]}
        expect("I1", known.seen[key] in allowed, f"{key}: readers see generation {known.seen[key]}")

    published = {key for key in ASSETS if known.seen[key] == job.generation}
    done_before = len(computed(folder))
    again = materialize(job)
    repeated = {line.split()[0] for line in computed(folder)[done_before:]}
    expect("I10", not repeated & published, f"{repeated & published} published already and computed again")
    found.extend(str(violation) for violation in check_reports(storage, again.reports))
    after = what_is_known(job)
    if job.passes:
        expect("I10", again.ended_well, f"the same command ended {again.status} {again.text}")
        expect(
            "I10", after.seen == dict.fromkeys(ASSETS, job.generation), f"in the end readers see {after.seen}"
        )
        expect("I10", not after.plan and after.fresh == len(ASSETS), f"in the end the plan is {after.plan}")
    else:
        wanted = {**before, "raw": job.generation}
        expect("I2", after.seen == wanted, f"a blocked run left readers with {after.seen}")
        expect("I14", again.status == "blocked", f"the same command ended {again.status}")
    expect("I14", not after.unfinished, f"runs {after.unfinished} are shown as running in the end")
    store(kills + 2 * old_garbage)
    return found


def _known_in_copies(job: Job, expect: Callable[[str, bool, str], None]) -> Known:
    """What the next command knows: with the database as it was left, once more after that, and without it."""
    kept = replace(job, folder=copy_folder(job.folder, job.folder / "kept"))
    lost = replace(job, folder=copy_folder(job.folder, job.folder / "lost"))
    drop_state(lost.folder)
    known, twice, rebuilt = what_is_known(kept), what_is_known(kept), what_is_known(lost)
    expect("I8", known == twice, f"recovering again changed {known} to {twice}")
    expect("I7", known.heads == rebuilt.heads, f"the rebuilt heads are {rebuilt.heads}, not {known.heads}")
    expect(
        "I7",
        known.history == rebuilt.history,
        f"the rebuilt history is {rebuilt.history}, not {known.history}",
    )
    expect("I7", known.seen == rebuilt.seen, f"after a rebuild readers see {rebuilt.seen}, not {known.seen}")
    expect("I14", not known.unfinished, f"{len(known.unfinished)} dead runs are shown as running")
    if job.passes:
        expect("I7", known.plan == rebuilt.plan, f"the rebuilt plan is {rebuilt.plan}, not {known.plan}")
    else:  # that a gate held `orders` back only the database knows: without it, it and what reads it are tried again
        more = rebuilt.plan.keys() ^ known.plan.keys()
        expect("I7", more <= {"report"}, f"the rebuilt plan is {rebuilt.plan}, not {known.plan}")
    heads = {key: (chain.head or {}).get("seq") for (key, _), chain in _chains(kept).items()}
    for key in ASSETS:
        wanted = [heads[key]] if heads.get(key) else []
        expect(
            "I7",
            known.heads[key][0] == wanted,
            f"{key}: the database has {known.heads[key][0]}, the log {wanted}",
        )
    shutil.rmtree(kept.folder)
    shutil.rmtree(lost.folder)
    return known


def _chains(job: Job) -> Any:
    return read_chains(environment(job).storage)


def modules_for(job: Job) -> list[str]:
    """Names of all modules that a command imports where the job's storage is."""
    prepare_job(job, (1,))
    return sorted(sys.modules)


def keep_statements() -> None:
    """Compile the database's statements once for all forks, as they are the same in each."""
    statements = schema.WriteStatements(sqlite.dialect(paramstyle="qmark"))
    schema.WriteStatements = lambda _dialect: statements  # type: ignore[assignment,misc]


def modules(folder: Path) -> list[str]:
    """Names of all modules that the commands of these tests import."""
    prepare(folder, (1, 2))
    what_is_known(Job(folder, 2))
    return sorted(sys.modules)


def copy_objects(source: Job, target: Job) -> None:
    """Make the bucket of a job hold what another's holds."""
    there = environment(target).storage
    here = environment(source).storage
    for info in here.list(""):
        there.put(info.path, here.get(info.path))


def objects_of(job: Job) -> list[tuple[str, int]]:
    """Path and size of every object of a job's storage."""
    return [(info.path, info.size_bytes) for info in environment(job).storage.list("")]


def prepare_job(job: Job, generations: tuple[int, ...]) -> None:
    """As `prepare`, wherever the job's storage is."""
    job.folder.mkdir(parents=True, exist_ok=True)
    environment(job).require_trusted_storage()
    for generation in generations:
        assert materialize(replace(job, generation=generation)).ended_well


def prepare(folder: Path, generations: tuple[int, ...]) -> None:
    """A folder in which these generations were materialized, one after the other; it is trusted in any case."""
    prepare_job(Job(folder, 0), generations)
