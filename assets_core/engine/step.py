"""One step in a worker: begin, load inputs, compute, stage, audit, publish.

    run -> begin -> _load_arguments -> _compute -> _stage -> _audit -> _publish

Data never leaves the worker; the coordinator gets a small `StepOutcome`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import sys
import time
import traceback
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from assets_core.definition.check_outcome import CheckOutcome
from assets_core.definition.partitions.mapping import default_mapping
from assets_core.engine.executor import StepError, StepLog, StepOutcome
from assets_core.engine.step_log import StepLogger
from assets_core.errors import AssetlineError, CheckFailedError, StorageError, UserCodeError
from io_managers.formats.loading import load_value
from io_managers.formats.registry import io_manager_name_for, load_io_manager
from io_managers.keys import format_asset_partition
from io_managers.versions.publication import CheckRecord, InputUse, Publication
from io_managers.versions.store import Head, SupersededError, VersionStore

if TYPE_CHECKING:
    from assets_core.definition.asset import Asset, Input
    from assets_core.engine.executor import ReportSink, StepTask, WorkerJob
    from assets_core.project.environment import Environment
    from assets_core.project.project import Project
    from io_managers.formats.protocol import FileSource, IOManager, Written
    from io_managers.versions.staging import Staging

_RECORDS_KEPT = 4096


class ProjectStepRunner:
    """Runs the steps of one run in this process. Safe to use from several threads."""

    def __init__(
        self,
        project: Project,
        environment: Environment,
        *,
        branch: str = "main",
        config: dict[str, Any] | None = None,
    ) -> None:
        """Prepare to run steps.

        Args:
            project: The definitions.
            environment: Storage and resources.
            branch: Branch to publish on.
            config: Validated configuration by asset key.
        """
        self.project = project
        self.environment = environment
        self.versions = VersionStore(environment.storage, branch)
        self._config = config or {}
        self._managers: dict[str, IOManager] = {}
        self._records: OrderedDict[tuple[str, str | None, int], Publication] = OrderedDict()
        self._resources = contextlib.ExitStack()
        self._opened: dict[type, Any] = {}

    def close(self) -> None:
        """Close the resources that steps opened."""
        self._resources.close()

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
            state, error = "failed", describe_error(_user_error(task, failure))
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
        if base.publication is not None and _is_same_work(base.publication, task):
            return "unchanged", base.publication, (), None
        value = self._compute(asset, task, self._load_arguments(asset, task, report))
        staging = self.versions.stage(task.asset, task.partition)
        try:
            manager = self.manager(asset)
            with _user_iterator_errors(task):
                value, contract_outcomes = _conform(asset, value)
            blocking = [outcome for outcome in contract_outcomes if outcome.is_blocking]
            written: Written | None = None
            checks: tuple[CheckOutcome, ...] = tuple(contract_outcomes)
            if not blocking:
                with _user_iterator_errors(task):
                    written = manager.write(value, staging)
                staging.verify()
                checks += self._audit(asset, task, staging, manager)
                blocking = [outcome for outcome in checks if outcome.is_blocking]
            if blocking:
                return "blocked", None, checks, _blocked_error(task, blocking, staging)
            if report.abandoned:
                staging.discard()
                return "cancelled", None, checks, None
            draft = _draft(task, staging, manager, written, checks)
            return "succeeded", self.versions.publish(draft, base), checks, None
        except SupersededError as signal:
            staging.discard()
            if _is_same_work(signal.winner, task):
                return "unchanged", signal.winner, (), None
            return "superseded", signal.winner, (), _superseded_error(task, signal.winner)
        except AssetlineError:
            with contextlib.suppress(StorageError):
                staging.discard()
            raise

    def _load_arguments(self, asset: Asset, task: StepTask, report: ReportSink) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            item.parameter: self.load_input(
                task.inputs[item.parameter],
                item.annotation,
                item.columns,
                by_partition=self._reads_many(asset, item),
            )
            for item in asset.inputs
        }
        if asset.has_context:
            arguments[asset.context_parameter] = self._context(asset, task, report)
        if asset.config_model is not None:
            arguments["config"] = self._config[asset.key]
        for parameter, kind in asset.resources.items():
            arguments[parameter] = self._resource(parameter, kind)
        return arguments

    def _reads_many(self, asset: Asset, item: Input) -> bool:
        upstream = self.project.assets[item.asset]
        if upstream.partitions is None:
            return False
        mapping = item.mapping or default_mapping(asset.partition_space, upstream.partition_space)
        return mapping.reads_many

    def load_input(
        self, use: InputUse, annotation: Any, columns: Sequence[str] | None, *, by_partition: bool = False
    ) -> Any:
        """Read exactly the pinned versions of one input as the annotated type."""
        upstream = self.project.assets[use.asset]
        sources: list[tuple[str | None, FileSource]]
        if upstream.function is None:
            from assets_core.planning.external import ExternalFiles

            sources = [(key, ExternalFiles(upstream, key)) for key, _ in use.partitions]
        else:
            sources = [
                (key, self.versions.files(self._record(use.asset, key, seq))) for key, seq in use.partitions
            ]
        return load_value(self.manager(upstream), sources, annotation, columns, by_partition=by_partition)

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
            chosen = asset.io_manager if asset.io_manager is not None else io_manager_name_for(asset.output)
            found = self._managers[asset.key] = load_io_manager(chosen)
        return found

    def _context(self, asset: Asset, task: StepTask, report: ReportSink) -> Any:
        from assets_core.definition.context import Context

        space = asset.partition_space
        window = getattr(space, "window", None)
        return Context(
            asset=asset.key,
            partition=task.partition,
            partitions=(task.partition,),
            window=window(space.ordinal(task.partition)) if window is not None else None,
            run_id=task.run_id,
            attempt=task.attempt,
            branch=self.versions.branch,
            log=StepLogger(
                asset.key, lambda at, level, text: report(StepLog(task.step, task.attempt, at, level, text))
            ),
            config=self._config.get(asset.key),
        )

    def _resource(self, parameter: str, kind: type) -> Any:
        found = self._opened.get(kind)
        if found is None:
            from assets_core.project.resources import open_resource

            found = self._opened[kind] = open_resource(self.environment, parameter, kind, self._resources)
        return found

    def _compute(self, asset: Asset, task: StepTask, arguments: dict[str, Any]) -> Any:
        try:
            return asset.invoke(arguments)
        except (Exception, SystemExit) as error:
            raise _user_error(task, error) from error

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
        pinned = () if head is None else ((partition, head.seq),)
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


@contextlib.contextmanager
def _user_iterator_errors(task: StepTask) -> Iterator[None]:
    """An asset that yields runs while its value is written: what its code raises there is the user's."""
    try:
        yield
    except AssetlineError:
        raise
    except (Exception, SystemExit) as error:
        if _user_frames(error):
            raise _user_error(task, error) from error
        raise _write_error(task, error) from error


