"""Reading in bulk gives what reading row by row gives, and never shares the file with a connection of this process."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets_core.errors import StateError
from assets_core.state import bulk, current
from assets_core.state.open_files import is_open_here
from assets_core.state.rows import Heads
from assets_core.state.store import StateStore
from tests.assets_core.state_values import open_store, publication, published, run_start, step_changed
from tests.support.profiles import scale

ASSETS = ("orders", "raw/users", "a", "never")
SHAPES = ((), ("a",), ("a", "b"), ("b", "a", "c"))
TRY_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
try:
    connection.execute("BEGIN IMMEDIATE")
    print("free")
except sqlite3.OperationalError as error:
    print(error.sqlite_errorname)
"""


@contextmanager
def read_by(kind: str, rows_at_once: int = 2) -> Iterator[list[bool]]:
    """Every read in bulk, or none; says for each read in bulk whether it was one."""
    seen: list[bool] = []

    def noted(*arguments):  # type: ignore[no-untyped-def]
        found = bulk.read_batches(*arguments)
        seen.append(found is not None)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(current, "worthwhile_rows", lambda: 0 if kind == "bulk" else 10**9)
        patch.setattr(current, "read_batches", noted)
        patch.setattr(bulk, "_ROWS_AT_ONCE", rows_at_once)
        yield seen


def plain(heads: Heads) -> dict[str, object]:
    """Everything in some heads as plain values."""
    numbers = ("positions", "seq", "code_version", "config_version", "data_version", "published_at", "rows")
    return {
        **{name: getattr(heads, name).tolist() for name in (*numbers, "held", "dropped")},
        **{name: [(key, heads.inputs[key].tolist()) for key in heads.inputs] for name in ("inputs",)},
        "columns": [(key, heads.columns[key].tolist()) for key in heads.columns],
        "records": [heads.record_hash(row) for row in range(len(heads))],
        "types": [str(getattr(heads, name).dtype) for name in numbers],
    }


def filled(folder: Path, n: int = 40) -> StateStore:
    store = open_store(folder)
    store.start_run(run_start())
    store.record([published(at, publication("orders", f"p{at}")) for at in range(n)])
    store.record([step_changed(at, "failed", position=n + at, basis=2**63 + at) for at in range(5)])
    return store


@settings(max_examples=scale(12))
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(ASSETS[:3]),
            st.sampled_from([-(2**63), -1, 0, 1, 2, 3, 2**63 - 1]),
            st.integers(1, 3),
            st.sampled_from(["publish", "rollback", "drop"]),
            st.sampled_from(SHAPES),
            st.sampled_from(SHAPES),
            st.sampled_from([None, 0, 2**40]),
        ),
        max_size=25,
    ),
    failed=st.lists(st.tuples(st.sampled_from(ASSETS[:3]), st.integers(0, 9), st.booleans()), max_size=8),
    rows_at_once=st.integers(1, 6),
)
def test_what_is_read_in_bulk_is_what_is_read_row_by_row(rows, failed, rows_at_once) -> None:  # type: ignore[no-untyped-def]
    with tempfile.TemporaryDirectory() as name, open_store(Path(name)) as store:
        store.start_run(run_start())
        store.record(
            [
                published(
                    at,
                    publication(
                        asset, f"p{at}", seq, kind=kind, inputs=inputs, columns=columns, rows=n, salt=index
                    ),
                )
                for index, (asset, at, seq, kind, inputs, columns, n) in enumerate(rows)
            ]
        )
        store.record(
            [
                step_changed(
                    step,
                    "blocked" if is_blocked else "failed",
                    asset=asset,
                    position=at,
                    basis=2**64 - 1 - step,
                )
                for step, (asset, at, is_blocked) in enumerate(failed)
            ]
        )
        found = {}
        for kind in ("rows", "bulk"):
            with read_by(kind, rows_at_once) as seen:
                heads, outcomes = store.heads("main", ASSETS), store.outcomes("main", ASSETS)
            assert all(seen) and len(seen) == (2 if kind == "bulk" else 0)
            found[kind] = (
                {asset: plain(heads[asset]) for asset in ASSETS},
                {
                    asset: (left.positions.tolist(), left.blocked.tolist(), left.basis.tolist())
                    for asset, left in outcomes.items()
                },
            )
        assert found["bulk"] == found["rows"]


def test_many_assets_are_read_in_bulk_with_several_queries(tmp_path: Path) -> None:
    keys = [f"asset_{number:04d}" for number in range(600)]
    with open_store(tmp_path) as store:
        store.start_run(run_start())
        store.record([published(at, publication(key)) for key in keys for at in range(2)])
        with read_by("bulk", 64) as seen:
            heads = store.heads("main", keys)
        assert seen == [True]
        assert all(heads[key].positions.tolist() == [0, 1] for key in keys)


