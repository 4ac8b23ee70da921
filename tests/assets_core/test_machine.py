"""The rules of the scheduler, one by one."""

import random
import tracemalloc
from collections.abc import Iterable

import pytest

from assets_core.definition.policies import NO_RETRY, Retry
from assets_core.engine.machine import (
    STEP_STATES,
    TRANSITIONS,
    CancelRequested,
    CancelStep,
    CapacityChanged,
    Command,
    FinishRun,
    RunMachine,
    StartStep,
    StepEnded,
    StepGraph,
    TimePassed,
    WakeAt,
    backoff_s,
)
from assets_core.errors import InternalError

DIAMOND = [[], [0], [0], [1, 2]]
THRICE = Retry(max_attempts=3, delay="10s", factor=2.0, jitter=0.0)


def machine(
    upstream: Iterable[Iterable[int]],
    *,
    capacity: int = 10,
    policy: Retry = NO_RETRY,
    keep_going: bool = False,
) -> RunMachine:
    return RunMachine(
        StepGraph.from_upstream(upstream),
        capacity=capacity,
        policies=(policy,),
        keep_going=keep_going,
        rng=random.Random(0),
    )


def started(commands: list[Command]) -> list[int]:
    return [command.step for command in commands if isinstance(command, StartStep)]


def test_a_run_without_steps_succeeds_at_once() -> None:
    assert machine([]).start(0.0) == [FinishRun("succeeded")]


def test_a_step_starts_when_the_last_of_its_upstream_steps_has_ended_well() -> None:
    m = machine(DIAMOND)
    assert m.start(0.0) == [StartStep(0, 1)]
    assert m.state(1) == "pending"
    assert started(m.on(StepEnded(0, 1, "succeeded"), 1.0)) == [1, 2]
    assert m.on(StepEnded(2, 1, "unchanged"), 2.0) == []
    assert m.on(StepEnded(1, 1, "succeeded"), 3.0) == [StartStep(3, 1)]
    assert m.on(StepEnded(3, 1, "succeeded"), 4.0) == [FinishRun("succeeded")]
    assert m.counts() == {"succeeded": 3, "unchanged": 1}


def test_no_more_steps_start_than_there_are_places() -> None:
    m = machine([[]] * 5, capacity=2)
    assert started(m.start(0.0)) == [0, 1]
    assert m.counts() == {"queued": 3, "running": 2}
    assert started(m.on(StepEnded(1, 1, "succeeded"), 1.0)) == [2]


def test_places_that_come_are_filled_and_places_that_go_stop_nothing_that_runs() -> None:
    m = machine([[]] * 6, capacity=1)
    assert started(m.start(0.0)) == [0]
    assert started(m.on(CapacityChanged(3), 0.0)) == [1, 2]
    assert started(m.on(CapacityChanged(2), 0.0)) == []
    assert started(m.on(StepEnded(0, 1, "succeeded"), 0.0)) == []
    assert started(m.on(StepEnded(1, 1, "succeeded"), 0.0)) == [3]


def test_the_longest_chain_goes_first_and_equals_in_their_order() -> None:
    m = machine([[], [], [], [2], [3]], capacity=1)
    order = started(m.start(0.0))
    while len(order) < 5:
        order += started(m.on(StepEnded(order[-1], 1, "succeeded"), 0.0))
    assert order == [2, 3, 0, 1, 4]


def test_a_failed_step_stops_the_run_and_running_steps_finish() -> None:
    m = machine([[], [], [], [1]], capacity=2)
    m.start(0.0)
    assert m.on(StepEnded(0, 1, "failed"), 1.0) == []
    assert [m.state(step) for step in range(4)] == ["failed", "running", "skipped", "skipped"]
    assert m.on(StepEnded(1, 1, "succeeded"), 2.0) == [FinishRun("failed")]
    assert m.counts() == {"succeeded": 1, "failed": 1, "skipped": 2}


def test_keep_going_runs_all_that_does_not_depend_on_the_failed_step() -> None:
    m = machine([[], [], [0], [2], [1]], capacity=1, keep_going=True)
    assert started(m.start(0.0)) == [0]
    assert started(m.on(StepEnded(0, 1, "failed"), 1.0)) == [1]
    assert list(m.steps_in("skipped")) == [2, 3]
    assert started(m.on(StepEnded(1, 1, "succeeded"), 2.0)) == [4]
    assert m.on(StepEnded(4, 1, "succeeded"), 3.0) == [FinishRun("failed")]


