"""Of several writers of one asset partition exactly one wins each version, and the others say who."""

import multiprocessing
import os
import pickle
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from assets_core.session import Session
from io_managers.storage.local import LocalStorage
from io_managers.storage.memory import MemoryStorage
from io_managers.versions.runs import RunMark, RunMarks
from io_managers.versions.store import SupersededError, VersionStore
from tests.faults import tiny
from tests.faults.forks import ForkServer
from tests.faults.records import content_of, publish, versions_in
from tests.faults.stores import halting_before_orders, halting_before_run
from tests.faults.tiny import ASSETS, Job
from tests.support import figures
from tests.support.invariants import check_reports, check_store, read_chains

WRITERS, ROUNDS = 8, 25


def write_in_rounds(folder: Path, number: int, barrier: Any) -> None:
    """Race for one version a round; note of each whether it was won, or who won."""
    versions = versions_in(LocalStorage(folder / "storage", durability="os"))
    notes = []
    for _ in range(ROUNDS):
        base = versions.head("things", None)
        barrier.wait()
        try:
            mine = publish(versions, f"writer {number}".encode(), base)
            notes.append((mine.seq, mine.commit_id, True))
        except SupersededError as signal:
            notes.append((signal.winner.seq, signal.winner.commit_id, False))
        barrier.wait()
    (folder / f"{number}.notes").write_bytes(pickle.dumps(notes))


def race(folder: Path) -> list[list[tuple[int, str, bool]]]:
    """Let the writers race in processes of their own; the notes of each."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(WRITERS, timeout=60)
    writers = [
        context.Process(target=write_in_rounds, args=(folder, number, barrier)) for number in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    return [pickle.loads((folder / f"{number}.notes").read_bytes()) for number in range(WRITERS)]


@pytest.mark.faults
@pytest.mark.slow
def test_eight_processes_racing_for_one_partition_have_one_winner_a_version(
    fork: ForkServer, memory_path: Path
) -> None:
    notes = fork.call(race, memory_path).value
    broken = []
    for number, turn in enumerate(zip(*notes, strict=True), start=1):
        winners = [commit_id for _, commit_id, won in turn if won]
        if len(winners) != 1 or {(seq, commit_id) for seq, commit_id, _ in turn} != {(number, winners[0])}:
            broken.append(f"round {number}: {turn}")
    storage = LocalStorage(memory_path / "storage")
    broken += [str(violation) for violation in check_store(storage)]
    (chain,) = read_chains(storage).values()
    assert [seq for seq, _ in chain.valid] == list(range(1, ROUNDS + 1))
    figures.count("race: 8 writers", points=ROUNDS, faults=ROUNDS * (WRITERS - 1), violations=len(broken))
    assert broken == []


def test_a_writer_that_read_its_base_before_another_published_is_superseded() -> None:
    storage = MemoryStorage()
    versions = versions_in(storage)
    base = versions.head("things", None)
    winner = publish(versions, b"quick", base)
    publish(versions, b"quicker")
    with pytest.raises(SupersededError) as caught:
        publish(versions, b"slow", base)
    assert caught.value.winner.commit_id == winner.commit_id
    assert content_of(versions) == b"quicker"
    assert check_store(storage) == []


def started(fork: ForkServer, job: Job, wrap: Any) -> int:
    """A run that halts on its way; its process's id."""
    pid = fork.start(tiny.materialize, job, 0, wrap)
    assert fork.wait_stopped(pid)
    return pid