def _write_error(task: StepTask, error: BaseException) -> AssetlineError:
    return UserCodeError(
        "value-not-writable",
        f"the value of {format_asset_partition(task.asset, task.partition)} cannot be stored.",
        why=f"{type(error).__name__}: {error}",
        do="return a value of the annotated type that its format can hold.",
    )


def _user_error(task: StepTask, error: BaseException) -> UserCodeError:
    name = format_asset_partition(task.asset, task.partition)
    frames = _user_frames(error)
    at = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    failure = UserCodeError(
        "asset-called-exit" if isinstance(error, SystemExit) else "asset-raised",
        f"the function of {name} "
        + ("called sys.exit" if isinstance(error, SystemExit) else f"raised {type(error).__name__}")
        + f"{at}.",
        why=str(error) or type(error).__name__,
        do=f"mend the function; `assetline runs logs {task.run_id}` has the traceback.",
        left="nothing: no version was published.",
    )
    failure.__cause__ = error
    return failure


_OWN_FOLDERS = tuple(
    __file__.replace("\\", "/").rsplit("/", 3)[0] + f"/{name}/" for name in ("assets_core", "io_managers")
)


def _user_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Frames of the traceback from the first one outside this framework on."""
    frames = list(traceback.extract_tb(error.__traceback__))
    for index, frame in enumerate(frames):
        if not frame.filename.replace("\\", "/").startswith(_OWN_FOLDERS):
            return frames[index:]
    return []


def describe_error(error: AssetlineError) -> StepError:
    """An error as it travels to the coordinator."""
    cause = error.__cause__
    text = ""
    if isinstance(error, UserCodeError) and cause is not None:
        frames = _user_frames(cause)
        text = "".join(traceback.format_list(frames) + traceback.format_exception_only(cause))
    return StepError(
        type(error).__name__,
        error.code,
        str(error),
        text,
        error.retryable if isinstance(error, StorageError) else isinstance(error, UserCodeError),
    )


def _blocked_error(task: StepTask, blocking: Sequence[CheckOutcome], staging: Staging) -> StepError:
    name = format_asset_partition(task.asset, task.partition)
    first = blocking[0]
    more = f" and {len(blocking) - 1} more" if len(blocking) > 1 else ""
    left = f"staged data kept at {staging.folder}; " if staging.files else ""
    error = CheckFailedError(
        "blocking-check",
        f"{name} was not published: check '{first.check}'{more} failed: {first.observed}.",
        why=f"expected {first.expected}.",
        do=f"mend the data or the check, then `assetline materialize {task.asset}`.",
        left=f"{left}readers still see "
        + (f"version v{task.base}." if task.base else "nothing: there is no earlier version."),
    )
    return StepError(type(error).__name__, error.code, str(error), retryable=False)


def _superseded_error(task: StepTask, winner: Publication) -> StepError:
    name = format_asset_partition(task.asset, task.partition)
    return StepError(
        "ConflictError",
        "superseded",
        f"ConflictError[superseded]: {name} was published by somebody else first.\n"
        f"  why: run {winner.run_id} published v{winner.seq} while this step computed, from other code or inputs.\n"
        "  do:  run the command again; it plans on the new version.",
        retryable=False,
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
    )
