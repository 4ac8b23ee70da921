"""A project opened in an environment: the face behind the command line, the app and the Python functions.

Session.open -> plan -> materialize -> status / history / load
"""

from __future__ import annotations

import datetime as dt
import os
import re
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from assets_core.errors import AssetlineError, NotFoundError, SelectionError, StorageError
from assets_core.project.environment import Environment
from assets_core.project.partition_selection import parse_partitions
from assets_core.project.run_config import validate_run_config
from assets_core.project.selection import select_assets
from assets_core.state.rows import RunStart
from io_managers.versions.blocked import BlockedTries
from io_managers.versions.partition_keys import PartitionKeys
from io_managers.versions.runs import RunMark, RunMarks
from io_managers.versions.store import VersionStore, new_id

if TYPE_CHECKING:
    from assets_core.definition.partitions.base import PartitionsDefinition, PartitionSet
    from assets_core.engine.executor import Executor, Report
    from assets_core.engine.runner import StepFailure
    from assets_core.loading import PublishedData, VersionRow
    from assets_core.planning.explain import Explanation
    from assets_core.planning.plan import Plan, PlannedStep
    from assets_core.planning.planner import MissingInputs, Planner
    from assets_core.planning.snapshot import Snapshot
    from assets_core.project.dynamic_keys import DynamicKeys
    from assets_core.project.project import Project
    from assets_core.state.rows import RunRow, StepRow
    from assets_core.state.store import StateStore
    from assets_core.status import AssetStatus

#: Validated run configuration by asset key; None for the session's own.
Config = Mapping[str, Any] | None

_STATE_WORDS = frozenset({"all", "missing", "stale", "failed"})
#: Runs that this process carries out now: nobody here may take them for dead.
_RUNNING: set[str] = set()
_STEP_STATES = ("succeeded", "unchanged", "failed", "blocked", "skipped", "cancelled")


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        status: succeeded, failed, blocked or cancelled; blocked also when a gate still holds back what was asked for.
        steps: Steps by how they ended; every name of `succeeded, unchanged, failed, blocked, skipped, cancelled`. What
            a gate held back before and holds back still counts as blocked.
        failures: Steps that failed or were blocked, with their errors.
    """

    run_id: str
    status: str
    steps: Mapping[str, int]
    duration_s: float
    failures: tuple[StepFailure, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every step succeeded."""
        return self.status == "succeeded"


def _import_paths() -> list[str]:
    """Where this process finds modules, for workers to look there too."""
    return [path or str(Path.cwd()) for path in sys.path]


def _no_steps(plan: Plan) -> dict[str, int]:
    """Counts before any step has run: nothing but what the plan already knows to be blocked."""
    return {**dict.fromkeys(_STEP_STATES, 0), "blocked": plan.n_blocked}


class RunObserver(Protocol):
    """Is told how a run goes on."""

    def run_started(self, run_id: str, plan: Plan) -> None:
        """The run begins."""
        ...

    def report(self, step: PlannedStep, report: Report) -> None:
        """A step started, logged or ended."""
        ...

    def run_finished(self, result: RunResult) -> None:
        """The run ended."""
        ...