def test_a_blocked_step_stops_only_its_downstream_even_without_keep_going() -> None:
    m = machine([[], [], [0], [1]], capacity=1)
    m.start(0.0)
    assert started(m.on(StepEnded(0, 1, "blocked"), 1.0)) == [1]
    assert started(m.on(StepEnded(1, 1, "succeeded"), 2.0)) == [3]
    assert m.on(StepEnded(3, 1, "succeeded"), 3.0) == [FinishRun("blocked")]
    assert m.state(2) == "skipped"


def test_a_superseded_step_is_not_retried_and_fails_the_run() -> None:
    m = machine([[], [0]], policy=THRICE, keep_going=True)
    m.start(0.0)
    assert m.on(StepEnded(0, 1, "superseded"), 1.0) == [FinishRun("failed")]
    assert [m.state(0), m.state(1)] == ["superseded", "skipped"]


@pytest.mark.parametrize("state", ["failed", "lost"])
def test_a_failed_or_lost_try_is_repeated_after_growing_waits(state: str) -> None:
    m = machine([[]], policy=THRICE)
    m.start(0.0)
    assert m.on(StepEnded(0, 1, state), 100.0) == [WakeAt(110.0)]  # type: ignore[arg-type]
    assert m.state(0) == "retrying"
    assert m.on(TimePassed(), 109.9) == []
    assert m.on(TimePassed(), 110.0) == [StartStep(0, 2)]
    assert m.on(StepEnded(0, 2, state), 200.0) == [WakeAt(220.0)]  # type: ignore[arg-type]
    assert m.on(TimePassed(), 221.0) == [StartStep(0, 3)]
    assert m.on(StepEnded(0, 3, state), 222.0) == [FinishRun("failed")]  # type: ignore[arg-type]
    assert (m.state(0), m.attempt(0)) == ("failed", 3)


def test_a_lost_step_without_retries_fails() -> None:
    m = machine([[]])
    m.start(0.0)
    assert m.on(StepEnded(0, 1, "lost"), 0.0) == [FinishRun("failed")]
    assert m.state(0) == "failed"


def test_an_error_that_no_retry_can_help_is_not_retried() -> None:
    m = machine([[]], policy=THRICE)
    m.start(0.0)
    assert m.on(StepEnded(0, 1, "failed", retryable=False), 0.0) == [FinishRun("failed")]


def test_a_step_waiting_for_its_retry_has_failed_when_the_run_stops() -> None:
    m = machine([[], [], []], policy=THRICE)
    m.start(0.0)
    m.on(StepEnded(0, 1, "failed"), 0.0)
    m.on(StepEnded(1, 1, "failed", retryable=False), 0.0)
    assert m.state(0) == "failed"
    assert m.on(StepEnded(2, 1, "failed"), 0.0) == [FinishRun("failed")]


def test_a_retry_that_is_due_but_has_no_place_has_failed_when_the_run_stops() -> None:
    m = machine([[], [], []], capacity=2, policy=Retry(2, delay=0, jitter=0.0))
    m.start(0.0)
    assert started(m.on(StepEnded(1, 1, "failed"), 0.0)) == [1]
    m = machine([[], [1 - 1], []], capacity=1, policy=Retry(2, delay="5s", jitter=0.0))
    m.start(0.0)
    m.on(StepEnded(0, 1, "failed"), 0.0)
    m.on(TimePassed(), 6.0)
    assert (m.state(0), m.state(2)) == ("queued", "running")
    assert m.on(StepEnded(2, 1, "failed", retryable=False), 7.0) == [FinishRun("failed")]
    assert [m.state(step) for step in range(3)] == ["failed", "skipped", "failed"]


def test_the_wake_is_asked_for_anew_when_an_earlier_retry_comes() -> None:
    m = machine([[], []], policy=THRICE)
    m.start(0.0)
    assert m.on(StepEnded(0, 1, "failed"), 50.0) == [WakeAt(60.0)]
    assert m.on(StepEnded(1, 1, "failed"), 40.0) == [WakeAt(50.0)]
    assert m.on(TimePassed(), 50.0) == [StartStep(1, 2), WakeAt(60.0)]


