"""What the Dask executor survives, and how runs, configuration and command reach it. Schedulers and workers are real."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from assets_core.engine.executor import StepLog, StepOutcome, StepStarted, WorkerJob
from assets_core.errors import ConfigError
from assets_core.executors import dask_link, opening
from assets_core.executors.dask import DaskExecutor
from assets_core.executors.dask_options import DaskOptions, parse_dask_options
from assets_core.executors.dask_site import CheckedRunner
from assets_core.executors.opening import open_executor
from tests.assets_core.executor_steps import Steps
from tests.assets_core.test_executors import (
    JOB,
    PATIENCE_S,
    open_dask,
    outcomes,
    poll_until,
    run,
    run_one,
    task,
    touch,
)
from tests.support.dask import ROOT, DaskServer, serve_dask

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskServer]:
    """A cluster whose workers may be killed: they come back."""
    with serve_dask(tmp_path_factory.mktemp("mortal")) as server:
        yield server


def open_on_both(server: DaskServer) -> DaskExecutor:
    """On both workers, though one of them may just be coming back."""
    executor = open_dask(server.address)
    deadline = time.monotonic() + 2 * PATIENCE_S
    while executor.capacity < 4:
        assert time.monotonic() < deadline
        executor.poll(0.1)
    return executor


def worker_of(executor: DaskExecutor, step: int) -> int:
    (pid,) = [
        place.pid
        for place in executor._places.values()
        if any(work.task.step == step for work in place.works.values())
    ]
    return pid


# -- workers that die ------------------------------------------------------------------------------------------------


def test_a_worker_killed_in_mid_step_loses_that_step_and_no_other(mortal: DaskServer, tmp_path: Path) -> None:
    executor = open_on_both(mortal)
    gate = str(tmp_path / "gate")
    executor.submit(task(0, "never_returns"))
    executor.submit(task(1, "waits_for", gate))
    poll_until(executor, lambda reports: len(reports) == 2)
    executor.submit(task(2, "nothing"))  # waits behind one of them
    executor.submit(task(3, "nothing"))  # and this behind the other
    executor.poll(0.0)
    os.kill(worker_of(executor, 0), signal.SIGKILL)
    touch(tmp_path / "gate")
    ended = {o.step: o for o in outcomes(poll_until(executor, lambda so_far: len(outcomes(so_far)) == 4))}
    assert {step: o.state for step, o in ended.items()} == {
        0: "lost",
        1: "succeeded",
        2: "succeeded",
        3: "succeeded",
    }
    assert ended[0].error is not None
    assert (ended[0].error.kind, ended[0].error.code, ended[0].error.retryable) == (
        "WorkerLostError",
        "worker-lost",
        True,
    )
    assert run_one(executor, task(0, "nothing", attempt=2)).state == "succeeded"
    executor.close()


def test_a_step_that_kills_its_worker_is_run_once(mortal: DaskServer) -> None:
    executor = open_on_both(mortal)
    reports = run(executor, *(task(step, "dies_once" if step == 7 else "nothing") for step in range(40)))
    executor.close()
    assert {o.step for o in outcomes(reports) if o.state == "lost"} == {7}
    assert len(outcomes(reports)) == 40
    assert [r.step for r in reports if isinstance(r, StepStarted)].count(7) == 1


def test_the_steps_of_a_dead_worker_are_taken_up_when_another_comes(mortal: DaskServer) -> None:
    executor = open_on_both(mortal)
    pids = {place.pid for place in executor._places.values()}
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert run_one(executor, task(0, "nothing")).state == "succeeded"
    assert {place.pid for place in executor._places.values()}.isdisjoint(pids)
    executor.close()


def test_capacity_shrinks_and_grows_with_the_cluster(mortal: DaskServer) -> None:
    executor = open_on_both(mortal)
    os.kill(next(iter(executor._places.values())).pid, signal.SIGKILL)
    deadline = time.monotonic() + 2 * PATIENCE_S
    seen = [executor.capacity]
    while seen != [4, 2, 4]:
        assert time.monotonic() < deadline, seen
        executor.poll(0.05)
        if executor.capacity != seen[-1]:
            seen.append(executor.capacity)
    executor.close()


# -- a scheduler that is not there -----------------------------------------------------------------------------------


def test_when_the_scheduler_dies_every_step_is_lost_at_once(tmp_path: Path) -> None:
    with serve_dask(tmp_path) as server:
        executor = open_dask(server.address)
        executor.submit(task(0, "never_returns"))
        poll_until(executor, lambda reports: reports)
        executor.submit(task(1, "nothing"))
        began = time.monotonic()
        os.kill(server.scheduler.pid, signal.SIGKILL)
        ended = outcomes(poll_until(executor, lambda so_far: len(outcomes(so_far)) == 2))
        assert {o.step for o in ended} == {0, 1}
        for outcome in ended:
            if outcome.step == 0 or outcome.state != "succeeded":
                assert outcome.error is not None
                assert (outcome.state, outcome.error.code) == ("lost", "dask-scheduler-lost")
                assert server.address in outcome.error.message
                assert outcome.error.retryable is False
        assert run_one(executor, task(2, "nothing")).state == "lost"
        executor.close()
        assert time.monotonic() - began < 15.0


def test_an_address_without_a_scheduler_is_named_within_ten_seconds() -> None:
    began = time.monotonic()
    with pytest.raises(ConfigError, match=r"dask-unreachable(.|\n)*tcp://127\.0\.0\.1:9"):
        DaskExecutor(JOB, 2, DaskOptions("tcp://127.0.0.1:9"))
    assert time.monotonic() - began < 12.0


def test_a_cluster_without_a_suitable_worker_is_refused(dask_server: DaskServer) -> None:
    with pytest.raises(ConfigError, match=r"dask-no-workers(.|\n)*GPU=1"):
        open_dask(dask_server.address, resources={"GPU": 1.0}, wait_s=1.0)


def test_other_versions_in_a_worker_are_refused(
    dask_server: DaskServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_link, "own_versions", lambda: {"python": "3.99", "assetline": "0.0.1"})
    with pytest.raises(ConfigError, match=r"dask-versions-differ(.|\n)*assetline 0\.0\.1 and python 3\.99"):
        open_dask(dask_server.address)


# -- steps -----------------------------------------------------------------------------------------------------------


def test_a_stopped_step_cleans_up_and_frees_its_worker(dask_server: DaskServer, tmp_path: Path) -> None:
    executor = open_dask(dask_server.address)
    outcome = run_one(executor, task(0, "cleans_up", str(tmp_path / "cleaned"), timeout_s=0.05))
    assert outcome.error is not None
    assert outcome.error.code == "step-timeout"
    assert (tmp_path / "cleaned").exists()
    assert all(place.n_slots == 1 for place in executor._places.values())
    executor.close()


def test_an_outcome_that_cannot_travel_fails_its_step(dask_server: DaskServer) -> None:
    executor = open_dask(dask_server.address)
    codes = [
        run_one(executor, task(step, does)).error for step, does in enumerate(["unpicklable", "unreadable"])
    ]
    assert [error and error.code for error in codes] == ["outcome-not-picklable", "report-unreadable"]
    executor.close()


def test_workers_that_cannot_open_the_project_fail_every_step_with_the_reason(
    dask_server: DaskServer,
) -> None:
    executor = open_dask(dask_server.address, "open_never")
    ended = outcomes(run(executor, *(task(step, "nothing") for step in range(6))))
    executor.close()
    assert {(o.state, o.error and o.error.code, o.error and o.error.retryable) for o in ended} == {
        ("failed", "worker-start-failed", False)
    }
    assert all(o.error is not None and "No module named 'frobnicate'" in o.error.message for o in ended)


def test_logs_of_a_running_step_arrive_while_it_runs(dask_server: DaskServer, tmp_path: Path) -> None:
    executor = open_dask(dask_server.address)
    executor.submit(task(0, "log_and_wait", str(tmp_path / "gate")))
    poll_until(executor, lambda reports: any(isinstance(r, StepLog) for r in reports))
    touch(tmp_path / "gate")
    assert outcomes(poll_until(executor, outcomes))[0].state == "succeeded"
    executor.close()


def test_threads_of_one_worker_share_its_resources(tmp_path: Path) -> None:
    with serve_dask(tmp_path, 1, "--nthreads", "4", "--resources", "GPU=2 fast=1") as server:
        executor = open_dask(server.address, resources={"GPU": 1.0}, labels=("fast",))
        assert executor.capacity == 4  # two at once, and one ahead each
        gate = str(tmp_path / "gate")
        for step in range(4):
            executor.submit(task(step, "waits_for", gate))
        reports = poll_until(executor, lambda so_far: len(so_far) == 2)
        assert executor.poll(0.2) == []
        touch(tmp_path / "gate")
        reports += poll_until(executor, lambda more: len(outcomes(more)) == 4)
        assert {o.state for o in outcomes(reports)} == {"succeeded"}
        executor.close()


def test_a_step_whose_code_is_another_in_the_worker_is_not_run() -> None:
    from tests.benchmarks.noop_project import project

    class Runner:
        def __init__(self) -> None:
            self.project = project

        def run(self, *_: object) -> StepOutcome:
            return StepOutcome(0, 1, "succeeded")

    runner = CheckedRunner(Runner())  # type: ignore[arg-type]
    outcome = runner.run(task(0, "nothing", code_version="0" * 16), lambda _: None)  # type: ignore[arg-type]
    assert outcome.error is not None
    assert (outcome.state, outcome.error.code) == ("failed", "worker-code-differs")
    known = runner._codes["nothing"]
    assert runner.run(task(0, "nothing", code_version=known), lambda _: None).state == "succeeded"  # type: ignore[arg-type]


# -- a cluster of our own --------------------------------------------------------------------------------------------


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_cluster_of_our_own_ends_with_its_executor() -> None:
    executor = DaskExecutor(JOB, 2, opener="tests.assets_core.executor_steps:open_steps", grace_s=0.2)
    assert executor.capacity == 4
    assert {o.state for o in outcomes(run(executor, *(task(step, "nothing") for step in range(20))))} == {
        "succeeded"
    }
    assert executor._cluster is not None
    pids = [*executor._cluster.pids, *(place.pid for place in executor._places.values())]
    assert all(is_alive(pid) for pid in pids)
    executor.close()
    assert not any(is_alive(pid) for pid in pids)


@pytest.mark.faults
def test_a_cluster_of_our_own_ends_when_its_coordinator_is_killed(tmp_path: Path) -> None:
    script = (
        "from assets_core.executors.dask_cluster import LocalDaskCluster\n"
        "cluster = LocalDaskCluster(1)\n"
        "print(*cluster.pids, flush=True)\n"
        "input()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    pids = [int(word) for word in process.stdout.readline().split()]
    assert len(pids) == 2 and all(is_alive(pid) for pid in pids)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + PATIENCE_S
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline


# -- from configuration and command ----------------------------------------------------------------------------------


def test_settings_are_read_and_mistakes_named() -> None:
    options = parse_dask_options(
        {
            "kind": "dask",
            "address": "tcp://x:1",
            "resources": {"GPU": 1},
            "memory": "2GiB",
            "labels": ["fast"],
        }
    )
    assert options == DaskOptions("tcp://x:1", {"GPU": 1.0, "memory": float(2 << 30)}, ("fast",))
    assert parse_dask_options({"memory": "1.5 MB"}).resources == {"memory": 1.5e6}
    with pytest.raises(ConfigError, match="write 'address'"):
        parse_dask_options({"adress": "tcp://x:1"})
    for wrong in (
        {"address": 8786},
        {"resources": {"GPU": 0}},
        {"memory": "much"},
        {"labels": "gpu"},
        {"wait_s": -1},
    ):
        with pytest.raises(ConfigError, match="executor-setting-invalid"):
            parse_dask_options(wrong)


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'assetline\[dask\]'"):
        open_executor("dask", JOB, Steps, 2)


def test_a_project_without_a_module_cannot_go_to_dask() -> None:
    with pytest.raises(ConfigError, match=r"project-not-importable(.|\n)*'dask'"):
        open_executor("dask", WorkerJob("r", "", (), {}), Steps, 2)


PROJECT = """
import os, signal
from pathlib import Path
from assets_core import Context, DailyPartitions, Project, Retry, asset