@dataclass
class Session:
    """An opened project. Close it, or use it as a context manager.

    Attributes:
        now: Clock for open-ended partitions and freshness; tests pass their own.
    """

    project: Project
    environment: Environment
    branch: str
    state: StateStore
    raw_config: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    now: Callable[[], dt.datetime] = field(default=lambda: dt.datetime.now(dt.UTC))
    _stored_keys: PartitionKeys | None = field(default=None, init=False, repr=False)

    @classmethod
    def open(
        cls,
        project: Project,
        environment: Environment | None = None,
        *,
        branch: str = "main",
        config: Mapping[str, Mapping[str, object]] | None = None,
        read_only: bool = False,
    ) -> Self:
        """Open storage and state.

        Args:
            project: The definitions.
            environment: Where to work; None for the folder `.assetline/` of the working directory.
            branch: Branch to read and publish on.
            config: Run configuration by asset key.
            read_only: Write nothing: a state database that does not exist is kept in memory.

        Raises:
            NotFoundError: `branch-not-found`.
            StorageError: The storage cannot be used.
            StateError: The state database cannot be used.
        """
        from assets_core.state.store import StateStore

        environment = environment or Environment.default()
        if branch != "main":
            raise NotFoundError(
                "branch-not-found",
                f"there is no branch {branch!r}.",
                why="this storage has the branch 'main' only.",
                do="leave --branch out.",
            )
        if not read_only:
            environment.require_trusted_storage()
        state = StateStore.open(environment.state_url, create=not read_only, storage=environment.storage.url)
        return cls(project, environment, branch, state, config or {})

    def close(self) -> None:
        """Close the state database."""
        self.state.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def versions(self) -> VersionStore:
        """The versions of this branch."""
        return VersionStore(self.environment.storage, self.branch)

    # -- what is there ------------------------------------------------------------------------------------------

    def synchronize(self) -> int:
        """Bring the state database up to what the store's log says; how many publications were new to it."""
        from assets_core.state.sync import synchronize

        marks = RunMarks(self.environment.storage)
        return synchronize(self.state, self.versions, marks, self._position_of, own_runs=tuple(_RUNNING))

    def rebuild_state(self) -> int:
        """Forget the cached publications and read them all from the store's log again.

        Returns:
            How many there are.
        """
        self.state.forget_publications()
        return self.synchronize()

    def _position_of(self, asset: str, partition: str | None) -> int:
        """Where the state files a partition, also one outside of the bounds that the definition has now."""
        from assets_core.definition.partitions.static import key_position

        if partition is None:
            return 0
        definition = self.project.assets.get(asset)
        found = definition.partition_space.position_of(partition) if definition is not None else None
        return key_position(partition) if found is None else found

    def snapshot(self, keys: Sequence[str], config: Config = None) -> Snapshot:
        """What is published and defined for some assets and everything they read directly."""
        from assets_core.planning.asset_state import AssetState
        from assets_core.planning.code_versions import current_versions
        from assets_core.planning.external import observe_external
        from assets_core.planning.snapshot import Snapshot

        now = self.now()
        if config is None:
            config = validate_run_config(self.project, self.raw_config)
        self.synchronize()
        wanted = dict.fromkeys(keys)
        for key in keys:
            asset = self.project.assets[key]
            wanted.update(dict.fromkeys(item.asset for item in asset.inputs))
            wanted.update(dict.fromkeys(asset.deps))
        computed = [key for key in wanted if self.project.assets[key].function is not None]
        heads = self.state.heads(self.branch, computed)
        outcomes = self.state.outcomes(self.branch, computed)
        states: dict[str, AssetState] = {}
        spaces: dict[int, PartitionsDefinition] = {}
        stored = self._dynamic_keys().reader()
        for key in wanted:
            asset = self.project.assets[key]
            # assets that share a definition share its closed form, and with it what it has computed
            space = spaces.get(id(asset.partition_space))
            if space is None:
                space = spaces[id(asset.partition_space)] = asset.partition_space.at(now, stored)
            states[key] = (
                observe_external(asset, space)
                if asset.function is None
                else AssetState.build(space, heads.get(key), outcomes.get(key))
            )
        versions = {
            key: current_versions(self.project.assets[key], config)
            for key in keys
            if self.project.assets[key].function is not None
        }
        return Snapshot(self.project, now, states, versions)

    # -- dynamic partitions -------------------------------------------------------------------------------------

    def partition_keys(self, name: str) -> tuple[str, ...]:
        """The keys of dynamic partitions, in the order in which they were added.

        Args:
            name: Of the partitions, or the key of an asset that has them.

        Raises:
            NotFoundError: `partitions-not-found`.
        """
        from assets_core.project.dynamic_keys import list_named

        return tuple(self._dynamic_keys().reader()(list_named(self.project, name)))

    def add_partitions(self, name: str, keys: Iterable[str]) -> tuple[str, ...]:
        """Add keys to dynamic partitions; those that are there stay.

        Args:
            name: As in `partition_keys`.
            keys: Texts with at least one character.

        Returns:
            Those that were new.

        Raises:
            NotFoundError: `partitions-not-found`.
            DefinitionError: `partition-key-invalid`.
        """
        return self._dynamic_keys().add(name, keys).changed

    def remove_partitions(self, name: str, keys: Iterable[str]) -> tuple[str, ...]:
        """Remove keys from dynamic partitions; `history` still tells what was published for them.

        Args:
            name: As in `partition_keys`.
            keys: Keys that are there.

        Returns:
            Those that were removed.

        Raises:
            NotFoundError: `partitions-not-found`, `partition-not-found`.
        """
        return self._dynamic_keys().remove(name, keys).changed

    def _dynamic_keys(self) -> DynamicKeys:
        from assets_core.project.dynamic_keys import DynamicKeys

        if self._stored_keys is None:
            self._stored_keys = PartitionKeys(self.environment.storage)
        return DynamicKeys(self.project, self._stored_keys)

    # -- planning -----------------------------------------------------------------------------------------------

    def plan(self, select: Sequence[str] = (), partitions: str | None = None, *, force: bool = False) -> Plan:
        """What would run, with reasons; writes nothing.

        Args:
            select: Selection expressions; none for every asset.
            partitions: Partition expression for the assets that `select` names; None for everything missing or stale.
            force: Also what is fresh.

        Raises:
            SelectionError: An expression cannot be understood or matches nothing.
            PlanError: An input is missing.
        """
        return self._plan(select, partitions, force=force)[0]

    def _plan(
        self,
        select: Sequence[str],
        partitions: str | None,
        *,
        force: bool,
        config: Config = None,
    ) -> tuple[Plan, Snapshot]:
        keys = self._select(select, config)
        snapshot = self.snapshot(keys, config)
        named = self._named(select, keys, config)
        missing: MissingInputs = "wait_for_gates"
        if partitions is not None and partitions.strip() not in _STATE_WORDS:
            missing = "refuse"
        planner = self._planner(snapshot, force=force, missing_inputs=missing)
        requested, derived = self._requested(snapshot, keys, named, partitions, config)
        return planner.plan(requested, frozenset(named), derived), snapshot

    @staticmethod
    def _planner(snapshot: Snapshot, *, force: bool, missing_inputs: MissingInputs) -> Planner:
        from assets_core.planning.planner import Planner

        return Planner(snapshot, force=force, missing_inputs=missing_inputs)

    def select(self, select: Sequence[str]) -> list[str]:
        """Keys that selection expressions pick, upstream first; all for no expression."""
        return self._select(select, None)

    def _select(self, select: Sequence[str], config: Config) -> list[str]:
        if not select:
            return list(self.project.graph.order)
        return select_assets(self.project, select, partial(self._keys_in_state, config))

    def _named(self, select: Sequence[str], keys: Sequence[str], config: Config) -> list[str]:
        """The assets that the expressions name themselves, without those added by graph steps."""
        if not any("+" in expression for expression in select):
            return list(keys)
        bare = [
            ",".join(re.sub(r"^(!?)\d*\+|\+\d*$", r"\1", term.strip()) for term in expression.split(","))
            for expression in select
        ]
        try:
            named = set(self._select(bare, config)) & set(keys)
        except SelectionError as error:
            if error.code != "selection-empty":
                raise
            named = set()  # as in `+x,!x`: what lies above x without x itself
        return [key for key in keys if key in named or not named]

    def _keys_in_state(self, config: Config, name: str) -> frozenset[str]:
        statuses = self._statuses(self.project.graph.order, config)
        return frozenset(
            item.asset
            for item in statuses
            if (name == "changed" and item.reasons.get("code_changed")) or getattr(item, name, 0)
        )

    def _requested(
        self,
        snapshot: Snapshot,
        keys: Sequence[str],
        named: Sequence[str],
        partitions: str | None,
        config: Config,
    ) -> tuple[dict[str, PartitionSet], frozenset[str]]:
        """Partitions by asset: what the expression says for the named assets, what mappings derive for the others.

        Returns:
            The partitions, and the assets that are there because they lie below the others.
        """
        if partitions is None:
            return {key: snapshot.space(key).all() for key in keys}, frozenset()
        requested = {key: self._parse(snapshot, key, named, partitions, config) for key in named}
        order = [key for key in snapshot.project.graph.order if key in set(keys)]
        self._derive_upstream(snapshot, order, requested, set(named))
        above = frozenset(requested)
        self._derive_downstream(snapshot, order, requested, above)
        return requested, frozenset(requested) - above

    def _parse(
        self, snapshot: Snapshot, key: str, named: Sequence[str], partitions: str, config: Config
    ) -> PartitionSet:
        space = snapshot.space(key)
        try:
            return parse_partitions(partitions, space, partial(self._resolve, config, key))
        except SelectionError as error:
            is_meant_for_others = any(snapshot.asset(name).partitions is not None for name in named)
            if error.code == "partitions-none" and is_meant_for_others:
                return space.all()
            raise SelectionError(error.code, f"{key}: {error.what}", why=error.why, do=error.do) from error

    def _derive_upstream(
        self, snapshot: Snapshot, order: Sequence[str], requested: dict[str, PartitionSet], named: set[str]
    ) -> None:
        chosen = set(order)
        for key in reversed(order):
            below = requested.get(key)
            if below is None:
                continue
            for above, spans in snapshot.links(key):
                if above in chosen and above not in named:
                    needed = spans.upstream(below)
                    before = requested.get(above)
                    requested[above] = needed if before is None else before | needed

    def _derive_downstream(
        self,
        snapshot: Snapshot,
        order: Sequence[str],
        requested: dict[str, PartitionSet],
        settled: frozenset[str],
    ) -> None:
        for key in order:
            if key in settled:
                continue
            for name, spans in snapshot.links(key):
                above = requested.get(name)
                if above is not None:
                    touched = spans.downstream(above)
                    before = requested.get(key)
                    requested[key] = touched if before is None else before | touched

    def resolve(self, key: str, word: str) -> PartitionSet:
        """Partitions of one asset that are missing, stale or failed."""
        return self._resolve(None, key, word)

    def _resolve(self, config: Config, key: str, word: str) -> PartitionSet:
        from assets_core.status import partitions_in_state

        return partitions_in_state(self.snapshot(self._with_upstream([key]), config), key, word)

    def _with_upstream(self, keys: Sequence[str]) -> list[str]:
        wanted = self.project.graph.ancestors(keys) | set(keys)
        return [key for key in self.project.graph.order if key in wanted]

    # -- running ------------------------------------------------------------------------------------------------

    def materialize(
        self,
        select: Sequence[str] = (),
        partitions: str | None = None,
        *,
        force: bool = False,
        executor: str | None = None,
        workers: int | None = None,
        keep_going: bool = False,
        config: Mapping[str, Mapping[str, object]] | None = None,
        observer: RunObserver | None = None,
    ) -> RunResult:
        """Plan, and run the plan to its end.

        Args:
            select: As in `plan`.
            partitions: As in `plan`.
            force: As in `plan`.
            executor: Kind of executor; None for the environment's.
            workers: How many workers; None for the environment's.
            keep_going: After a failure go on with what does not depend on it.
            config: Run configuration by asset key, over the session's.
            observer: Is told how the run goes on.
        """
        raw = {
            key: {**self.raw_config.get(key, {}), **(config or {}).get(key, {})}
            for key in {**self.raw_config, **(config or {})}
        }
        validated = validate_run_config(self.project, raw)
        plan, snapshot = self._plan(select, partitions, force=force, config=validated)
        kind = executor or str(self.environment.executor.get("kind", "inline"))
        run_id = new_id()
        started = time.time()
        start = RunStart(
            run_id=run_id,
            project=self.project.reference or self.project.name,
            branch=self.branch,
            started_at=started,
            n_steps=plan.n_steps,
            selection=" ".join([*select, *(["-p", partitions] if partitions else [])]),
            executor=kind,
            pid=os.getpid(),
            host=socket.gethostname(),
        )
        held = "blocked" if plan.n_blocked else "succeeded"
        result = RunResult(run_id, held, _no_steps(plan), time.time() - started)
        _RUNNING.add(run_id)
        try:
            # the executor is opened first: a request that it refuses leaves no run behind
            with self._opened_executor(run_id, plan, kind, workers, raw, validated, snapshot.now) as opened:
                self.state.start_run(start)
                if observer is not None:
                    observer.run_started(run_id, plan)
                if opened is not None:
                    result = self._run(start, plan, snapshot, opened, keep_going, observer)
            self.state.finish_run(run_id, result.status, time.time(), result.steps)
        except BaseException as error:
            self._break_off(run_id, error)
            raise
        finally:
            _RUNNING.discard(run_id)
        if observer is not None:
            observer.run_finished(result)
        return result

    def _run(
        self,
        start: RunStart,
        plan: Plan,
        snapshot: Snapshot,
        opened: Executor,
        keep_going: bool,  # noqa: FBT001 - private, one caller
        observer: RunObserver | None,
    ) -> RunResult:
        from assets_core.engine.run_log import RunLog
        from assets_core.engine.runner import Runner
        from assets_core.engine.schedule import RunSchedule
        from assets_core.planning.code_archive import archive_code

        marks = RunMarks(self.environment.storage)
        assets = tuple(dict.fromkeys(group.asset for group in plan.groups))
        mark = RunMark(start.run_id, self.branch, assets, start.host, start.pid, start.started_at)
        marks.open(mark)
        for key in mark.assets:
            archive_code(self.environment.storage, snapshot.asset(key), snapshot.versions(key).code)
        runner = Runner(
            start.run_id,
            RunSchedule(plan, snapshot),
            snapshot,
            opened,
            self.state,
            RunLog(self.environment.storage, start.run_id),
            BlockedTries(self.environment.storage, self.branch),
            keep_going=keep_going,
            observer=observer,
        )
        summary = runner.run()
        with suppress(
            StorageError
        ):  # the run has ended all the same; the next synchronization closes the mark
            marks.close(mark)
        self.state.mark_absorbed(start.run_id)
        counts = _no_steps(plan)
        for name, count in summary.counts.items():
            counts[name if name in counts else "failed"] += count
        status = "blocked" if summary.status == "succeeded" and plan.n_blocked else summary.status
        return RunResult(
            start.run_id, status, counts, time.time() - start.started_at, tuple(summary.failures)
        )

    def _break_off(self, run_id: str, error: BaseException) -> None:
        """End a run that an error left unfinished, as far as the state still can; all its workers are gone.

        Its mark stays open: what it published may not have been recorded, and the next synchronization reads it.
        """
        with suppress(AssetlineError):
            if not any(row.run_id == run_id for row in self.state.unfinished_runs()):
                return
            counts = Counter(step.state for step in self.state.steps(run_id))
            status = "cancelled" if isinstance(error, KeyboardInterrupt) else "failed"
            self.state.finish_run(run_id, status, time.time(), counts)

    @contextmanager
    def _opened_executor(
        self,
        run_id: str,
        plan: Plan,
        kind: str,
        workers: int | None,
        raw: Mapping[str, Mapping[str, object]],
        config: dict[str, Any],
        now: dt.datetime,
    ) -> Iterator[Executor | None]:
        """The executor for a run, None when it has no steps; killed when the block raises."""
        if not plan.n_steps:
            yield None
            return
        from assets_core.engine.executor import WorkerJob
        from assets_core.engine.step import ProjectStepRunner
        from assets_core.executors.opening import open_executor

        job = WorkerJob(
            run_id=run_id,
            project=self.project.reference,
            search_paths=tuple(dict.fromkeys([*self.environment.search_paths, *_import_paths()])),
            environment=self.environment.to_dict(),
            branch=self.branch,
            config={key: dict(values) for key, values in raw.items()},
            now=now.timestamp(),
        )
        runner = ProjectStepRunner(self.project, self.environment, branch=self.branch, config=config, now=now)
        if workers is None:
            workers = int(self.environment.executor.get("workers", 0)) or os.cpu_count() or 1
        opened = open_executor(kind, job, lambda: runner, workers)
        finished = False
        try:
            yield opened
            finished = True
        finally:
            opened.close(kill=not finished)
            runner.close()

    # -- looking ------------------------------------------------------------------------------------------------

    def status(self, select: Sequence[str] = ()) -> list[AssetStatus]:
        """State of every selected asset."""
        return self._statuses(self.select(select), None)

    def _statuses(self, keys: Sequence[str], config: Config) -> list[AssetStatus]:
        from assets_core.status import asset_statuses

        return asset_statuses(self.snapshot(self._with_upstream(keys), config), keys)

    def why(self, key: str, partition: str | None = None) -> Explanation:
        """Why an asset partition is in its state.

        Args:
            key: The asset.
            partition: A partition key; None for an asset without partitions, and else for the first partition that is not
                fresh, or the newest one.

        Raises:
            NotFoundError: `asset-not-found`, `partition-not-found`.
        """
        from assets_core.planning.explain import Explainer
        from assets_core.status import first_in_need, plan_everything

        self.project.require(key)
        snapshot = self.snapshot(self._with_upstream([key]))
        plan = plan_everything(snapshot)
        space = snapshot.space(key)
        if partition is None and self.project.assets[key].partitions is not None and len(space):
            ordinal = first_in_need(snapshot, plan, key)
        else:
            ordinal = space.ordinal(partition)
        return Explainer(snapshot, plan, self.versions, self.state).explain(key, ordinal)

    def history(self, key: str, partition: str | None = None) -> list[VersionRow]:
        """Every version of an asset, newest first; see `assets_core.loading.PublishedData.history`."""
        return self._published().history(key, partition)

    def load(
        self,
        key: str,
        partition: str | None = None,
        *,
        as_type: Any = None,
        columns: Sequence[str] | None = None,
        as_of: dt.datetime | None = None,
    ) -> Any:
        """Published data of an asset; see `assets_core.loading.PublishedData.load`."""
        return self._published().load(key, partition, as_type=as_type, columns=columns, as_of=as_of)

    def _published(self) -> PublishedData:
        from assets_core.loading import PublishedData

        self.synchronize()
        stored = self._dynamic_keys().reader()
        return PublishedData(self.project, self.versions, self.state, self.now(), self.resolve, stored)

    def runs(self, limit: int = 50) -> list[RunRow]:
        """The newest runs."""
        return self.state.runs(limit)

    def run(self, run_id: str) -> RunRow:
        """One run, by its id; `latest` is the newest that had steps to run.

        Raises:
            NotFoundError: `run-not-found`.
        """
        if run_id == "latest":
            newest = self.state.runs(50)
            if newest:  # one that had something to do, if there is any
                return next((run for run in newest if run.n_steps), newest[0])
        found = self.state.run(run_id)
        if found is None:
            raise NotFoundError(
                "run-not-found",
                f"there is no run {run_id!r}.",
                why="runs are kept in the state database; one that was deleted or rebuilt does not know older runs.",
                do="assetline runs list",
            )
        return found

    def steps(self, run_id: str) -> list[StepRow]:
        """The steps of a run in their order."""
        return self.state.steps(run_id)

    def logs(self, run_id: str) -> list[dict[str, object]]:
        """Every log line of a run, oldest first: at, asset, partition, attempt, level, message."""
        from assets_core.engine.run_log import read_run_log

        return list(read_run_log(self.environment.storage, run_id))
