"""What the state store keeps, and how it is read back."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy

from assets_core.errors import StateError
from assets_core.state import schema
from assets_core.state.rows import Checked
from assets_core.state.store import StateStore
from tests.assets_core.state_values import (
    open_store,
    publication,
    published,
    run_start,
    step_changed,
)


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path) as opened:
        opened.start_run(run_start())
        yield opened


def check(
    name: str = "no_nulls",
    *,
    run_id: str = "run-1",
    position: int = 0,
    at: float = 1.0,
    status: str = "passed",
):
    return Checked(
        run_id, "orders", None, position, name, status, "error", "0 nulls", "no nulls", at, ({"id": 1},)
    )


def test_a_head_holds_what_its_publication_says(store: StateStore) -> None:
    record = publication(partition="2013-01-01", seq=7)
    store.record([published(-5, record)])
    heads = store.heads("main", ["orders"])["orders"]
    assert heads.positions.tolist() == [-5] and heads.positions.dtype == np.int64
    assert heads.seq.tolist() == [7]
    assert (
        heads.code_version.tolist() == [int(record.code_version, 16)]
        and heads.code_version.dtype == np.uint64
    )
    assert heads.config_version.tolist() == [int(record.config_version, 16)]
    assert heads.data_version.tolist() == [int(record.data_version[:16], 16)]
    assert heads.published_at.tolist() == [dt.datetime.fromisoformat(record.published_at).timestamp()]
    assert heads.rows.tolist() == [4321]
    assert {name: values.tolist() for name, values in heads.inputs.items()} == {
        name: [int(use.fingerprint, 16)] for name, use in record.inputs.items()
    }
    assert {name: values.tolist() for name, values in heads.columns.items()} == {
        name: [int(value, 16)] for name, value in record.column_hashes.items()
    }
    assert heads.record_hash(0) == record.self_hash
    assert not heads.held[0] and not heads.dropped[0]


def test_hashes_are_unsigned_over_their_whole_range(store: StateStore) -> None:
    record = publication()
    values = ["0" * 16, "7" + "f" * 15, "8" + "0" * 15, "f" * 16]
    changes = []
    for position, value in enumerate(values):
        changed = publication(seq=1, partition=str(position), columns=("a",))
        for name, new in (("code_version", value), ("config_version", value), ("data_version", value * 2)):
            object.__setattr__(changed, name, new)
        object.__setattr__(changed, "column_hashes", {"a": value})
        changes.append(published(position, changed))
    store.record(changes)
    heads = store.heads("main", [record.asset])[record.asset]
    expected = [int(value, 16) for value in values]
    for array in (heads.code_version, heads.config_version, heads.data_version, heads.columns["a"]):
        assert array.tolist() == expected


def test_heads_come_in_order_of_the_position_for_many_assets_at_once(store: StateStore) -> None:
    for asset in ("b", "a/x", "c"):
        store.record([published(position, publication(asset, str(position))) for position in (30, -10, 20)])
    heads = store.heads("main", ["a/x", "b", "never", "c"])
    assert list(heads) == ["a/x", "b", "never", "c"]
    assert [len(item) for item in heads.values()] == [3, 3, 0, 3]
    for asset in ("a/x", "b", "c"):
        assert heads[asset].positions.tolist() == [-10, 20, 30]
        assert heads[asset].record_hash(1) == publication(asset, "20").self_hash


@pytest.mark.slow
def test_more_assets_than_fit_one_query_are_read_as_well(store: StateStore) -> None:
    keys = [f"asset_{number}" for number in range(1201)]
    store.record([published(0, publication(key, None, inputs=(), columns=())) for key in keys])
    assert all(len(heads) == 1 for heads in store.heads("main", keys).values())


def test_versions_with_other_columns_have_zero_where_they_lack_one(store: StateStore) -> None:
    store.record(
        [
            published(1, publication(partition="1", columns=("a", "b"), inputs=())),
            published(2, publication(partition="2", columns=("b", "c"), inputs=("x",))),
            published(3, publication(partition="3", columns=(), inputs=("x",))),
        ]
    )
    heads = store.heads("main", ["orders"])["orders"]
    assert {name: (values != 0).tolist() for name, values in heads.columns.items()} == {
        "a": [True, False, False],
        "b": [True, True, False],
        "c": [False, True, False],
    }
    assert (heads.inputs["x"] != 0).tolist() == [False, True, True]
    for row, partition in enumerate("12"):
        expected = publication(partition=partition, columns=("b",)).column_hashes["b"]
        assert int(heads.columns["b"][row]) == int(expected, 16)


def test_a_tombstone_is_flagged_and_keeps_its_number_and_hash(store: StateStore) -> None:
    tombstone = publication(seq=4, kind="drop", columns=(), inputs=(), rows=None)
    store.record([published(0, publication(seq=3)), published(0, tombstone)])
    heads = store.heads("main", ["orders"])["orders"]
    assert heads.dropped.tolist() == [True] and heads.seq.tolist() == [4] and heads.rows.tolist() == [-1]
    assert heads.record_hash(0) == tombstone.self_hash
    assert [row.kind for row in store.publications("main", "orders")] == ["drop", "publish"]


def test_a_rollback_is_held_until_the_next_publication(store: StateStore) -> None:
    store.record([published(0, publication(seq=2, kind="rollback"))])
    assert store.heads("main", ["orders"])["orders"].held.tolist() == [True]
    store.record([published(0, publication(seq=3))])
    assert store.heads("main", ["orders"])["orders"].held.tolist() == [False]


def test_branches_do_not_see_each_other(store: StateStore) -> None:
    store.start_run(run_start("run-2", branch="pr-1"))
    store.record([published(0, publication(seq=2)), published(0, publication(seq=9), "run-2")])
    assert store.heads("main", ["orders"])["orders"].seq.tolist() == [2]
    assert store.heads("pr-1", ["orders"])["orders"].seq.tolist() == [9]
    assert len(store.heads("nowhere", ["orders"])["orders"]) == 0


def test_a_publication_of_a_run_elsewhere_needs_only_its_branch(store: StateStore) -> None:
    store.record([published(0, publication(run_id="far"), run_id="far", branch="main")])
    assert store.publications("main", "orders")[0].run_id == "far"
    assert store.run("far") is None and "far" not in store.known_runs()


def test_a_publication_of_an_unknown_run_without_branch_is_refused_and_nothing_is_kept(
    store: StateStore,
) -> None:
    with pytest.raises(StateError, match="does not know the run far"):
        store.record([published(0, publication("kept")), published(0, publication(), run_id="far")])
    assert len(store.heads("main", ["kept"])["kept"]) == 0
    store.record([published(0, publication("kept"))])  # the numbers given to names in vain are not believed
    assert len(store.heads("main", ["kept"])["kept"]) == 1


def test_history_is_by_falling_number(store: StateStore) -> None:
    store.record([published(0, publication(partition="a", seq=seq)) for seq in (2, 10, 1)])
    store.record([published(1, publication(partition="b", seq=5))])
    assert [row.seq for row in store.publications("main", "orders", "a")] == [10, 2, 1]
    assert [row.seq for row in store.publications("main", "orders", "a", limit=2)] == [10, 2]
    newest = store.publications("main", "orders", "a", limit=1)[0]
    record = publication(partition="a", seq=10)
    assert (newest.partition, newest.kind, newest.run_id, newest.rows) == ("a", "publish", "run-1", 4321)
    assert (newest.code_version, newest.data_version) == (record.code_version, record.data_version)
    assert newest.size_bytes == record.size_bytes
    assert [(row.partition, row.seq) for row in store.publications("main", "orders")] == [
        ("a", 10),
        ("b", 5),
        ("a", 2),
        ("a", 1),
    ]


@pytest.mark.parametrize(
    "key", [None, "", "=", "j", "2013-01-01", "a/b'\";--", "naïve\n", "nul\0", "\ud800", "🎈"]
)
def test_any_partition_key_is_kept_apart_from_every_other(store: StateStore, key: str | None) -> None:
    keys = [None, "", "=", "j", "nul", "nul\0", "\ud800", "\\ud800", '"\\ud800"']
    keys = list(dict.fromkeys([*keys, key]))
    store.record([published(at, publication(partition=item, seq=at + 1)) for at, item in enumerate(keys)])
    found = store.publications("main", "orders", key)
    assert [(row.partition, row.seq) for row in found] == [(key, keys.index(key) + 1)]


def test_a_failed_step_leaves_an_outcome_that_a_publication_clears(store: StateStore) -> None:
    store.record(
        [step_changed(0, "failed", position=3, basis=2**64 - 1), step_changed(1, "blocked", position=9)]
    )
    outcomes = store.outcomes("main", ["orders", "other"])
    assert outcomes["orders"].positions.tolist() == [3, 9] and len(outcomes["other"]) == 0
    assert outcomes["orders"].blocked.tolist() == [False, True]
    assert outcomes["orders"].basis.tolist() == [2**64 - 1, 0]
    store.record([published(3, publication(partition="3"))])
    assert store.outcomes("main", ["orders"])["orders"].positions.tolist() == [9]


@pytest.mark.parametrize(
    ("states", "left"),
    [
        (["failed", "publish"], False),
        (["publish", "failed"], True),
        (["failed", "unchanged"], False),
        (["failed", "succeeded"], False),
        (["lost"], True),
        (["retrying"], False),
        (["superseded"], False),
        (["cancelled"], False),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_the_last_change_decides_the_outcome(
    store: StateStore, states: list[str], left: bool, together: bool
) -> None:
    changes = [
        published(0, publication()) if state == "publish" else step_changed(0, state, attempt=number + 1)
        for number, state in enumerate(states)
    ]
    for batch in [changes] if together else [[change] for change in changes]:
        store.record(batch)
    assert (len(store.outcomes("main", ["orders"])["orders"]) == 1) is left


def test_a_step_shows_its_last_state_and_an_older_attempt_does_not_replace_it(store: StateStore) -> None:
    store.record([step_changed(0, "running"), step_changed(0, "retrying", error="oops")])
    store.record([step_changed(0, "succeeded", attempt=2, at=1010.0)])
    store.record([step_changed(0, "lost", attempt=1)])
    store.record([step_changed(1, "failed", partition="p", position=8, error="bad")])
    first, second = store.steps("run-1")
    assert (first.state, first.attempt, first.at, first.error_code) == ("succeeded", 2, 1010.0, "")
    assert (second.asset, second.partition, second.position, second.step) == ("orders", "p", 8, 1)
    assert (second.reason, second.duration_s, second.cpu_s) == ("missing", 0.5, 0.25)
    assert (second.error_code, second.error_message) == ("bad", "bad happened")
    assert store.steps("no-such-run") == []


def test_every_try_without_success_leaves_one_event(store: StateStore) -> None:
    store.record([step_changed(0, "running"), step_changed(0, "retrying", error="first")])
    store.record(
        [step_changed(0, "retrying", error="first"), step_changed(0, "failed", attempt=2, error="second")]
    )
    store.record([step_changed(1, "succeeded"), step_changed(2, "cancelled")])
    assert [
        (event.step, event.attempt, event.state, event.error_code) for event in store.events("run-1")
    ] == [
        (0, 1, "retrying", "first"),
        (0, 2, "failed", "second"),
        (2, 1, "cancelled", ""),
    ]
    assert [event.attempt for event in store.events("run-1", step=0)] == [1, 2]


def test_runs_are_listed_newest_first_and_show_how_they_ended(store: StateStore) -> None:
    store.start_run(run_start("run-2", "pr", started_at=2000.0))
    store.finish_run("run-1", "failed", 1060.5, {"succeeded": 2, "failed": 1})
    assert [run.run_id for run in store.runs()] == ["run-2", "run-1"]
    assert [run.run_id for run in store.runs(limit=1)] == ["run-2"]
    ended = store.run("run-1")
    assert ended is not None
    assert (ended.status, ended.duration_s, ended.counts) == ("failed", 60.5, {"succeeded": 2, "failed": 1})
    assert (ended.project, ended.branch, ended.n_steps, ended.selection) == (
        "shop.definitions",
        "main",
        3,
        "orders+",
    )
    assert (ended.executor, ended.pid, ended.host, ended.code_revision) == ("inline", 4711, "here", "abc")
    running = store.run("run-2")
    assert running is not None and (running.status, running.ended_at, running.duration_s) == (
        "running",
        None,
        None,
    )
    assert [run.run_id for run in store.unfinished_runs()] == ["run-2"]
    assert store.run("run-3") is None


def test_an_interrupted_run_ends_as_failed_with_the_steps_it_recorded(store: StateStore) -> None:
    store.record([step_changed(0, "succeeded"), step_changed(1, "succeeded"), step_changed(2, "running")])
    store.interrupt_run("run-1", 1100.0)
    run = store.run("run-1")
    assert run is not None
    assert (run.status, run.ended_at, run.counts) == ("failed", 1100.0, {"succeeded": 2, "running": 1})
    store.interrupt_run("run-1", 9999.0)
    store.interrupt_run("nobody's", 9999.0)
    assert store.run("run-1") == run


def test_a_run_is_known_once_it_ended_here_or_was_absorbed(store: StateStore) -> None:
    assert store.known_runs() == set()
    store.mark_absorbed("far")
    store.mark_absorbed("far")
    assert store.known_runs() == {"far"}
    store.finish_run("run-1", "succeeded", 1.0, {})
    assert store.known_runs() == {"far", "run-1"}


def test_known_sequences_are_the_highest_numbers_by_path_segment(store: StateStore) -> None:
    store.record([published(0, publication("raw/orders", "a.b", seq=seq)) for seq in (1, 5, 3)])
    store.record([published(0, publication("users", None, seq=2))])
    assert store.known_sequences("main") == {("raw%2Forders", "a%2Eb"): 5, ("users", "~"): 2}
    assert store.known_sequences("main", "users") == {("users", "~"): 2}
    assert store.known_sequences("main", "nothing") == {} == store.known_sequences("pr")


def test_check_results_belong_to_their_run_and_the_newest_verdict_to_the_asset(store: StateStore) -> None:
    store.start_run(run_start("run-2", started_at=2000.0))
    store.record([check(at=1.0, status="failed"), check("unique", at=1.0), check(position=5, at=1.0)])
    store.record([check(run_id="run-2", at=2.0)])
    store.record([check(run_id="run-1", at=1.5, status="warned")])
    assert [(row.check, row.position, row.status) for row in store.check_results("run-1")] == [
        ("no_nulls", 0, "warned"),
        ("no_nulls", 5, "passed"),
        ("unique", 0, "passed"),
    ]
    latest = store.checks_of("main", "orders")
    assert [(row.check, row.position, row.run_id, row.status) for row in latest] == [
        ("no_nulls", 0, "run-2", "passed"),
        ("no_nulls", 5, "run-1", "passed"),
        ("unique", 0, "run-1", "passed"),
    ]
    assert (
        latest[0].sample == ({"id": 1},) and latest[0].observed == "0 nulls" and latest[0].asset == "orders"
    )
    assert store.checks_of("pr", "orders") == [] == store.checks_of("main", "users")


def test_a_store_is_new_until_it_is_told_otherwise_also_when_opened_again(tmp_path: Path) -> None:
    with open_store(tmp_path / "made" / "on demand") as store:
        assert store.is_new
    with open_store(tmp_path / "made" / "on demand") as store:
        assert store.is_new
        store.is_new = False
        identity = store.store_id
    with open_store(tmp_path / "made" / "on demand") as store:
        assert not store.is_new and store.store_id == identity


def test_forgetting_publications_keeps_runs_and_makes_the_store_new(store: StateStore) -> None:
    store.is_new = False
    store.record([published(0, publication()), step_changed(0, "failed")])
    store.mark_absorbed("far")
    store.forget_publications()
    assert store.is_new and store.known_runs() == set()
    assert len(store.heads("main", ["orders"])["orders"]) == 0
    assert store.publications("main", "orders") == []
    assert len(store.runs()) == 1 and len(store.steps("run-1")) == 1


def test_another_storage_is_never_taken_for_the_one_cached(tmp_path: Path) -> None:
    with open_store(tmp_path, storage="file:///a") as store:
        store.start_run(run_start())
        store.record([published(0, publication())])
        store.is_new = False
    with open_store(tmp_path, storage="file:///a") as store:
        assert not store.is_new and len(store.publications("main", "orders")) == 1
    with open_store(tmp_path, storage="file:///b") as store:
        assert store.is_new and store.publications("main", "orders") == []


def test_without_create_a_missing_file_is_kept_in_memory_and_an_existing_one_is_read(tmp_path: Path) -> None:
    with open_store(tmp_path / "folder", create=False) as store:
        store.start_run(run_start())
        store.record([published(0, publication())])
        assert len(store.heads("main", ["orders"])["orders"]) == 1
    assert not (tmp_path / "folder").exists()
    with open_store(tmp_path) as store:
        store.start_run(run_start())
    with open_store(tmp_path, create=False) as store:
        assert len(store.runs()) == 1


def test_a_path_may_hold_what_urls_find_special(tmp_path: Path) -> None:
    folder = tmp_path / "a b?c=%41#d"
    with open_store(folder) as store:
        store.start_run(run_start())
    assert (folder / "state.db").is_file()


def test_a_store_can_be_used_from_several_threads(store: StateStore) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def work(number: int) -> int:
        store.record([published(number, publication(f"asset_{number % 3}", str(number)))])
        return len(store.heads("main", [f"asset_{number % 3}"])[f"asset_{number % 3}"])

    with ThreadPoolExecutor(4) as pool:
        assert min(pool.map(work, range(24))) >= 1
    heads = store.heads("main", ["asset_0", "asset_1", "asset_2"])
    assert [len(item) for item in heads.values()] == [8, 8, 8]


def test_texts_that_no_database_stores_are_kept_with_escapes(store: StateStore) -> None:
    odd = "file \udcff of 3 \0 naïve"
    store.start_run(replace(run_start("run-2"), selection=odd))
    store.record([replace(step_changed(0, "failed"), error_message=odd)])
    store.record([replace(check(odd), observed=odd, expected=odd)])
    clean = "file \\udcff of 3 \\0 naïve"
    assert store.steps("run-1")[0].error_message == store.events("run-1")[0].error_message == clean
    assert [(row.check, row.observed) for row in store.checks_of("main", "orders")] == [(clean, clean)]
    run = store.run("run-2")
    assert run is not None and run.selection == clean


def test_an_empty_batch_is_nothing(store: StateStore) -> None:
    store.record([])
    assert store.steps("run-1") == []


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://user:secret@db/x", "sqlite://", "sqlite:///", "nonsense"]
)
def test_other_databases_are_refused_without_showing_credentials(url: str) -> None:
    with pytest.raises(StateError) as caught:
        StateStore.open(url)
    assert caught.value.code == "state-url-unsupported" and "secret" not in str(caught.value)


def test_every_read_goes_along_a_key_or_an_index(tmp_path: Path) -> None:
    seen: list[tuple[str, object]] = []

    def note(_connection, _cursor, statement, parameters, _context, _many) -> None:
        if statement.startswith("SELECT"):
            seen.append((statement, parameters))

    with open_store(tmp_path) as store:
        store.start_run(run_start())
        store.record([published(0, publication()), step_changed(0, "failed"), check()])
        engine = store._database._engine
        sqlalchemy.event.listen(engine, "before_cursor_execute", note)
        store.heads("main", ["orders"])
        store.outcomes("main", ["orders"])
        store.publications("main", "orders", None)
        store.publications("main", "orders")
        store.runs(5)
        store.run("run-1")
        store.unfinished_runs()
        store.steps("run-1")
        store.events("run-1", 0)
        store.check_results("run-1")
        store.checks_of("main", "orders")
        store.known_sequences("main", "orders")
        sqlalchemy.event.remove(engine, "before_cursor_execute", note)
        with engine.connect() as connection:
            plans = [
                (statement, row[-1])
                for statement, parameters in seen
                for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            ]
    assert len(seen) >= 12
    # listing runs walks the index of their start times, so a SCAN of it stops at the limit
    scans = [plan for plan in plans if plan[1].startswith("SCAN") and "runs_by_start" not in plan[1]]
    assert scans == []


def test_the_schema_and_every_write_compile_for_postgresql() -> None:
    from sqlalchemy.dialects import postgresql
    from sqlalchemy.schema import CreateTable

    dialect = postgresql.dialect()
    tables = [str(CreateTable(table).compile(dialect=dialect)) for table in schema.metadata.sorted_tables]
    assert len(tables) == 14 and not any("ROWID" in table for table in tables)
    statements = schema.WriteStatements(dialect)
    assert "ON CONFLICT (branch, asset, position) DO UPDATE" in statements.heads.sql
    assert statements.names["assets"].parameters([("orders",)]) == [{"name": "orders"}]


def test_defining_what_is_recorded_imports_no_database_library() -> None:
    program = (
        "import sys, assets_core.state.rows, assets_core.state.store\n"
        "print(sorted({'sqlalchemy', 'numpy', 'sqlite3'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
