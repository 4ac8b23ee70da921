"""The shell around the pure machine: feeds it with events, carries out its commands, and records what happened.

Runner.run -> machine.start -> [_carry_out -> executor.poll -> _take -> machine.on]* -> RunSummary
"""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import TYPE_CHECKING, Protocol

from assets_core.engine.executor import StepError, StepLog, StepOutcome, StepStarted, StepTask
from assets_core.engine.machine import (
    TRANSITIONS,
    CancelRequested,
    CancelStep,
    CapacityChanged,
    FinishRun,
    RunMachine,
    StartStep,
    StepEnded,
    TimePassed,
    WakeAt,
)
from assets_core.engine.schedule import RunSchedule
from assets_core.errors import AssetlineError, StorageError
from assets_core.planning.fingerprint import format_hash
from assets_core.state.rows import Checked, Published, StepChanged
from io_managers.versions.blocked import BlockedTry
from io_managers.versions.store import Head

if TYPE_CHECKING:
    from assets_core.definition.check_outcome import CheckOutcome
    from assets_core.engine.executor import Executor, Report
    from assets_core.engine.machine import Command, StepState
    from assets_core.engine.run_log import RunLog
    from assets_core.planning.plan import PlannedStep
    from assets_core.planning.snapshot import Snapshot
    from assets_core.state.rows import Change
    from assets_core.state.store import StateStore
    from io_managers.versions.blocked import BlockedTries
    from io_managers.versions.publication import InputUse
    from io_managers.versions.store import VersionStore

_FLUSH_EVERY_S = 0.1
_FLUSH_EVERY_CHANGES = 512
#: Errors of tries that were stopped at an instant of which nothing is known.
_STOPPED_CODES = frozenset({"step-timeout", "outcome-unknown"})
_POLL_S = 0.25


@dataclass(frozen=True)
class StepFailure:
    """A step that did not end well, for people and for `RunResult.failures`."""

    asset: str
    partition: str | None
    state: str
    error: StepError | None
    checks: tuple[CheckOutcome, ...] = ()


@dataclass
class RunSummary:
    """How a run ended: `status` is succeeded, failed, blocked or cancelled; `counts` has every final step state."""

    status: str
    counts: Mapping[StepState, int]
    failures: list[StepFailure] = field(default_factory=list)


class StepObserver(Protocol):
    """Is told of every report as it arrives."""

    def report(self, step: PlannedStep, report: Report) -> None:
        """One step started, logged or ended."""
        ...


