"""One step in a worker: begin, load inputs, compute, stage, audit, publish.

    run -> begin -> _load_arguments -> _compute -> _stage -> _audit -> _publish

Data never leaves the worker; the coordinator gets a small `StepOutcome`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from assets_core.definition.check_outcome import CheckOutcome
from assets_core.definition.partitions.mapping import default_mapping
from assets_core.engine.executor import StepError, StepLog, StepOutcome
from assets_core.engine.managers import manager_of, writer_of
from assets_core.engine.step_errors import (
    blocked_error,
    describe_error,
    loading,
    resource_error,
    storing,
    superseded_error,
    text_of,
    user_error,
)
from assets_core.engine.step_log import StepLogger
from assets_core.errors import (
    AssetlineError,
    NotFoundError,
    StorageError,
)
from io_managers.formats.loading import load_value
from io_managers.keys import format_asset_partition
from io_managers.versions.publication import CheckRecord, InputUse, Publication
from io_managers.versions.store import Head, SupersededError, VersionStore

if TYPE_CHECKING:
    from assets_core.definition.asset import Asset, Input
    from assets_core.definition.partitions.base import PartitionsDefinition
    from assets_core.engine.executor import ReportSink, StepTask, WorkerJob
    from assets_core.project.environment import Environment
    from assets_core.project.project import Project
    from io_managers.formats.protocol import FileSource, IOManager, Written
    from io_managers.versions.staging import Staging

_RECORDS_KEPT = 4096
_NOTHING_LEFT = "nothing: no version was published."
_log = logging.getLogger("assetline")


class ProjectStepRunner:
    """Runs the steps of one run in this process. Safe to use from several threads."""

    def __init__(
        self,
        project: Project,
        environment: Environment,
        *,
        branch: str = "main",
        config: dict[str, Any] | None = None,
        now: dt.datetime | None = None,
    ) -> None:
        """Prepare to run steps.

        Args:
            project: The definitions.
            environment: Storage and resources.
            branch: Branch to publish on.
            config: Validated configuration by asset key.
            now: When the run closed open-ended partitions; the clock of this machine may be behind.
        """
        self.project = project
        self.environment = environment
        self.versions = VersionStore(environment.storage, branch)
        self._config = config or {}
        self._now = now or dt.datetime.now(dt.UTC)
        self._spaces: dict[str, PartitionsDefinition] = {}
        self._managers: dict[str, IOManager] = {}
        self._records: OrderedDict[tuple[str, str | None, int], Publication] = OrderedDict()
        self._resources = contextlib.ExitStack()
        self._opened: dict[tuple[str, type], Any] = {}
        self._opening = threading.Lock()

    def close(self) -> None:
        """Close the resources that steps opened; one that does not close is logged: what was published stays."""
        try:
            self._resources.close()
        except Exception as error:  # noqa: BLE001 - the user's code
            _log.warning("a resource did not close: %s: %s", type(error).__name__, text_of(error))

    def run(self, task: StepTask, report: ReportSink) -> StepOutcome:
        """Run one step to its end; never raises except `KeyboardInterrupt`."""
        started, cpu = time.perf_counter(), time.thread_time()
        publication: Publication | None = None
        checks: tuple[CheckOutcome, ...] = ()
        error: StepError | None = None
        try:
            state, publication, checks, error = self._run(task, report)
        except AssetlineError as failure:
            state, error = "failed", describe_error(failure)
        except (MemoryError, RecursionError) as failure:
            state, error = "failed", describe_error(user_error(task, failure))
        return StepOutcome(
            task.step,
            task.attempt,
            state,
            time.perf_counter() - started,
            time.thread_time() - cpu,
            publication,
            checks,
            error,
        )

    def _run(
        self, task: StepTask, report: ReportSink
    ) -> tuple[Any, Publication | None, tuple[CheckOutcome, ...], StepError | None]:
        asset = self.project.assets[task.asset]
        known = Head(task.base, task.base_hash)
        base = self.versions.head_from(task.asset, task.partition, known)
        newer = base.publication if base.seq > task.base else None
        if newer is not None and newer.seq > task.base and _is_same_work(newer, task):
            return "unchanged", newer, (), None
        value = self._compute(asset, task, self._load_arguments(asset, task, report))
        staging = self.versions.stage(task.asset, task.partition)
        try:
            written, checks = self._stage(asset, task, staging, value)
            blocking = [outcome for outcome in checks if outcome.is_blocking]
            if blocking:
                return "blocked", None, checks, blocked_error(task, blocking, staging)
            if report.abandoned:
                staging.discard()
                return "cancelled", None, checks, None
        except Exception:
            with contextlib.suppress(StorageError):
                staging.discard()
            raise
        draft = _draft(task, staging, self.manager(asset), written, checks)
        try:
            # from here on the files may be those of a published version, whatever error comes: they stay
            return "succeeded", self.versions.publish(draft, base), checks, None
        except SupersededError as signal:
            with contextlib.suppress(StorageError):
                staging.discard()
            if _is_same_work(signal.winner, task):
                return "unchanged", signal.winner, (), None
            return "superseded", signal.winner, (), superseded_error(task, signal.winner)

    def _stage(
        self, asset: Asset, task: StepTask, staging: Staging, value: Any
    ) -> tuple[Written | None, tuple[CheckOutcome, ...]]:
        """Write the value where no reader looks, and judge it; a table against its contract is not written."""
        with storing(task):
            value, outcomes = _conform(asset, value)
        checks = tuple(outcomes)
        if any(outcome.is_blocking for outcome in checks):
            return None, checks
        manager = self.manager(asset)
        with storing(task):
            written = manager.write(value, staging)
        staging.verify()
        return written, checks + self._audit(asset, task, staging, manager)

    def _load_arguments(self, asset: Asset, task: StepTask, report: ReportSink) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        for item in asset.inputs:
            with loading(task, item):
                arguments[item.parameter] = self.load_input(
                    task.inputs[item.parameter],
                    item.annotation,
                    item.columns,
                    by_partition=self._reads_many(asset, item),
                )
        if asset.has_context:
            arguments[asset.context_parameter] = self._context(asset, task, report)
        if asset.config_model is not None:
            arguments["config"] = self._config[asset.key]
        for parameter, kind in asset.resources.items():
            arguments[parameter] = self._resource(task, parameter, kind)
        return arguments

    def _reads_many(self, asset: Asset, item: Input) -> bool:
        upstream = self.project.assets[item.asset]
        if upstream.partitions is None:
            return False
        down, up = asset.partition_space, upstream.partition_space
        return (item.mapping or default_mapping(down, up)).reads_many(down, up)

    def load_input(
        self, use: InputUse, annotation: Any, columns: Sequence[str] | None, *, by_partition: bool = False
    ) -> Any:
        """Read exactly the pinned versions of one input as the annotated type."""
        upstream = self.project.assets[use.asset]
        manager = self.manager(upstream)
        sources: list[tuple[str | None, FileSource]]
        if upstream.function is None:
            from assets_core.planning.external import ExternalFiles

            sources = [(key, ExternalFiles(upstream, key)) for key, _ in use.partitions]
        else:
            records = [self._record(use.asset, key, seq) for key, seq in use.partitions]
            sources = [(record.partition, self.versions.files(record)) for record in records]
            manager = writer_of(upstream, manager, records)
        return load_value(manager, sources, annotation, columns, by_partition=by_partition)

    def _record(self, asset: str, partition: str | None, seq: int) -> Publication:
        name = (asset, partition, seq)
        found = self._records.get(name)
        if found is None:
            found = self._records[name] = self.versions.require(asset, partition, seq)
            if len(self._records) > _RECORDS_KEPT:
                with contextlib.suppress(KeyError):  # another thread may have emptied it
                    self._records.popitem(last=False)
        return found

    def manager(self, asset: Asset) -> IOManager:
        """The IO manager that stores an asset."""
        found = self._managers.get(asset.key)
        if found is None:
            found = self._managers[asset.key] = manager_of(asset)
        return found

    def _context(self, asset: Asset, task: StepTask, report: ReportSink) -> Any:
        from assets_core.definition.context import Context

        space = self._spaces.get(asset.key)
        if space is None:
            space = self._spaces[asset.key] = asset.partition_space.at(self._now)
        return Context(
            asset=asset.key,
            partition=task.partition,
            partitions=(task.partition,),
            window=space.window_of(task.partition),
            run_id=task.run_id,
            attempt=task.attempt,
            branch=self.versions.branch,
            log=StepLogger(
                asset.key, lambda at, level, text: report(StepLog(task.step, task.attempt, at, level, text))
            ),
            config=self._config.get(asset.key),
            dimensions=space.parts(task.partition),
            store_partitions=self._add_partitions,
        )

    def _add_partitions(self, name: str, keys: Iterable[str]) -> tuple[str, ...]:
        from assets_core.project.dynamic_keys import DynamicKeys
        from io_managers.versions.partition_keys import PartitionKeys

        return DynamicKeys(self.project, PartitionKeys(self.environment.storage)).add(name, keys).changed

    def _resource(self, task: StepTask, parameter: str, kind: type) -> Any:
        from assets_core.project.resources import open_resource

        with self._opening:  # once, though several threads may want it
            found = self._opened.get((parameter, kind))
            if found is None:
                try:
                    found = open_resource(self.environment, parameter, kind, self._resources)
                except AssetlineError:
                    raise
                except (Exception, SystemExit) as error:
                    raise resource_error(task, parameter, error) from error
                self._opened[parameter, kind] = found
        return found

    def _compute(self, asset: Asset, task: StepTask, arguments: dict[str, Any]) -> Any:
        try:
            return asset.invoke(arguments)
        except (Exception, SystemExit) as error:
            raise user_error(task, error) from error

    def _audit(
        self, asset: Asset, task: StepTask, staging: Staging, manager: IOManager
    ) -> tuple[CheckOutcome, ...]:
        checks = self.project.checks_for(asset.key)
        if asset.contract is None and not checks:
            return ()
        from assets_core.quality.audit import audit

        source = staging.source()
        return audit(
            asset.contract,
            checks,
            lambda annotation: load_value(manager, [(task.partition, source)], annotation, None),
            lambda key, annotation: self.load_other(key, task, annotation),
        )

    def load_other(self, key: str, task: StepTask, annotation: Any) -> Any:
        """Another asset that a check reads beside the audited one: the versions the step itself read, else the head."""
        for use in task.inputs.values():
            if use.asset == key:
                return self.load_input(use, annotation, None)
        upstream = self.project.assets[key]
        partition = task.partition if upstream.partitions is not None else None
        head = self.versions.head(key, partition).publication
        if upstream.function is not None and (head is None or head.kind == "drop"):
            raise NotFoundError(
                "check-input-missing",
                f"a check of {format_asset_partition(task.asset, task.partition)} reads "
                f"{format_asset_partition(key, partition)}, of which nothing is published.",
                do=f"assetline materialize {key}",
                left=_NOTHING_LEFT,
            )
        pinned = ((partition, head.seq if head is not None else 1),)
        return self.load_input(InputUse(key, "", pinned), annotation, None)


def _conform(asset: Asset, value: Any) -> tuple[Any, list[CheckOutcome]]:
    """Bring a table into the shape of its contract; what cannot be is a failed check."""
    if asset.contract is None:
        return value, []
    from io_managers.formats.parquet import to_arrow_table

    table, outcomes = asset.contract.conform(to_arrow_table(value))
    return table, outcomes


def _draft(
    task: StepTask,
    staging: Staging,
    manager: IOManager,
    written: Written | None,
    checks: tuple[CheckOutcome, ...],
) -> Publication:
    data_version = written.data_version if written is not None else None
    return Publication(
        asset=task.asset,
        partition=task.partition,
        seq=0,
        kind="publish",
        commit_id="",
        attempt_id=staging.folder.rpartition("/")[2],
        run_id=task.run_id,
        published_at=dt.datetime.now(dt.UTC).isoformat(timespec="microseconds"),
        io_manager=manager.name,
        files=tuple(staging.files),
        rows=written.rows if written is not None else None,
        columns=dict(written.columns) if written is not None else {},
        column_hashes=dict(written.column_hashes) if written is not None else {},
        data_version=data_version or staging.data_version,
        code_version=task.code_version,
        config_version=task.config_version,
        inputs=task.inputs,
        checks=tuple(
            CheckRecord(item.check, item.status, item.severity, item.observed, item.expected)
            for item in checks
        ),
    )


def _is_same_work(publication: Publication, task: StepTask) -> bool:
    """Whether a version was computed from the same code, configuration and inputs as the task would be."""
    return (
        publication.kind == "publish"
        and publication.code_version == task.code_version
        and publication.config_version == task.config_version
        and {name: use.fingerprint for name, use in publication.inputs.items()}
        == {name: use.fingerprint for name, use in task.inputs.items()}
    )


def open_step_runner(job: WorkerJob) -> ProjectStepRunner:
    """A runner in a worker process, from names alone.

    Raises:
        DefinitionError: The project cannot be imported here.
        ConfigError: The environment cannot be opened here.
    """
    from assets_core.project.environment import Environment
    from assets_core.project.project import load_project
    from assets_core.project.run_config import validate_run_config

    for path in reversed(job.search_paths):
        if path not in sys.path:
            sys.path.insert(0, path)
    project = load_project(job.project, job.search_paths)
    return ProjectStepRunner(
        project,
        Environment.from_dict(job.environment),
        branch=job.branch,
        config=validate_run_config(project, job.config),
        now=dt.datetime.fromtimestamp(job.now, dt.UTC),
    )
