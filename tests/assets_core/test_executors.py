"""What every executor promises, and what those promise that can stop a step."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from assets_core.engine.executor import (
    Executor,
    Report,
    StepLog,
    StepOutcome,
    StepStarted,
    StepTask,
    WorkerJob,
)
from assets_core.executors.inline import InlineExecutor
from assets_core.executors.processes import ProcessesExecutor
from assets_core.executors.threads import ThreadsExecutor
from tests.assets_core.executor_steps import Steps

if TYPE_CHECKING:
    from assets_core.executors.dask import DaskExecutor

JOB = WorkerJob("run-1", "tests.assets_core.executor_steps", (), {})
PATIENCE_S = 20.0


def task(step: int, does: str, argument: str | None = None, **changes: object) -> StepTask:
    values: dict[str, object] = {
        "run_id": "run-1",
        "step": step,
        "attempt": 1,
        "asset": does,
        "partition": argument,
        "base": 0,
        "base_hash": "",
        "code_version": "",
        "config_version": "",
        "inputs": {},
    }
    return StepTask(**(values | changes))  # type: ignore[arg-type]


def poll_until(executor: Executor, holds: Callable[[list[Report]], object]) -> list[Report]:
    """All reports up to the moment when the condition holds."""
    reports: list[Report] = []
    deadline = time.monotonic() + PATIENCE_S
    while not holds(reports):
        assert time.monotonic() < deadline, f"waited in vain; so far: {reports}"
        reports += executor.poll(0.5)
    return reports


def outcomes(reports: list[Report]) -> list[StepOutcome]:
    return [report for report in reports if isinstance(report, StepOutcome)]


def run(executor: Executor, *tasks: StepTask) -> list[Report]:
    """All reports of tasks that are submitted as fast as the capacity lets them."""
    waiting = list(reversed(tasks))
    reports: list[Report] = []
    deadline = time.monotonic() + PATIENCE_S
    n_ended = 0
    while n_ended < len(tasks):
        assert time.monotonic() < deadline, f"{n_ended} of {len(tasks)} steps ended"
        while waiting and len(tasks) - len(waiting) - n_ended < executor.capacity:
            executor.submit(waiting.pop())
        new = executor.poll(0.5)
        reports += new
        n_ended += len(outcomes(new))
    return reports


def run_one(executor: Executor, one: StepTask) -> StepOutcome:
    (outcome,) = outcomes(run(executor, one))
    return outcome


def touch(path: Path) -> str:
    path.touch()
    return str(path)


ON_DASK = pytest.param("dask", marks=pytest.mark.slow)


@pytest.fixture(params=["inline", "threads", "processes", ON_DASK])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    opened = open_requested(request)
    yield opened
    opened.close(kill=True)


@pytest.fixture(params=["threads", "processes", ON_DASK])
def parallel(request: pytest.FixtureRequest) -> Iterator[Executor]:
    opened = open_requested(request)
    yield opened
    opened.close(kill=True)


def open_requested(request: pytest.FixtureRequest) -> Executor:
    if request.param == "dask":
        return open_dask(request.getfixturevalue("dask_server").address)
    return open_kind(request.param)


def open_dask(address: str, opener: str = "open_steps", **options: Any) -> "DaskExecutor":
    """On two workers of a running scheduler."""
    from assets_core.executors.dask import DaskExecutor
    from assets_core.executors.dask_options import DaskOptions

    return DaskExecutor(
        JOB,
        2,
        DaskOptions(address, **options),
        opener=f"tests.assets_core.executor_steps:{opener}",
        grace_s=0.5,
    )


def open_kind(kind: str) -> Executor:
    if kind == "inline":
        return InlineExecutor(Steps())
    if kind == "threads":
        return ThreadsExecutor(Steps(), 2)
    return ProcessesExecutor(JOB, 2, opener="tests.assets_core.executor_steps:open_steps", grace_s=0.2)


def test_each_of_many_steps_starts_and_ends_exactly_once(executor: Executor) -> None:
    reports = run(executor, *(task(step, "nothing") for step in range(300)))
    once = dict.fromkeys(range(300), 1)
    assert Counter(o.step for o in outcomes(reports)) == once
    assert Counter(r.step for r in reports if isinstance(r, StepStarted)) == once
    assert {o.state for o in outcomes(reports)} == {"succeeded"}
    assert executor.poll(0.0) == []


def test_logs_come_in_their_order_between_start_and_outcome(executor: Executor) -> None:
    reports = run(executor, *(task(step, "log", "50") for step in range(4)))
    for step in range(4):
        mine = [r for r in reports if r.step == step]
        assert isinstance(mine[0], StepStarted)
        assert [r.message for r in mine[1:-1] if isinstance(r, StepLog)] == [str(n) for n in range(50)]
        assert isinstance(mine[-1], StepOutcome)


def test_reports_after_the_outcome_are_dropped(executor: Executor, tmp_path: Path) -> None:
    run(executor, task(0, "logs_after_the_end", str(tmp_path / "go")))
    (tmp_path / "go").touch()
    deadline = time.monotonic() + PATIENCE_S
    while not (tmp_path / "go.done").exists():
        assert time.monotonic() < deadline
    assert executor.poll(0.02) == []


@pytest.mark.parametrize("does", ["raises", "raises_a_base_exception"])
def test_a_bug_in_the_runner_fails_its_step_only(executor: Executor, does: str) -> None:
    reports = run(executor, task(0, does), task(1, "nothing"))
    by_step = {o.step: o for o in outcomes(reports)}
    assert by_step[1].state == "succeeded"
    assert by_step[0].state == "failed"
    assert by_step[0].error is not None
    assert by_step[0].error.code == "runner-raised"
    assert ("RuntimeError: a bug" if does == "raises" else "GeneratorExit") in by_step[0].error.message
    assert by_step[0].error.retryable is False


def test_sys_exit_fails_its_step_only(executor: Executor) -> None:
    outcome = run_one(executor, task(0, "exits"))
    assert outcome.error is not None
    assert (outcome.state, outcome.error.code) == ("failed", "step-exited")
    assert "sys.exit(3)" in outcome.error.message
    assert run_one(executor, task(1, "nothing")).state == "succeeded"


def test_a_step_over_its_timeout_fails_and_the_next_one_runs(executor: Executor) -> None:
    outcome = run_one(executor, task(0, "never_returns", timeout_s=0.05))
    assert outcome.error is not None
    assert (outcome.state, outcome.error.code) == ("failed", "step-timeout")
    assert "timeout of 0.05 s" in outcome.error.message
    assert outcome.error.retryable
    assert outcome.duration_s >= 0.05
    assert run_one(executor, task(0, "nothing", attempt=2, timeout_s=30.0)).attempt == 2


def test_a_step_within_its_timeout_is_left_alone(executor: Executor) -> None:
    assert run_one(executor, task(0, "nothing", timeout_s=30.0)).state == "succeeded"


def test_a_step_taken_back_before_it_begins_is_cancelled(executor: Executor, tmp_path: Path) -> None:
    n_busy = 0 if isinstance(executor, InlineExecutor) else 2
    gate = str(tmp_path / "gate")
    for step in range(1, n_busy + 1):
        executor.submit(task(step, "waits_for", gate))
    poll_until(executor, lambda reports: len(reports) == n_busy)
    executor.submit(task(0, "dies"))
    executor.cancel(0, 1)
    reports = poll_until(executor, outcomes)
    assert [(o.step, o.state) for o in outcomes(reports)] == [(0, "cancelled")]
    touch(tmp_path / "gate")
    rest = poll_until(executor, lambda more: len(outcomes(more)) == n_busy)
    assert {(o.step, o.state) for o in outcomes(rest)} == {(s, "succeeded") for s in range(1, n_busy + 1)}


def test_cancelling_what_is_unknown_or_over_changes_nothing(executor: Executor) -> None:
    run(executor, task(0, "nothing"))
    executor.cancel(0, 1)
    executor.cancel(7, 1)
    assert executor.poll(0.0) == []


def test_a_poll_without_steps_comes_back_with_nothing(executor: Executor) -> None:
    assert executor.poll(0.05) == []


def test_a_running_step_that_never_returns_can_be_cancelled(parallel: Executor) -> None:
    parallel.submit(task(0, "never_returns"))
    poll_until(parallel, lambda reports: reports)
    parallel.cancel(0, 1)
    (outcome,) = outcomes(poll_until(parallel, outcomes))
    assert (outcome.state, outcome.error) == ("cancelled", None)
    assert Counter(o.state for o in outcomes(run(parallel, *(task(s, "nothing") for s in range(1, 9))))) == {
        "succeeded": 8
    }


def test_steps_go_on_beside_one_that_never_returns(parallel: Executor) -> None:
    parallel.submit(task(0, "never_returns"))
    poll_until(parallel, lambda reports: reports)
    for step in range(1, 30):
        parallel.submit(task(step, "nothing"))
        (outcome,) = outcomes(poll_until(parallel, outcomes))
        assert (outcome.step, outcome.state) == (step, "succeeded")


def test_a_ready_step_does_not_wait_behind_a_long_one(parallel: Executor, tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")
    n_steps = parallel.capacity
    for step in range(n_steps):
        parallel.submit(task(step, "waits_for" if step == 0 else "nothing", gate))
    reports = poll_until(parallel, lambda so_far: len(outcomes(so_far)) == n_steps - 1)
    assert 0 not in {o.step for o in outcomes(reports)}
    touch(tmp_path / "gate")
    assert outcomes(poll_until(parallel, outcomes))[0].step == 0


def test_close_waits_for_running_steps(parallel: Executor, tmp_path: Path) -> None:
    parallel.submit(task(0, "log_and_touch", str(tmp_path / "end")))
    poll_until(parallel, lambda reports: reports)
    parallel.close()
    assert (tmp_path / "end").exists()


@pytest.mark.timeout(PATIENCE_S)
def test_close_with_kill_does_not_wait(parallel: Executor) -> None:
    parallel.submit(task(0, "never_returns"))
    poll_until(parallel, lambda reports: reports)
    parallel.close(kill=True)


def test_an_interrupted_inline_step_is_reported_cancelled_by_the_next_poll() -> None:
    executor = InlineExecutor(Steps())
    executor.submit(task(0, "interrupts"))
    with pytest.raises(KeyboardInterrupt):
        executor.poll(0.0)
    (outcome,) = outcomes(executor.poll(0.0))
    assert outcome.state == "cancelled"


def test_an_interrupt_raised_in_a_worker_cancels_its_step(parallel: Executor) -> None:
    assert run_one(parallel, task(0, "interrupts")).state == "cancelled"
    assert run_one(parallel, task(1, "nothing")).state == "succeeded"


def test_an_inline_step_that_swallows_its_timeout_still_ran_out_of_time() -> None:
    outcome = run_one(InlineExecutor(Steps()), task(0, "swallows", timeout_s=0.03))
    assert outcome.error is not None
    assert outcome.error.code == "step-timeout"


def test_an_inline_executor_puts_the_timer_signal_back() -> None:
    import signal

    before = signal.getsignal(signal.SIGALRM)
    run(InlineExecutor(Steps()), task(0, "nothing", timeout_s=5.0))
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_an_inline_executor_takes_one_step_at_a_time() -> None:
    from assets_core.errors import InternalError

    executor = InlineExecutor(Steps())
    executor.submit(task(0, "nothing"))
    with pytest.raises(InternalError, match="executor-full"):
        executor.submit(task(1, "nothing"))


@pytest.mark.parametrize("how", ["cancel", "timeout", "close"])
def test_an_abandoned_thread_is_told(how: str, tmp_path: Path) -> None:
    executor = ThreadsExecutor(Steps(), 1)
    told = tmp_path / "told"
    executor.submit(task(0, "waits_until_abandoned", str(told), timeout_s=0.02 if how == "timeout" else None))
    poll_until(executor, lambda reports: reports)
    if how == "cancel":
        executor.cancel(0, 1)
    if how == "close":
        executor.close(kill=True)
    else:
        poll_until(executor, outcomes)
    deadline = time.monotonic() + PATIENCE_S
    while not told.exists():
        assert time.monotonic() < deadline
        os.sched_yield()
    executor.close(kill=True)
