"""A state database that is damaged, locked, foreign or gone is an error in words, or is made anew; never a crash."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest

from assets_core.errors import StateError
from assets_core.state.rows import Checked
from assets_core.state.store import StateStore
from tests.assets_core.state_values import open_store, publication, published, run_start, step_changed
from tests.support.profiles import scale

HOLD_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
"""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A whole database of some fifty pages, everything in the main file."""
    folder = tmp_path_factory.mktemp("sound")
    with open_store(folder) as store:
        store.start_run(run_start())
        for start in range(0, 400, 100):
            store.record(
                [
                    published(at, publication("orders", f"p{at}", seq=1 + at % 3))
                    for at in range(start, start + 100)
                ]
            )
        store.record([step_changed(at, "failed", asset=f"asset_{at}", error="bad") for at in range(50)])
        store.record(
            [
                Checked(
                    "run-1", "orders", None, at, "unique", "passed", "error", "0", "0", 1.0, ({"id": at},)
                )
                for at in range(20)
            ]
        )
    for suffix in ("-wal", "-shm"):
        assert not (folder / f"state.db{suffix}").exists()
    return (folder / "state.db").read_bytes()


def alter(folder: Path, sql: str) -> None:
    with closing(sqlite3.connect(folder / "state.db", isolation_level=None)) as connection:
        connection.execute(sql)


def use_everything(store: StateStore) -> None:
    store.heads("main", ["orders"])
    store.outcomes("main", [f"asset_{at}" for at in range(50)])
    store.publications("main", "orders", "p7")
    store.publications("main", "orders")
    store.known_sequences("main")
    store.runs()
    store.unfinished_runs()
    store.steps("run-1")
    store.events("run-1")
    store.check_results("run-1")
    store.checks_of("main", "orders")
    store.known_runs()
    store.record([published(7, publication("orders", "p7", seq=99)), step_changed(1, "succeeded")])
    store.interrupt_run("run-1", 2.0)
    store.is_new = False


def try_damaged(folder: Path, content: bytes) -> StateError | None:
    """The error of opening and using a database of that content; any other exception fails the test."""
    folder.mkdir()
    (folder / "state.db").write_bytes(content)
    try:
        with open_store(folder, timeout_s=0.2) as store:
            use_everything(store)
    except StateError as error:
        return error
    finally:
        shutil.rmtree(folder)
    return None


def test_a_sound_database_is_used_without_error(tmp_path: Path, sound: bytes) -> None:
    assert try_damaged(tmp_path / "db", sound) is None


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.5, 0.9])
def test_a_truncated_database_is_reported_as_damaged(tmp_path: Path, sound: bytes, share: float) -> None:
    error = try_damaged(tmp_path / "db", sound[: int(len(sound) * share)])
    assert error is not None and error.code == "state-damaged"
    assert "move" in error.do and "nothing is lost" in error.do and "state.db" in error.what
    assert len(str(error).splitlines()) < 12


@pytest.mark.parametrize("length", [15, 16, 99, 100, 511, 512, 4095, 4096, 4097, 8192])
def test_a_database_of_a_few_bytes_is_an_error_in_words(tmp_path: Path, sound: bytes, length: int) -> None:
    error = try_damaged(tmp_path / "db", sound[:length])
    assert error is not None and error.code == "state-damaged"


def test_an_empty_file_is_a_new_database(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"")
    with open_store(tmp_path) as store:
        assert store.is_new


def test_a_text_file_is_reported_as_damaged(tmp_path: Path) -> None:
    error = try_damaged(tmp_path / "db", b"this is no database\n" * 1000)
    assert error is not None and error.code == "state-damaged"


@pytest.mark.parametrize("seed", range(25))
def test_flipped_bytes_give_an_error_in_words_or_none(tmp_path: Path, sound: bytes, seed: int) -> None:
    rng = random.Random(seed)
    content = bytearray(sound)
    for _ in range(rng.choice([1, 20, 400])):
        content[rng.randrange(len(content))] ^= rng.randrange(1, 256)
    try_damaged(tmp_path / "db", bytes(content))


@pytest.mark.parametrize("page", range(0, 24, 3))
def test_a_page_of_garbage_gives_an_error_in_words_or_none(tmp_path: Path, sound: bytes, page: int) -> None:
    content = bytearray(sound)
    content[page * 4096 : (page + 1) * 4096] = random.Random(page).randbytes(4096)
    error = try_damaged(tmp_path / "db", bytes(content))
    assert error is not None if page == 0 else True


@pytest.mark.slow
def test_no_flipped_byte_of_the_first_pages_gets_through_as_a_raw_error(tmp_path: Path, sound: bytes) -> None:
    rng = random.Random(0)
    for number in range(scale(20)):
        content = bytearray(sound)
        content[rng.randrange(min(len(content), 8 * 4096))] ^= 1 << rng.randrange(8)
        try_damaged(tmp_path / f"db{number}", bytes(content))


@pytest.mark.parametrize(
    ("sql", "read"),
    [
        ("UPDATE heads SET record_hash = x'00'", "heads"),
        ("UPDATE heads SET columns = x'0000'", "heads"),
        ("UPDATE heads SET inputs = 'text'", "heads"),
        ("UPDATE heads SET column_names = 4711", "heads"),
        ("UPDATE heads SET seq = 'seven'", "heads"),
        ("UPDATE name_lists SET name = '{' || id", "heads"),
        ("UPDATE publications SET kind = 77", "publications"),
        ("UPDATE publications SET partition = '?' || partition", "publications"),
        ("UPDATE publications SET rows = 'x'", "publications"),
        ("UPDATE runs SET counts = 'x'", "runs"),
        ("UPDATE check_results SET sample = '{'", "checks_of"),
        ("UPDATE outcomes SET basis = 'x'", "outcomes"),
        ("UPDATE assets SET name = CAST(x'fffe' AS TEXT) WHERE name = 'asset_1'", "steps"),
        ("DROP TABLE heads", "heads"),
        ("ALTER TABLE runs DROP COLUMN host", "runs"),
    ],
)
def test_values_that_cannot_be_are_damage(tmp_path: Path, sound: bytes, sql: str, read: str) -> None:
    (tmp_path / "state.db").write_bytes(sound)
    alter(tmp_path, sql)
    arguments: dict[str, tuple[object, ...]] = {
        "heads": ("main", ["orders"]),
        "publications": ("main", "orders"),
        "runs": (),
        "checks_of": ("main", "orders"),
        "outcomes": ("main", [f"asset_{at}" for at in range(50)]),
        "steps": ("run-1",),
    }
    with open_store(tmp_path) as store, pytest.raises(StateError) as caught:
        getattr(store, read)(*arguments[read])
    assert caught.value.code == "state-damaged"


def test_a_lock_of_another_process_is_named_after_the_timeout(tmp_path: Path) -> None:
    with open_store(tmp_path, timeout_s=0.05) as store:
        store.start_run(run_start())
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLD_LOCK, str(tmp_path / "state.db")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with holder:
            assert holder.stdout is not None and holder.stdin is not None
            assert holder.stdout.readline() == "locked\n"
            with pytest.raises(StateError) as caught:
                store.record([published(0, publication())])
            assert caught.value.code == "state-locked" and "0.05 s" in caught.value.why
            assert store.heads("main", ["orders"])["orders"].seq.tolist() == []  # readers are not held up
            holder.stdin.write("\n")
            holder.stdin.flush()
            holder.wait()
        store.record([published(0, publication())])
        assert store.heads("main", ["orders"])["orders"].seq.tolist() == [1]


def test_a_lock_while_the_tables_are_made_is_named_too(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as holder:
        holder.execute("PRAGMA journal_mode=WAL")
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateError) as caught:
            open_store(tmp_path, timeout_s=0.05)
        assert caught.value.code == "state-locked"


def test_a_deleted_database_is_made_anew(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.start_run(run_start())
        store.record([published(0, publication())])
        store.is_new = False
        for file in tmp_path.iterdir():
            file.unlink()
        with suppress(StateError):
            store.record([published(0, publication(seq=2))])
        with open_store(tmp_path) as second:
            assert second.is_new and second.runs() == []
            second.start_run(run_start("other"))
            second.record([published(0, publication("users"), "other")])
            assert second.heads("main", ["users"])["users"].seq.tolist() == [1]


@pytest.mark.parametrize("left", ["-wal", "-shm"])
def test_what_is_left_beside_a_deleted_database_does_no_harm(tmp_path: Path, left: str) -> None:
    store = open_store(tmp_path)
    store.start_run(run_start())
    store.record([published(0, publication())])
    content = (tmp_path / f"state.db{left}").read_bytes()
    store.close()
    (tmp_path / "state.db").unlink()
    (tmp_path / f"state.db{left}").write_bytes(content)
    with open_store(tmp_path) as again:
        assert again.is_new and again.runs() == []


def test_a_truncated_write_ahead_log_loses_at_most_its_end(tmp_path: Path) -> None:
    store = open_store(tmp_path / "a")
    store.start_run(run_start())
    for seq in range(1, 6):
        store.record([published(0, publication(seq=seq))])
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    store.close()
    log = tmp_path / "b" / "state.db-wal"
    log.write_bytes(log.read_bytes()[:-5000])
    with open_store(tmp_path / "b") as again:
        seqs = again.heads("main", ["orders"])["orders"].seq.tolist()
        assert seqs in ([], [1], [2], [3], [4])


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError) as caught:
        open_store(tmp_path / "file" / "below")
    assert caught.value.code == "state-unwritable" and str(tmp_path / "file") in caught.value.what


def test_a_folder_in_the_place_of_the_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.db").mkdir()
    with pytest.raises(StateError) as caught:
        open_store(tmp_path)
    assert caught.value.code == "state-unwritable"


def test_a_database_of_a_newer_version_is_not_touched(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.start_run(run_start())
    alter(tmp_path, "UPDATE meta SET value = '2' WHERE key = 'schema_version'")
    before = (tmp_path / "state.db").read_bytes()
    with pytest.raises(StateError) as caught:
        open_store(tmp_path)
    assert caught.value.code == "state-newer" and "upgrade" in caught.value.do
    assert (tmp_path / "state.db").read_bytes() == before


def test_somebody_elses_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    alter(tmp_path, "CREATE TABLE customers (id)")
    with pytest.raises(StateError) as caught:
        open_store(tmp_path)
    assert caught.value.code == "state-foreign" and "customers" in caught.value.why
