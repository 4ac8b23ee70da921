"""What the processes executor survives: workers that die, lie, hang, and never begin."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from assets_core.engine.executor import StepLog, StepOutcome, WorkerJob
from assets_core.executors.processes import ProcessesExecutor
from tests.assets_core.test_executors import (
    JOB,
    PATIENCE_S,
    open_kind,
    outcomes,
    poll_until,
    run,
    run_one,
    task,
    touch,
)

STEPS = "tests.assets_core.executor_steps"
ROOT = Path(__file__).parents[2]


def open_processes(
    workers: int = 1, opener: str = "open_steps", job: WorkerJob = JOB, grace_s: float = 0.2
) -> ProcessesExecutor:
    return ProcessesExecutor(job, workers, opener=f"{STEPS}:{opener}", grace_s=grace_s)


@pytest.fixture
def executor() -> Iterator[ProcessesExecutor]:
    opened = open_processes()
    yield opened
    opened.close(kill=True)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def wait_until_gone(*pids: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, f"still alive: {[pid for pid in pids if is_alive(pid)]}"


@pytest.mark.parametrize(
    ("does", "argument", "says"),
    [
        ("kills_itself", "SIGKILL", "was killed by SIGKILL"),
        ("kills_itself", "SIGSEGV", "was killed by SIGSEGV"),
        ("dies", "7", "exited with code 7"),
        ("dies", "0", "exited with code 0"),
    ],
)
def test_a_worker_that_dies_loses_its_step_and_says_how(
    executor: ProcessesExecutor, does: str, argument: str, says: str
) -> None:
    outcome = run_one(executor, task(0, does, argument))
    assert outcome.error is not None
    assert (outcome.state, outcome.error.kind, outcome.error.code) == (
        "lost",
        "WorkerLostError",
        "worker-killed",
    )
    assert says in outcome.error.message
    assert ("out-of-memory" in outcome.error.message) == (argument == "SIGKILL")
    assert outcome.error.retryable
    assert run_one(executor, task(0, "nothing", attempt=2)).state == "succeeded"


@pytest.mark.slow
def test_steps_that_wait_behind_a_dying_one_are_run_by_others() -> None:
    executor = open_processes(2)
    tasks = [task(step, "dies_once" if step % 7 == 0 else "nothing") for step in range(60)]
    ended = outcomes(run(executor, *tasks))
    executor.close()
    assert Counter(o.step for o in ended) == dict.fromkeys(range(60), 1)
    assert {o.step for o in ended if o.state == "lost"} == set(range(0, 60, 7))
    assert {o.state for o in ended if o.step % 7} == {"succeeded"}


def test_a_death_is_seen_though_a_child_of_the_step_lives_on(
    executor: ProcessesExecutor, tmp_path: Path
) -> None:
    reports = run(executor, task(0, "forks", str(tmp_path / "pid")))
    assert [o.state for o in outcomes(reports)] == ["lost"]
    assert [r for r in reports if isinstance(r, StepLog)] == []
    wait_until_gone(int((tmp_path / "pid").read_text()))


def test_a_stopped_step_may_clean_up(executor: ProcessesExecutor, tmp_path: Path) -> None:
    cleaned = tmp_path / "cleaned"
    outcome = run_one(executor, task(0, "cleans_up", str(cleaned), timeout_s=0.05))
    assert outcome.error is not None
    assert outcome.error.code == "step-timeout"
    assert cleaned.exists()


@pytest.mark.slow
def test_a_step_that_ignores_the_request_to_stop_is_killed(
    executor: ProcessesExecutor, tmp_path: Path
) -> None:
    outcome = run_one(executor, task(0, "ignores_sigterm", str(tmp_path / "pid"), timeout_s=0.3))
    assert outcome.error is not None
    assert outcome.error.code == "step-timeout"
    wait_until_gone(int((tmp_path / "pid").read_text()))


def test_a_step_sent_ahead_is_cancelled_without_touching_the_running_one(
    executor: ProcessesExecutor, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    executor.submit(task(0, "waits_for", str(gate)))
    executor.submit(task(1, "dies"))
    poll_until(executor, lambda reports: reports)
    executor.cancel(1, 1)
    assert [(o.step, o.state) for o in outcomes(poll_until(executor, outcomes))] == [(1, "cancelled")]
    touch(gate)
    assert [(o.step, o.state) for o in outcomes(poll_until(executor, outcomes))] == [(0, "succeeded")]


def test_a_step_cancelled_at_once_never_outlives_it(executor: ProcessesExecutor) -> None:
    run(executor, task(99, "nothing"))
    for step in range(5):
        executor.submit(task(step, "never_returns"))
        executor.cancel(step, 1)
        assert [(o.step, o.state) for o in outcomes(poll_until(executor, outcomes))] == [(step, "cancelled")]


def test_stopping_a_step_leaves_the_one_sent_ahead_to_the_next_worker(executor: ProcessesExecutor) -> None:
    executor.submit(task(0, "never_returns", timeout_s=0.05))
    executor.submit(task(1, "nothing"))
    reports = poll_until(executor, lambda so_far: len(outcomes(so_far)) == 2)
    assert {(o.step, o.state) for o in outcomes(reports)} == {(0, "failed"), (1, "succeeded")}


@pytest.mark.slow
def test_a_task_larger_than_any_buffer_arrives(executor: ProcessesExecutor) -> None:
    big = "x" * 5_000_000
    ended = outcomes(run(executor, *(task(step, "nothing", code_version=big) for step in range(4))))
    assert {(o.step, o.state) for o in ended} == {(step, "succeeded") for step in range(4)}


def test_an_outcome_that_cannot_be_pickled_fails_its_step(executor: ProcessesExecutor) -> None:
    outcome = run_one(executor, task(0, "unpicklable"))
    assert outcome.error is not None
    assert (outcome.state, outcome.error.code) == ("failed", "outcome-not-picklable")


def test_an_outcome_that_cannot_be_read_fails_its_step(executor: ProcessesExecutor) -> None:
    outcome = run_one(executor, task(0, "unreadable"))
    assert outcome.error is not None
    assert (outcome.state, outcome.error.code) == ("failed", "report-unreadable")
    assert run_one(executor, task(1, "nothing")).state == "succeeded"


def test_what_a_step_prints_becomes_log_lines(executor: ProcessesExecutor) -> None:
    lines = [(r.level, r.message) for r in run(executor, task(0, "print")) if isinstance(r, StepLog)]
    assert lines == [
        ("INFO", "first"),
        ("INFO", "second"),
        ("WARNING", "to stderr"),
        ("INFO", "no end"),
    ]


@pytest.mark.parametrize(
    ("opener", "code", "says"),
    [
        ("open_badly", "asset-unknown", "DefinitionError[asset-unknown]: the project has a flaw."),
        ("open_never", "worker-start-failed", "ModuleNotFoundError: No module named 'frobnicate'"),
        ("open_and_die", "worker-start-failed", "was killed by SIGSEGV"),
        ("no_such_opener", "worker-start-failed", "no_such_opener"),
    ],
)
def test_workers_that_cannot_begin_fail_every_step_with_the_reason(opener: str, code: str, says: str) -> None:
    executor = open_processes(2, opener)
    ended = outcomes(run(executor, *(task(step, "nothing") for step in range(10))))
    executor.close()
    assert {(o.state, o.error and o.error.code, o.error and o.error.retryable) for o in ended} == {
        ("failed", code, False)
    }
    assert all(o.error is not None and says in o.error.message for o in ended)
    assert len(ended) == 10


def test_workers_find_the_project_through_the_search_paths(tmp_path: Path) -> None:
    (tmp_path / "a_project_elsewhere.py").write_text(
        "from assets_core.engine.executor import StepOutcome\n"
        "class Steps:\n"
        "    def run(self, task, report):\n"
        "        return StepOutcome(task.step, task.attempt, 'unchanged')\n"
        "steps = Steps()\n"
    )
    job = WorkerJob("run-1", "a_project_elsewhere", (str(tmp_path),), {})
    executor = open_processes(1, "open_as_the_project_says", job)
    assert run_one(executor, task(0, "anything")).state == "unchanged"
    executor.close()


def test_ctrl_c_does_not_reach_a_step(executor: ProcessesExecutor, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    executor.submit(task(0, "waits_for", str(gate)))
    poll_until(executor, lambda reports: reports)
    os.kill(executor._workers[0].process.pid, signal.SIGINT)
    touch(gate)
    assert outcomes(poll_until(executor, outcomes))[0].state == "succeeded"


def test_close_leaves_no_process_and_no_open_file() -> None:
    n_files = len(os.listdir("/proc/self/fd"))
    executor = open_processes(2)
    run(executor, task(0, "nothing"), task(1, "kills_itself", "SIGKILL"))
    pids = [worker.process.pid for worker in executor._workers]
    executor.close()
    assert not any(is_alive(pid) for pid in pids)
    assert len(os.listdir("/proc/self/fd")) == n_files


COORDINATOR = """
    import sys
    from assets_core.engine.executor import StepOutcome, WorkerJob
    from assets_core.executors.processes import ProcessesExecutor
    from tests.assets_core.test_executors import run, task

    if __name__ == "__main__":
        opener = "tests.assets_core.executor_steps:open_steps"
        executor = ProcessesExecutor(WorkerJob("run-1", "", (), {}), 2, opener=opener)
        run(executor, *(task(step, *sys.argv[1 + 2 * step:3 + 2 * step]) for step in range(len(sys.argv) // 2)))
        executor.close()
        print("all")
"""


def coordinator(tmp_path: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    script = tmp_path / "coordinator.py"
    script.write_text(textwrap.dedent(COORDINATOR))
    return subprocess.Popen(
        [sys.executable, str(script), *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.slow
def test_nothing_a_step_writes_reaches_the_coordinators_stdout(tmp_path: Path) -> None:
    out, err = coordinator(tmp_path, "print", "").communicate(timeout=PATIENCE_S)
    assert out == b"all\n"
    assert b"to the raw stdout" in err


@pytest.mark.faults
def test_workers_end_when_their_coordinator_is_killed(tmp_path: Path) -> None:
    files = [tmp_path / "one", tmp_path / "two"]
    process = coordinator(tmp_path, "never_returns", str(files[0]), "never_returns", str(files[1]))
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not all(file.exists() and file.read_text() for file in files):
            assert time.monotonic() < deadline and process.poll() is None
        pids = [int(file.read_text()) for file in files]
        assert all(is_alive(pid) for pid in pids)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    wait_until_gone(*pids)


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["threads", "processes"])
@pytest.mark.parametrize("seed", range(3))
def test_every_step_ends_once_while_steps_fail_and_hang_and_workers_are_killed(kind: str, seed: int) -> None:
    rng = random.Random(seed)
    executor = open_kind(kind)
    n_steps = 300
    waiting = dict.fromkeys(range(n_steps), 1)
    live: dict[int, int] = {}
    done: Counter[int] = Counter()
    states: Counter[str] = Counter()
    deadline = time.monotonic() + 3 * PATIENCE_S
    while waiting or live:
        assert time.monotonic() < deadline, f"never ended: {live}"
        while waiting and len(live) < executor.capacity:
            step, attempt = waiting.popitem()
            does = rng.choices(["nothing", "raises", "log", "never_returns"], [80, 5, 10, 3])[0]
            argument = "20" if does == "log" else None
            timeout_s = rng.choice([0.01, 0.02]) if does == "never_returns" else None
            executor.submit(task(step, does, argument, attempt=attempt, timeout_s=timeout_s))
            live[step] = attempt
        if rng.random() < 0.08:
            step = rng.choice(list(live))
            executor.cancel(step, live[step])
        if isinstance(executor, ProcessesExecutor) and executor._workers and rng.random() < 0.02:
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(executor._workers).process.pid, signal.SIGKILL)
        for report in executor.poll(rng.choice([0.0, 0.001, 0.3])):
            assert live.get(report.step) == report.attempt, f"{report} of a step that is over"
            if isinstance(report, StepOutcome):
                del live[report.step]
                states[report.state] += 1
                if report.state == "lost":
                    waiting[report.step] = report.attempt + 1
                else:
                    done[report.step] += 1
    executor.close()
    assert done == dict.fromkeys(range(n_steps), 1)
    assert {"succeeded", "failed", "cancelled"} <= set(states)