days = DailyPartitions(start="2024-01-01", end="2024-01-09")

@asset(partitions=days)
def number(context: Context) -> int:
    context.log.info("counting")
    return int(context.partition[-2:])

@asset(partitions=days, retries=Retry(max_attempts=2, delay="10ms"))
def doubled(number: int, context: Context) -> int:
    if context.partition == "2024-01-05" and context.attempt == 1 and Path("deadly").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number

@asset
def total(doubled: dict[str, int]) -> int:
    return sum(doubled.values())

project = Project.from_module(__name__)
"""


def write_project(folder: Path, name: str, address: str) -> None:
    folder.mkdir()
    (folder / f"{name}.py").write_text(PROJECT)
    (folder / "assetline.toml").write_text(
        f'project = "{name}"\n[env.dev]\ndurability = "os"\n'
        f'executor = {{ kind = "dask", address = "{address}" }}\n'
    )


def assetline(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "ui.cli.main", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_run_on_dask_ends_as_one_inline(dask_server: DaskServer, tmp_path: Path) -> None:
    results = []
    for executor, name in (("dask", "on_dask"), ("inline", "in_line")):
        write_project(tmp_path / name, name, dask_server.address)
        done = assetline(tmp_path / name, "materialize", "--executor", executor, "--json", "--yes")
        assert done.returncode == 0, done.stderr
        loaded = assetline(tmp_path / name, "load", "total", "--json")
        history = json.loads(
            assetline(tmp_path / name, "history", "doubled", "-p", "2024-01-03", "--json").stdout
        )
        results.append(
            (json.loads(done.stdout)["steps"], loaded.stdout, [row["data_version"] for row in history])
        )
    assert results[0] == results[1]
    assert results[0][0]["succeeded"] == 17
    run_id = json.loads(assetline(tmp_path / "on_dask", "runs", "list", "--json").stdout)[0]["run_id"]
    assert "counting" in assetline(tmp_path / "on_dask", "runs", "logs", run_id).stdout


def test_the_configuration_chooses_dask_and_a_killed_worker_is_made_good_by_a_retry(
    mortal: DaskServer, tmp_path: Path
) -> None:
    folder = tmp_path / "deadly_on_dask"
    write_project(folder, "deadly_on_dask", mortal.address)
    source = (folder / "deadly_on_dask.py").read_text()
    (folder / "deadly_on_dask.py").write_text(source.replace('Path("deadly")', f"Path({str(folder)!r})"))
    done = assetline(folder, "materialize", "--json", "--yes")
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout)["steps"]
    assert (steps["succeeded"], steps["failed"]) == (17, 0)
    run_id = json.loads(assetline(folder, "runs", "list", "--json").stdout)[0]["run_id"]
    shown = json.loads(assetline(folder, "runs", "show", run_id, "--json").stdout)
    assert shown["executor"] == "dask"
    assert {step["attempts"] for step in shown["steps"] if step["asset"] == "doubled"} == {1, 2}


def test_a_run_whose_scheduler_dies_ends_failed(tmp_path: Path) -> None:
    with serve_dask(tmp_path) as server:
        folder = tmp_path / "orphaned"
        write_project(folder, "orphaned", server.address)
        source = (folder / "orphaned.py").read_text()
        killing = f"    os.kill({server.scheduler.pid}, signal.SIGKILL)\n    import time; time.sleep(60)\n"
        (folder / "orphaned.py").write_text(source.replace("    return 2 * number", killing + "    return 0"))
        done = assetline(folder, "materialize", "--json", "--yes")
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["status"] == "failed"
    assert "dask-scheduler-lost" in done.stderr