class Runner:
    """Runs one schedule on one executor."""

    def __init__(
        self,
        run_id: str,
        schedule: RunSchedule,
        snapshot: Snapshot,
        executor: Executor,
        state: StateStore,
        log: RunLog,
        versions: VersionStore,
        blocked: BlockedTries,
        *,
        keep_going: bool,
        observer: StepObserver | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run_id = run_id
        self._schedule = schedule
        self._snapshot = snapshot
        self._executor = executor
        self._state = state
        self._log = log
        self._versions = versions
        self._blocked = blocked
        self._observer = observer
        self._clock = clock
        self._capacity = executor.capacity
        self._machine = RunMachine(
            schedule.graph,
            policies=schedule.policies,
            policy_of=schedule.policy_of,
            capacity=self._capacity,
            keep_going=keep_going,
            rng=random.Random(run_id),
        )
        self._resolved: dict[int, dict[str, InputUse]] = {}
        self._ended: list[tuple[int, int, StepOutcome]] = []
        self._changes: list[Change] = []
        self._flushed_at = clock()
        self._wake_at: float | None = None
        self._status: str | None = None
        self._interrupts = 0
        self._interrupts_seen = 0
        self._is_polling = False
        self._failures: list[StepFailure] = []
        self._retrying: dict[int, StepOutcome] = {}

    def run(self) -> RunSummary:
        """Run every step to its end; Ctrl-C stops cleanly, a second one at once."""
        with self._interruptible():
            self._carry_out(self._machine.start(self._clock()))
            while self._status is None:
                self._turn()
        self._settle_the_rest()
        self._flush()
        self._log.close()
        return RunSummary(self._status, dict(self._machine.counts()), self._failures)

    def _turn(self) -> None:
        self._heed_interrupts()
        settled, self._ended = self._ended, []
        for step, attempt, outcome in settled:
            self._end(step, attempt, outcome)
        if settled:
            return
        timeout = _POLL_S if self._wake_at is None else max(0.0, min(_POLL_S, self._wake_at - self._clock()))
        reports = self._poll(timeout)
        self._heed_interrupts()  # first: what has ended must not start what was called off meanwhile
        for report in reports:
            self._take(report)
        now = self._clock()
        capacity = self._executor.capacity
        if capacity != self._capacity:
            self._capacity = capacity
            self._carry_out(self._machine.on(CapacityChanged(capacity), now))
        if self._wake_at is not None and now >= self._wake_at:
            self._wake_at = None
            self._carry_out(self._machine.on(TimePassed(), now))
        if len(self._changes) >= _FLUSH_EVERY_CHANGES or now - self._flushed_at > _FLUSH_EVERY_S:
            self._flush()

    def _poll(self, timeout_s: float) -> list[Report]:
        """What the executor reports; a step that runs within `poll` may be interrupted there."""
        self._is_polling = True
        try:
            return self._executor.poll(timeout_s)
        except KeyboardInterrupt:
            if self._interrupts > 2:
                raise
            self._interrupts = max(self._interrupts, 2)  # the step's own code may have raised it
            return []
        finally:
            self._is_polling = False

    def _heed_interrupts(self) -> None:
        interrupts = self._interrupts
        if interrupts > self._interrupts_seen:
            self._interrupts_seen = interrupts
            self._carry_out(self._machine.on(CancelRequested(kill=interrupts > 1), self._clock()))

    def _carry_out(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case StartStep(step, attempt):
                    self._start(step, attempt)
                case CancelStep(step, attempt):
                    self._executor.cancel(step, attempt)
                case WakeAt(at):
                    self._wake_at = at
                case FinishRun(status):
                    self._status = status

    def _start(self, step: int, attempt: int) -> None:
        """Resolve a step's inputs and hand it to a worker, unless they turn out to be what they were."""
        key, ordinal = self._schedule.asset_of(step), self._schedule.ordinal_of(step)
        snapshot = self._snapshot
        state = snapshot.state(key)
        resolved = snapshot.resolve(key, ordinal)
        if self._schedule.reason_of(step) == "input_changed" and snapshot.is_current(key, ordinal, resolved):
            self._ended.append((step, attempt, StepOutcome(step, attempt, "unchanged")))
            return
        self._resolved[step] = resolved
        versions = snapshot.versions(key)
        task = StepTask(
            self._run_id,
            step,
            attempt,
            key,
            snapshot.space(key).key(ordinal),
            int(state.taken[ordinal]),
            state.hash_of_record(ordinal),
            versions.code,
            versions.config,
            resolved,
            snapshot.asset(key).timeout_s,
        )
        try:
            self._executor.submit(task)
        except AssetlineError as error:
            failure = StepError(type(error).__name__, error.code, str(error), retryable=False)
            self._ended.append((step, attempt, StepOutcome(step, attempt, "failed", error=failure)))

    def _take(self, report: Report) -> None:
        if self._observer is not None and not isinstance(report, StepOutcome):
            self._observer.report(self._schedule.planned(report.step), report)
        match report:
            case StepStarted():
                pass
            case StepLog():
                self._log.add(self._schedule.planned(report.step), report)
            case StepOutcome(step, attempt):
                self._end(step, attempt, self._settled(report))

    def _settled(self, outcome: StepOutcome) -> StepOutcome:
        """What a try came to that was stopped from outside: it may have published before."""
        code = outcome.error.code if outcome.error is not None else ""
        if outcome.state != "lost" and code not in _STOPPED_CODES:
            return outcome
        planned, key = self._schedule.planned(outcome.step), self._schedule.asset_of(outcome.step)
        known = int(self._snapshot.state(key).taken[self._schedule.ordinal_of(outcome.step)])
        try:
            found = self._versions.head_from(key, planned.partition, Head(known)).publication
        except StorageError:
            return outcome
        if found is None or found.seq <= known or found.run_id != self._run_id:
            return outcome
        return replace(outcome, state="succeeded", publication=found, error=None)

    def _end(self, step: int, attempt: int, outcome: StepOutcome) -> None:
        if self._is_over(step) or self._machine.attempt(step) != attempt:
            return
        schedule = self._schedule
        key, ordinal = schedule.asset_of(step), schedule.ordinal_of(step)
        now = time.time()
        state = self._snapshot.state(key)
        position = schedule.position_of(step)
        if outcome.publication is not None and outcome.publication.seq > int(state.taken[ordinal]):
            state.publish(ordinal, outcome.publication, now)
            self._changes.append(Published(self._run_id, position, outcome.publication))
        resolved = self._resolved.pop(step, None)
        self._carry_out(
            self._machine.on(
                StepEnded(step, attempt, outcome.state, outcome.error is None or outcome.error.retryable),
                self._clock(),
            )
        )
        if self._is_over(step):
            self._retrying.pop(step, None)
        else:
            self._retrying[step] = outcome
        planned = schedule.planned(step)
        basis = 0
        if outcome.state in ("failed", "blocked", "lost", "superseded"):
            basis = self._snapshot.basis(key, resolved) if resolved is not None else 0
            if outcome.state == "blocked":
                self._mark_blocked(planned, int(state.taken[ordinal]), basis, outcome.checks)
            if outcome.error is not None:
                self._log.add_error(planned, attempt, outcome.error)
            if self._is_over(step):
                self._failures.append(
                    StepFailure(key, planned.partition, outcome.state, outcome.error, outcome.checks)
                )
        self._changes.append(
            StepChanged(
                run_id=self._run_id,
                step=step,
                asset=key,
                partition=planned.partition,
                position=position,
                state=outcome.state if self._is_over(step) else "retrying",
                attempt=attempt,
                reason=planned.reason,
                at=now,
                duration_s=outcome.duration_s,
                cpu_s=outcome.cpu_s,
                basis=basis,
                error_code=outcome.error.code if outcome.error else "",
                error_message=outcome.error.message if outcome.error else "",
            )
        )
        self._changes += [
            Checked(
                run_id=self._run_id,
                asset=key,
                partition=planned.partition,
                position=position,
                check=item.check,
                status=item.status,
                severity=item.severity,
                observed=item.observed,
                expected=item.expected,
                at=now,
                sample=item.sample,
            )
            for item in outcome.checks
        ]
        if self._observer is not None:
            self._observer.report(planned, outcome)

    def _mark_blocked(
        self, planned: PlannedStep, base: int, basis: int, checks: Sequence[CheckOutcome]
    ) -> None:
        failing = tuple(
            {"check": item.check, "status": item.status, "observed": item.observed, "expected": item.expected}
            for item in checks
            if item.is_blocking
        )
        mark = BlockedTry(planned.asset, planned.partition, base, format_hash(basis), self._run_id, failing)
        # Without the mark a state database made anew tries again what is blocked: a pity, not a loss.
        with contextlib.suppress(StorageError):
            self._blocked.put(mark)

    def _is_over(self, step: int) -> bool:
        return self._machine.state(step) not in TRANSITIONS

    def _settle_the_rest(self) -> None:
        """Record the steps that ended without being tried, or without the next try that they waited for."""
        now = time.time()
        ends: tuple[StepState, ...] = ("skipped", "cancelled", "failed")
        for state, step in [(name, index) for name in ends for index in self._machine.steps_in(name)]:
            outcome = self._retrying.pop(step, None)
            attempt = self._machine.attempt(step)
            if attempt and outcome is None:
                continue
            planned = self._schedule.planned(step)
            error = outcome.error if outcome is not None else None
            if state == "failed" and outcome is not None:
                self._failures.append(
                    StepFailure(planned.asset, planned.partition, state, error, outcome.checks)
                )
            self._changes.append(
                StepChanged(
                    run_id=self._run_id,
                    step=step,
                    asset=planned.asset,
                    partition=planned.partition,
                    position=self._schedule.position_of(step),
                    state=state,
                    attempt=attempt,
                    reason=planned.reason,
                    at=now,
                    error_code=error.code if error else "",
                    error_message=error.message if error else "",
                )
            )

    def _flush(self) -> None:
        if self._changes:
            changes, self._changes = self._changes, []
            self._state.record(changes)
        self._log.flush()
        self._flushed_at = self._clock()

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Turn Ctrl-C and SIGTERM into a request to cancel, in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        runs_in_poll = getattr(self._executor, "runs_in_poll", False)

        def request(_number: int, _frame: FrameType | None) -> None:
            self._interrupts += 1
            if self._interrupts > 2 or (self._interrupts == 2 and runs_in_poll and self._is_polling):
                raise KeyboardInterrupt

        previous = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
