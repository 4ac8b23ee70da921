"""The state database may be lost, damaged, old, locked or read-only: the next plan is the same or a clear error."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from assets_core.errors import StateError
from assets_core.state.store import StateStore
from tests.faults import tiny
from tests.faults.forks import ForkServer
from tests.faults.tiny import ASSETS, Job, Known
from tests.support import figures
from tests.support.invariants import check_store

pytestmark = [pytest.mark.faults, pytest.mark.slow]

_NOBODY = 65534


def known_or_error(job: Job) -> Known | str:
    """What the next command knows, or the code of its error in words."""
    short_timeout()
    try:
        return tiny.what_is_known(job)
    except StateError as error:
        assert error.do and error.what
        return error.code


def short_timeout() -> None:
    """Wait for locks only a moment, in this forked process."""
    defaults = StateStore.open.__func__.__kwdefaults__  # type: ignore[attr-defined]
    defaults["timeout_s"] = 0.1


def materialized(fork: ForkServer, folder: Path, *generations: int) -> Known:
    """A folder with these generations; what is known of it."""
    fork.call(tiny.prepare, folder, generations)
    known: Known = fork.call(tiny.what_is_known, Job(folder, generations[-1])).value
    assert known.seen == dict.fromkeys(ASSETS, generations[-1]) and not known.plan
    return known


def nothing_lost(job: Job) -> list[str]:
    return [
        str(violation) for violation in check_store(tiny.environment(job).storage, max_garbage_attempts=0)
    ]


def test_a_deleted_database_changes_no_plan(fork: ForkServer, memory_path: Path) -> None:
    before = materialized(fork, memory_path, 1, 2)
    tiny.drop_state(memory_path)
    job = Job(memory_path, 2)
    assert fork.call(tiny.what_is_known, job).value == before
    assert fork.call(tiny.materialize, job).value.reports == ()
    assert fork.call(nothing_lost, job).value == []


def test_a_database_cut_anywhere_is_an_error_in_words_or_the_same_plan(
    fork: ForkServer, memory_path: Path
) -> None:
    before = materialized(fork, memory_path, 1, 2)
    file, job = memory_path / "state.db", Job(memory_path, 2)
    whole = file.read_bytes()
    lengths = [0, 1, 15, 16, 99, 100, 1024, 4095, 4096, 4097, *range(8192, len(whole), 12288), len(whole) - 1]
    seen = []
    for length in lengths:
        for beside in memory_path.glob("state.db-*"):
            beside.unlink()
        file.write_bytes(whole[:length])
        found = fork.call(known_or_error, job).value
        seen.append(found if isinstance(found, str) else "same" if found == before else f"other: {found}")
    assert set(seen) <= {"same", "state-damaged"}, list(zip(lengths, seen, strict=True))
    assert seen[0] == "same"  # an empty file is a new database
    assert fork.call(nothing_lost, job).value == []
    tiny.drop_state(memory_path)
    assert fork.call(tiny.what_is_known, job).value == before
    figures.count("state: cut", points=len(lengths), faults=len(lengths))


def test_an_older_copy_of_the_database_learns_what_it_does_not_know(
    fork: ForkServer, memory_path: Path
) -> None:
    materialized(fork, memory_path, 1)
    shutil.copy(memory_path / "state.db", memory_path / "older.db")
    before = materialized(fork, memory_path, 2, 3)
    tiny.drop_state(memory_path)
    shutil.move(memory_path / "older.db", memory_path / "state.db")
    assert fork.call(tiny.what_is_known, Job(memory_path, 3)).value == before
    outcome = fork.call(tiny.materialize, Job(memory_path, 3)).value
    assert (outcome.status, outcome.reports) == ("succeeded", ())


def test_a_copy_taken_during_a_run_does_not_show_that_run_as_running_for_ever(
    fork: ForkServer, memory_path: Path
) -> None:
    materialized(fork, memory_path, 1)
    job = Job(memory_path, 2)
    points = len(fork.call(tiny.materialize, Job(copied(memory_path, "count"), 2)).value.points)
    interrupted = copied(memory_path, "interrupted")
    assert fork.call(tiny.materialize, Job(interrupted, 2), points * 3 // 4).is_killed
    before = materialized(fork, memory_path, 2)
    tiny.drop_state(memory_path)
    for file in interrupted.glob("state.db*"):
        shutil.copy(file, memory_path / file.name)
    known = fork.call(tiny.what_is_known, job).value
    assert known.unfinished == []
    assert (known.plan, known.seen) == (before.plan, before.seen)


def copied(folder: Path, name: str) -> Path:
    target = folder.parent / f"{folder.name}-{name}"
    target.mkdir()
    return tiny.copy_folder(folder, target)


def locked(job: Job, verb: str) -> Any:
    """Use the folder while another connection holds its lock."""
    short_timeout()
    with closing(sqlite3.connect(job.folder / "state.db", isolation_level=None)) as holder:
        holder.execute(f"BEGIN {verb}")
        outcome = tiny.materialize(job)
        holder.execute("ROLLBACK")
    return outcome


@pytest.mark.parametrize("verb", ["IMMEDIATE", "EXCLUSIVE"])
def test_a_locked_database_stops_a_run_before_it_computes(
    fork: ForkServer, memory_path: Path, verb: str
) -> None:
    materialized(fork, memory_path, 1)
    job = Job(memory_path, 2)
    outcome = fork.call(locked, job, verb).value
    assert (outcome.status, outcome.reports) == ("state-locked", ())
    assert "fuser" in outcome.text
    assert tiny.computed(memory_path)[-1] == "report 1"
    assert fork.call(tiny.materialize, job).value.ended_well


def failing_record(job: Job, number: int) -> tuple[str, Known]:
    """The database does not take the nth batch of what happened: how the run ends, and what is known afterwards."""
    record, calls = StateStore.record, []

    def refuse(self: StateStore, batch: Any) -> None:
        calls.append(batch)
        if len(calls) == number:
            raise StateError("state-disk", "the disk is full.", do="make room.")
        record(self, batch)

    StateStore.record = refuse  # type: ignore[method-assign]
    outcome = tiny.materialize(job)
    return outcome.status, tiny.what_is_known(job)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_what_could_not_be_recorded_is_found_by_the_next_command_of_the_same_process(
    fork: ForkServer, memory_path: Path, number: int
) -> None:
    materialized(fork, memory_path, 1)
    job = Job(memory_path, 2)
    status, known = fork.call(failing_record, job, number).value
    assert status in ("state-disk", "succeeded")
    rebuilt = copied(memory_path, "rebuilt")
    tiny.drop_state(rebuilt)
    expected = fork.call(tiny.what_is_known, Job(rebuilt, 2)).value
    assert (known.plan, known.heads, known.seen) == (expected.plan, expected.heads, expected.seen)
    assert known.unfinished == []
    assert fork.call(tiny.materialize, job).value.ended_well
    assert len(tiny.computed(memory_path)) == len(set(tiny.computed(memory_path)))


def as_nobody(action: Callable[[Job], Any], job: Job) -> Any:
    """Act as a user who may not write what belongs to others; root may write anything."""
    if os.geteuid() == 0:
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    return action(job)


@pytest.mark.parametrize("folder_writable", [False, True])
def test_a_read_only_database_is_named_and_nothing_is_lost(
    fork: ForkServer, memory_path: Path, folder_writable: bool
) -> None:
    before = materialized(fork, memory_path, 1)
    job = Job(memory_path, 2)
    for path in (memory_path / "storage", *(memory_path / "storage").rglob("*")):
        path.chmod(0o777)
    for name in ("calls.txt", "acks.jsonl"):
        (memory_path / name).chmod(0o666)
    (memory_path / "state.db").chmod(0o444)
    memory_path.chmod(0o777 if folder_writable else 0o555)
    outcome = fork.call(as_nobody, tiny.materialize, job).value
    assert (outcome.status, outcome.reports) == ("state-unwritable", ())
    assert "state.db" in outcome.text
    memory_path.chmod(0o755)
    (memory_path / "state.db").chmod(0o644)
    assert fork.call(tiny.what_is_known, Job(memory_path, 1)).value == before
    assert fork.call(tiny.materialize, job).value.ended_well
