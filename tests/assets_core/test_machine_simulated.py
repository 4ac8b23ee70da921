"""Thousands of seeded histories keep the scheduler's promises, and broken schedulers are found out."""

from collections import Counter

import pytest

from assets_core.engine.machine import (
    _CANCELLED,
    _FAILED,
    _PENDING,
    _QUEUED,
    _RETRYING,
    _SKIPPED,
    _SUCCEEDED,
    CancelStep,
    Command,
    FinishRun,
    RunMachine,
    RunStatus,
    StepEnded,
    StepGraph,
)
from assets_core.engine.simulate import (
    BrokenPromiseError,
    Scenario,
    predict,
    random_scenario,
    simulate,
)
from assets_core.errors import InternalError
from tests.support.profiles import scale

SEEDS_A_TEST = scale(200)


@pytest.mark.parametrize("block", range(20))
def test_every_history_keeps_the_promises(block: int) -> None:
    for seed in range(block * SEEDS_A_TEST, (block + 1) * SEEDS_A_TEST):
        simulate(random_scenario(seed))


def test_the_histories_reach_every_end_and_every_status() -> None:
    ends: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    for seed in range(max(SEEDS_A_TEST, 200)):
        run = simulate(random_scenario(seed))
        ends.update(run.counts)
        statuses[run.status] += 1
    assert min(statuses[status] for status in ("succeeded", "failed", "blocked", "cancelled")) >= 5
    states = ("succeeded", "unchanged", "failed", "blocked", "skipped", "cancelled", "superseded")
    assert min(ends[state] for state in states) >= 5


def test_the_same_seed_gives_the_same_history() -> None:
    assert [simulate(random_scenario(seed)) for seed in range(50)] == [
        simulate(random_scenario(seed)) for seed in range(50)
    ]


def test_a_prediction_adds_up() -> None:
    chain = StepGraph.from_upstream([[], [0], [], []])
    run = predict(Scenario(chain, durations_s=[4.0, 4.0, 3.0, 3.0], capacity=2))
    assert (run.makespan_s, run.busy_s, run.attempts, run.status) == (8.0, 14.0, 4, "succeeded")


class AcceptsAnyAttempt(RunMachine):
    def _is_current(self, step: int, attempt: int) -> bool:
        return self.state(step) == "running"


class StartsBeforeTheLastUpstream(RunMachine):
    def _release_below(self, step: int) -> None:
        for below in self._below.upstream(step):
            if self._states[below] == _PENDING:
                self._queue(below)


class OverfillsByOne(RunMachine):
    def _fill_places(self, commands: list[Command]) -> None:
        self._capacity += 1
        super()._fill_places(commands)
        self._capacity -= 1


class LeavesAPlaceFree(RunMachine):
    def _fill_places(self, commands: list[Command]) -> None:
        if not self._counts[_SUCCEEDED]:
            super()._fill_places(commands)


class TriesOnceTooOften(RunMachine):
    def _may_retry(self, step: int) -> bool:
        policy = self._policies[self._policy_of[step]]
        return not self._is_stopping and self._attempts[step] <= policy.max_attempts


class RetriesAfterTheStop(RunMachine):
    def _may_retry(self, step: int) -> bool:
        return self._attempts[step] < self._policies[self._policy_of[step]].max_attempts


class RetriesWithoutWaiting(RunMachine):
    def _retry_later(self, step: int, now: float) -> None:
        super()._retry_later(step, now - 1000.0)


class ForgetsToWake(RunMachine):
    def _ask_to_wake(self, commands: list[Command]) -> None:
        pass


class SkipsOnlyOneLevel(RunMachine):
    def _skip_below(self, step: int) -> None:
        for below in self._below.upstream(step):
            if self._states[below] == _PENDING:
                self._move(below, _SKIPPED)


class GoesOnAfterAFailure(RunMachine):
    def _stop(self) -> None:
        pass


class StopsForABlockedStep(RunMachine):
    def _on_ended(self, event: StepEnded, now: float) -> None:
        super()._on_ended(event, now)
        if event.state == "blocked" and not self._keep_going:
            self._stop()


class ForgetsFailuresWhenItStops(RunMachine):
    def _stop(self) -> None:
        self._is_stopping = True
        self._end_waiting({_PENDING: _SKIPPED, _QUEUED: _SKIPPED, _RETRYING: _FAILED})


class IgnoresThePriority(RunMachine):
    def _rank(self, step: int) -> int:
        return step


class CancelsTooLittle(RunMachine):
    def _on_cancel(self, kill: bool, commands: list[Command]) -> None:
        self._is_stopping = True
        self._end_waiting({_PENDING: _CANCELLED, _RETRYING: _CANCELLED})


class ForgetsToKill(RunMachine):
    def _on_cancel(self, kill: bool, commands: list[Command]) -> None:
        super()._on_cancel(kill, commands)
        commands[:] = [command for command in commands if not isinstance(command, CancelStep)]


class FinishesTooEarly(RunMachine):
    def _is_done(self) -> bool:
        return not (self._ready or self._retries)


class FinishesTwice(RunMachine):
    def on(self, event: object, now: float) -> list[Command]:
        if self._is_finished:
            return [FinishRun(self.status)]
        return super().on(event, now)  # type: ignore[arg-type]


class HidesFailures(RunMachine):
    @property
    def status(self) -> RunStatus:
        return "succeeded" if self._counts[_SUCCEEDED] else super().status


MUTANTS = [
    AcceptsAnyAttempt,
    StartsBeforeTheLastUpstream,
    OverfillsByOne,
    LeavesAPlaceFree,
    TriesOnceTooOften,
    RetriesAfterTheStop,
    RetriesWithoutWaiting,
    ForgetsToWake,
    SkipsOnlyOneLevel,
    GoesOnAfterAFailure,
    StopsForABlockedStep,
    ForgetsFailuresWhenItStops,
    IgnoresThePriority,
    CancelsTooLittle,
    ForgetsToKill,
    FinishesTooEarly,
    FinishesTwice,
    HidesFailures,
]


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_simulation_finds_a_scheduler_that_breaks_a_rule(mutant: type[RunMachine]) -> None:
    def play_all() -> None:
        for seed in range(1000):
            simulate(random_scenario(seed), mutant)

    with pytest.raises((BrokenPromiseError, InternalError), match=r"seed \d+|illegal-transition"):
        play_all()