def go_on(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.faults
@pytest.mark.slow
def test_two_runs_of_the_same_at_once_both_end_well_and_publish_once(
    fork: ForkServer, memory_path: Path
) -> None:
    fork.call(tiny.prepare, memory_path, (1,))
    job = Job(memory_path, 2)
    pids = [started(fork, job, halting_before_run) for _ in range(2)]
    go_on(*pids)
    outcomes = [fork.wait(pid).value for pid in pids]
    assert [outcome.status for outcome in outcomes] == ["succeeded", "succeeded"], outcomes
    storage = LocalStorage(memory_path / "storage")
    reports = [report for outcome in outcomes for report in outcome.reports]
    assert check_reports(storage, reports) == []
    assert check_store(storage, acknowledged=tiny.acknowledged(memory_path), max_garbage_attempts=0) == []
    for key in ASSETS:
        states = sorted(report.state for report in reports if report.asset == key)
        assert states == ["succeeded", "unchanged"]
    known = fork.call(tiny.what_is_known, job).value
    assert (known.seen, known.plan, known.unfinished) == (dict.fromkeys(ASSETS, 2), {}, [])


@pytest.mark.faults
@pytest.mark.slow
def test_a_run_that_slept_while_another_did_the_same_work_ends_unchanged(
    fork: ForkServer, memory_path: Path
) -> None:
    fork.call(tiny.prepare, memory_path, (1,))
    job = Job(memory_path, 2)
    pid = started(fork, job, halting_before_orders)
    assert fork.call(tiny.materialize, job).value.ended_well
    go_on(pid)
    outcome = fork.wait(pid).value
    assert outcome.ended_well
    assert {report.asset: report.state for report in outcome.reports} == {
        "raw": "succeeded",
        "orders": "unchanged",
        "report": "unchanged",
    }
    assert check_store(LocalStorage(memory_path / "storage"), max_garbage_attempts=0) == []
    known = fork.call(tiny.what_is_known, job).value
    assert (known.seen, known.plan, known.unfinished) == (dict.fromkeys(ASSETS, 2), {}, [])


@pytest.mark.faults
@pytest.mark.slow
def test_a_run_that_slept_while_newer_code_published_is_superseded_and_says_by_whom(
    fork: ForkServer, memory_path: Path
) -> None:
    fork.call(tiny.prepare, memory_path, (1,))
    pid = started(fork, Job(memory_path, 2), halting_before_orders)
    newer = fork.call(tiny.materialize, Job(memory_path, 3)).value
    assert newer.ended_well
    go_on(pid)
    outcome = fork.wait(pid).value
    assert outcome.status == "failed"
    states = {report.asset: report.state for report in outcome.reports}
    assert (states["raw"], states["orders"]) == ("succeeded", "superseded")
    assert outcome.errors["orders"] == "superseded"
    assert newer.reports[0].run_id in outcome.messages["orders"]
    storage = LocalStorage(memory_path / "storage")
    assert check_reports(storage, outcome.reports) == []
    assert check_store(storage, max_garbage_attempts=0) == []
    known = fork.call(tiny.what_is_known, Job(memory_path, 3)).value
    assert (known.seen, known.plan, known.unfinished) == (dict.fromkeys(ASSETS, 3), {}, [])


@pytest.mark.faults
@pytest.mark.slow
def test_versions_that_two_databases_published_in_turns_are_all_in_the_history_of_each(
    fork: ForkServer, memory_path: Path
) -> None:
    fork.call(tiny.prepare, memory_path, (1,))
    elsewhere = memory_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "storage").symlink_to(memory_path / "storage")
    pid = started(fork, Job(memory_path, 3), halting_before_run)
    assert fork.call(tiny.materialize, Job(elsewhere, 2)).value.ended_well
    go_on(pid)
    assert fork.wait(pid).value.ended_well
    here = fork.call(tiny.what_is_known, Job(memory_path, 3)).value
    tiny.drop_state(memory_path)
    rebuilt = fork.call(tiny.what_is_known, Job(memory_path, 3)).value
    assert [seq for seq, _, _ in here.history["raw"]] == [1, 2, 3]
    assert (here.history, here.heads) == (rebuilt.history, rebuilt.heads)
    assert here.history == fork.call(tiny.what_is_known, Job(elsewhere, 3)).value.history


def publish_and_die_while_read(folder: Path) -> tuple[list[int], list[int]]:
    """A run publishes and dies while another synchronizes; the versions known after that, and after the next time."""
    tiny.prepare(folder, (1,))
    job = Job(folder, 1)
    storage = tiny.environment(job).storage
    pid = os.fork()
    if not pid:
        time.sleep(60)
        os._exit(0)
    host = os.uname().nodename
    RunMarks(storage).open(RunMark("dying", "main", ASSETS, host, pid, 0.0))
    read_chains_of = VersionStore.chains

    def chains(self: VersionStore, asset: str | None = None) -> Any:
        yield from read_chains_of(self, asset)
        if asset == "raw" and RunMarks(storage).open_ids():
            tiny.publish_unrecorded(Job(folder, 2))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    VersionStore.chains = chains  # type: ignore[method-assign]
    with Session.open(tiny.make_project(job), tiny.environment(job)) as session:
        session.synchronize()
        first = session.state.heads("main", ["raw"])["raw"].seq.tolist()
        VersionStore.chains = read_chains_of  # type: ignore[method-assign]
        session.synchronize()
        return first, session.state.heads("main", ["raw"])["raw"].seq.tolist()


@pytest.mark.faults
@pytest.mark.slow
def test_what_a_run_publishes_while_its_log_is_read_is_found_though_it_dies_meanwhile(
    fork: ForkServer, memory_path: Path
) -> None:
    first, second = fork.call(publish_and_die_while_read, memory_path).value
    assert (first, second) == ([1], [2])
