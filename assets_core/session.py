"""A project opened in an environment: the face behind the command line, the app and the Python functions.

Session.open -> plan -> materialize -> status / history / load
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from assets_core.errors import NotFoundError, SelectionError
from assets_core.project.environment import Environment
from assets_core.project.run_config import validate_run_config
from assets_core.project.selection import select_assets
from assets_core.requested import requested_partitions, without_graph_steps
from assets_core.running import RUNNING, Launcher, RunLaunch
from io_managers.versions.partition_keys import PartitionKeys
from io_managers.versions.runs import RunMarks
from io_managers.versions.store import VersionStore

if TYPE_CHECKING:
    from assets_core.definition.partitions.base import PartitionsDefinition, PartitionSet
    from assets_core.loading import PublishedData, VersionRow
    from assets_core.planning.explain import Explanation
    from assets_core.planning.plan import Plan
    from assets_core.planning.planner import MissingInputs, Planner
    from assets_core.planning.snapshot import Snapshot
    from assets_core.project.dynamic_keys import DynamicKeys
    from assets_core.project.project import Project
    from assets_core.running import RunObserver, RunResult
    from assets_core.state.rows import RunRow, StepRow
    from assets_core.state.store import StateStore
    from assets_core.status import AssetStatus

#: Validated run configuration by asset key; None for the session's own.
Config = Mapping[str, Any] | None

_STATE_WORDS = frozenset({"all", "missing", "stale", "failed"})


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
        return synchronize(self.state, self.versions, marks, self._position_of, own_runs=tuple(RUNNING))

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
        resolve = partial(self._resolve, config)
        requested, derived = requested_partitions(snapshot, keys, named, partitions, resolve)
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
        bare = [without_graph_steps(expression) for expression in select]
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
        launch = RunLaunch(
            select=tuple(select),
            partitions=partitions,
            executor=executor or str(self.environment.executor.get("kind", "inline")),
            workers=workers,
            keep_going=keep_going,
            raw_config=raw,
            config=validated,
        )
        return Launcher(self.project, self.environment, self.branch, self.state).run(
            launch, plan, snapshot, observer
        )

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