def test_late_and_double_outcomes_change_nothing() -> None:
    m = machine([[], [0]], policy=THRICE)
    m.start(0.0)
    m.on(StepEnded(0, 1, "lost"), 0.0)
    assert m.on(StepEnded(0, 1, "succeeded"), 1.0) == []
    assert m.state(0) == "retrying"
    assert m.on(TimePassed(), 10.0) == [StartStep(0, 2)]
    assert m.on(StepEnded(0, 1, "succeeded"), 11.0) == []
    assert m.state(0) == "running"
    assert m.on(StepEnded(0, 2, "succeeded"), 12.0) == [StartStep(1, 1)]
    assert m.on(StepEnded(0, 2, "failed"), 13.0) == []
    assert m.state(0) == "succeeded"
    assert m.on(StepEnded(-1, 1, "failed"), 13.0) == []
    assert m.on(StepEnded(1, 1, "succeeded"), 14.0) == [FinishRun("succeeded")]
    assert m.on(StepEnded(1, 1, "failed"), 15.0) == []


def test_cancel_calls_off_what_waits_and_lets_running_steps_finish() -> None:
    m = machine([[], [], [], [0]], capacity=2, policy=THRICE)
    m.start(0.0)
    m.on(StepEnded(1, 1, "failed"), 0.0)
    assert m.on(CancelRequested(), 1.0) == []
    assert [m.state(step) for step in range(4)] == ["running", "cancelled", "running", "cancelled"]
    assert m.on(StepEnded(2, 1, "failed"), 1.0) == []
    assert m.state(2) == "failed"
    assert m.on(StepEnded(0, 1, "succeeded"), 1.0) == [FinishRun("failed")]


def test_cancel_with_kill_asks_running_steps_to_stop_and_takes_lost_for_cancelled() -> None:
    m = machine([[], [], []], capacity=2)
    m.start(0.0)
    assert m.on(CancelRequested(), 1.0) == []
    assert m.on(CancelRequested(kill=True), 1.0) == [CancelStep(0, 1), CancelStep(1, 1)]
    assert m.on(StepEnded(0, 1, "lost"), 1.0) == []
    assert m.on(StepEnded(1, 1, "cancelled"), 1.0) == [FinishRun("cancelled")]
    assert m.counts() == {"cancelled": 3}


def test_a_cancel_that_comes_when_everything_runs_to_its_end_leaves_a_good_run() -> None:
    m = machine([[]])
    m.start(0.0)
    m.on(CancelRequested(), 0.0)
    assert m.on(StepEnded(0, 1, "succeeded"), 0.0) == [FinishRun("succeeded")]


def test_every_pair_of_states_is_allowed_exactly_when_the_table_says_so() -> None:
    for before_code, before in enumerate(STEP_STATES):
        for after_code, after in enumerate(STEP_STATES):
            m = machine([[]])
            m._states[0] = before_code
            if after in TRANSITIONS.get(before, ()):
                m._move(0, after_code)
                assert m.state(0) == after
            else:
                with pytest.raises(InternalError, match=f"from {before} to {after}"):
                    m._move(0, after_code)


def test_waits_grow_up_to_their_bound_and_chance_takes_its_share() -> None:
    policy = Retry(max_attempts=100_000, delay="1s", factor=2.0, max_delay="1m", jitter=0.5)
    assert [backoff_s(policy, attempt, 0.0) for attempt in (1, 2, 3, 7, 5000)] == [1, 2, 4, 60, 60]
    assert backoff_s(policy, 3, 1.0) == 2.0


@pytest.mark.parametrize("upstream", [[[0]], [[1], []], [[], [-1]]])
def test_steps_out_of_order_are_refused(upstream: list[list[int]]) -> None:
    with pytest.raises(InternalError, match="steps-out-of-order"):
        machine(upstream)


def test_a_capacity_of_nothing_is_refused() -> None:
    with pytest.raises(InternalError, match="machine-arguments"):
        machine([[]], capacity=0)


def test_the_graph_seen_from_above_has_the_same_edges() -> None:
    rng = random.Random(7)
    upstream = [[s for s in range(step) if rng.random() < 0.3] for step in range(30)]
    below = StepGraph.from_upstream(upstream).reversed()
    assert {(up, step) for up in range(30) for step in below.upstream(up)} == {
        (up, step) for step in range(30) for up in upstream[step]
    }


def test_a_waiting_step_takes_less_than_100_bytes() -> None:
    n = 2_000
    upstream = [[] if step < 100 else [step - 100, step - 99] for step in range(n)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        m = machine(upstream, capacity=50)
        m.start(0.0)
        per_step = (tracemalloc.get_traced_memory()[0] - before) / n
    finally:
        tracemalloc.stop()
    assert m.counts() == {"running": 50, "queued": 50, "pending": n - 100}
    assert per_step < 100
