"""Carrying a plan out: the run's record and marks, its executor, its result.

Launcher.run -> open the executor -> record and mark the run -> Runner.run -> RunResult
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from assets_core.errors import AssetlineError, StorageError
from assets_core.state.rows import RunStart
from io_managers.versions.blocked import BlockedTries
from io_managers.versions.runs import RunMark, RunMarks
from io_managers.versions.store import VersionStore, new_id

if TYPE_CHECKING:
    from assets_core.engine.executor import Executor, Report
    from assets_core.engine.runner import StepFailure
    from assets_core.planning.plan import Plan, PlannedStep
    from assets_core.planning.snapshot import Snapshot
    from assets_core.project.environment import Environment
    from assets_core.project.project import Project
    from assets_core.state.store import StateStore

#: Runs that this process carries out now: nobody here may take them for dead.
RUNNING: set[str] = set()
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


@dataclass(frozen=True)
class RunLaunch:
    """How a plan is to be run.

    Attributes:
        select: What was asked for, for people; so is `partitions`.
        executor: Kind of executor.
        workers: How many; None for the environment's number, or one for each processor.
        raw_config: Run configuration by asset key as workers get it, secrets unresolved.
        config: The same, validated.
    """

    select: tuple[str, ...]
    partitions: str | None
    executor: str
    workers: int | None
    keep_going: bool
    raw_config: Mapping[str, Mapping[str, object]]
    config: dict[str, Any]


@dataclass(frozen=True)
class Launcher:
    """Runs plans of one project in one environment."""

    project: Project
    environment: Environment
    branch: str
    state: StateStore

    def run(
        self, launch: RunLaunch, plan: Plan, snapshot: Snapshot, observer: RunObserver | None
    ) -> RunResult:
        """Carry a plan out to its end; a plan without steps is recorded all the same."""
        run_id = new_id()
        started = time.time()
        start = RunStart(
            run_id=run_id,
            project=self.project.reference or self.project.name,
            branch=self.branch,
            started_at=started,
            n_steps=plan.n_steps,
            selection=" ".join([*launch.select, *(["-p", launch.partitions] if launch.partitions else [])]),
            executor=launch.executor,
            pid=os.getpid(),
            host=socket.gethostname(),
        )
        held = "blocked" if plan.n_blocked else "succeeded"
        result = RunResult(run_id, held, _no_steps(plan), time.time() - started)
        RUNNING.add(run_id)
        try:
            # the executor is opened first: a request that it refuses leaves no run behind
            with self._opened_executor(run_id, launch, plan, snapshot) as opened:
                self.state.start_run(start)
                if observer is not None:
                    observer.run_started(run_id, plan)
                if opened is not None:
                    result = self._carry_out(start, launch, plan, snapshot, opened, observer)
            self.state.finish_run(run_id, result.status, time.time(), result.steps)
        except BaseException as error:
            self._break_off(run_id, error)
            raise
        finally:
            RUNNING.discard(run_id)
        if observer is not None:
            observer.run_finished(result)
        return result

    def _carry_out(
        self,
        start: RunStart,
        launch: RunLaunch,
        plan: Plan,
        snapshot: Snapshot,
        opened: Executor,
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
            VersionStore(self.environment.storage, self.branch),
            BlockedTries(self.environment.storage, self.branch),
            keep_going=launch.keep_going,
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
        launch: RunLaunch,
        plan: Plan,
        snapshot: Snapshot,
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
            config={key: dict(values) for key, values in launch.raw_config.items()},
            now=snapshot.now.timestamp(),
        )
        runner = ProjectStepRunner(
            self.project, self.environment, branch=self.branch, config=launch.config, now=snapshot.now
        )
        workers = launch.workers
        if workers is None:
            workers = int(self.environment.executor.get("workers", 0)) or os.cpu_count() or 1
        opened = open_executor(launch.executor, job, lambda: runner, workers)
        finished = False
        try:
            yield opened
            finished = True
        finally:
            opened.close(kill=not finished)
            runner.close()