def test_the_file_is_closed_while_it_is_left_and_opened_again(tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        path = tmp_path / "state.db"
        assert is_open_here(path)
        with store._database.left_to_another_library() as left:
            assert left == path and not is_open_here(path)
        assert len(store.heads("main", ["orders"])["orders"]) == 40


def test_a_lock_that_this_process_holds_survives_a_read(tmp_path: Path) -> None:
    path = str(tmp_path / "state.db")
    with filled(tmp_path) as store, open_store(tmp_path) as other, other._database.writing():
        with read_by("bulk") as seen:
            assert len(store.heads("main", ["orders"])["orders"]) == 40
        assert seen == []  # read row by row, for the other store has the file open
        tried = subprocess.run(
            [sys.executable, "-c", TRY_LOCK, path], capture_output=True, text=True, check=True
        )
        assert tried.stdout == "SQLITE_BUSY\n"


def test_a_connection_of_somebody_else_in_this_process_is_noticed(tmp_path: Path) -> None:
    with filled(tmp_path) as store, closing(sqlite3.connect(tmp_path / "state.db")):
        with store._database.left_to_another_library() as left:
            assert left is None
        with read_by("bulk") as seen:
            assert len(store.heads("main", ["orders"])["orders"]) == 40
        assert seen == []


def test_others_wait_to_open_the_file_until_it_is_no_longer_read(tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        reached = threading.Barrier(3)
        found: list[int] = []

        def record() -> None:
            reached.wait()
            store.record([published(99, publication("orders", "late"))])
            found.append(99)

        def open_another() -> None:
            reached.wait()
            with open_store(tmp_path) as other:
                found.append(len(other.heads("main", ["a"])["a"]))

        threads = [threading.Thread(target=record), threading.Thread(target=open_another)]
        with store._database.left_to_another_library() as left:
            assert left is not None
            for thread in threads:
                thread.start()
            reached.wait()
            threads[0].join(0.05)
            assert found == [] and not is_open_here(left)
        for thread in threads:
            thread.join()
        assert sorted(found) == [0, 99]
        assert store.heads("main", ["orders"])["orders"].positions.tolist()[-1] == 99


def test_a_file_that_cannot_be_had_for_long_is_reported_as_locked(tmp_path: Path) -> None:
    with filled(tmp_path) as store, store._database.left_to_another_library() as left:
        assert left is not None
        with pytest.raises(StateError) as caught:
            open_store(tmp_path, timeout_s=0.02)
        assert caught.value.code == "state-locked" and "thread" in caught.value.what


def test_a_store_in_memory_is_read_row_by_row(tmp_path: Path) -> None:
    with open_store(tmp_path, create=False) as store, read_by("bulk") as seen:
        assert len(store.heads("main", ["orders"])["orders"]) == 0
        assert seen == [] and not list(tmp_path.iterdir())


def test_a_database_deleted_while_open_is_still_read_from_the_open_file(tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        for file in tmp_path.iterdir():
            file.unlink()
        with read_by("bulk") as seen:
            assert len(store.heads("main", ["orders"])["orders"]) == 40
        assert seen == [] and not list(tmp_path.iterdir())


def test_a_database_replaced_while_it_is_left_is_an_error_and_not_made_anew(tmp_path: Path) -> None:
    with filled(tmp_path) as store:
        with store._database.left_to_another_library() as left:
            assert left is not None
            left.unlink()
        with pytest.raises(StateError) as caught:
            store.heads("main", ["orders"])
        assert caught.value.code == "state-replaced" and "run the command again" in caught.value.do
        assert not (tmp_path / "state.db").exists()


@pytest.mark.parametrize(
    "change",
    [
        "SET record_hash = x'00'",
        "SET columns = x'0000'",
        "SET inputs = 'text'",
        "SET inputs = 'text' WHERE position = 9",
        "SET column_names = 4711",
        "SET column_names = -1 WHERE position = 9",
        "SET seq = 'seven'",
        "SET seq = 'seven' WHERE position = 9",
    ],
)
def test_values_that_cannot_be_are_damage_in_bulk_too(tmp_path: Path, change: str) -> None:
    filled(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as connection:
        connection.execute(f"UPDATE heads {change}")
    with open_store(tmp_path) as store, read_by("bulk", 4), pytest.raises(StateError) as caught:
        store.heads("main", ["orders"])
    assert caught.value.code == "state-damaged"


@pytest.mark.parametrize("page", range(2, 20, 2))
def test_a_page_of_garbage_is_read_in_bulk_as_row_by_row(tmp_path: Path, page: int) -> None:
    filled(tmp_path, 200).close()
    content = bytearray((tmp_path / "state.db").read_bytes())
    content[page * 4096 : (page + 1) * 4096] = b"\xa5" * 4096
    (tmp_path / "state.db").write_bytes(content)
    found: list[object] = []
    for kind in ("rows", "bulk"):
        with read_by(kind):
            try:
                with open_store(tmp_path) as store:
                    found.append(plain(store.heads("main", ["orders"])["orders"]))
            except StateError as error:
                found.append(error.code)
    assert found[0] == found[1]


@pytest.mark.slow
def test_few_rows_are_read_without_loading_the_driver(tmp_path: Path) -> None:
    filled(tmp_path).close()
    program = (
        "import sys\nfrom assets_core.state.store import StateStore\n"
        f"with StateStore.open('sqlite:///{tmp_path / 'state.db'}') as store:\n"
        "    assert len(store.heads('main', ['orders'])['orders']) == 40\n"
        "print([name for name in ('pyarrow', 'adbc_driver_sqlite', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
