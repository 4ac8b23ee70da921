"""Reading what is published: as which type, which partitions, which time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from assets_core import Context, DailyPartitions, NotFoundError, Project, Session, StaticPartitions, asset
from assets_core.errors import FormatError, SelectionError
from tests.support.projects import Node, World, build_project, open_session

days = DailyPartitions("2024-01-01", "2024-01-06")


@asset(partitions=days)
def tables(context: Context) -> pa.Table:
    return pa.table({"day": [context.partition], "n": [int(str(context.partition)[-2:])]})


@asset(partitions=days)
def documents(context: Context) -> dict:
    return {"day": context.partition}


@asset
def text() -> str:
    return "one"


@asset(partitions=StaticPartitions(["b", "a"]))
def unordered(context: Context) -> pd.DataFrame:
    return pd.DataFrame({"key": [context.partition]})


project = Project(assets=[tables, documents, text, unordered])


@pytest.fixture
def session() -> Iterator[Session]:
    with open_session(project) as opened:
        opened.materialize(["tables", "documents"], "2024-01-02..2024-01-04")
        opened.materialize(["text", "unordered"])
        yield opened


def test_all_that_is_published_comes_in_the_order_of_the_definition(session: Session) -> None:
    assert session.load("tables").to_pydict() == {
        "day": ["2024-01-02", "2024-01-03", "2024-01-04"],
        "n": [2, 3, 4],
    }
    assert session.load("unordered")["key"].tolist() == ["b", "a"]


@pytest.mark.parametrize(
    ("partition", "numbers"),
    [
        ("2024-01-03", [3]),
        ("2024-01-03..2024-01-05", [3, 4]),
        ("latest:3", [3, 4]),
        ("all", [2, 3, 4]),
        ("2024-01-04,2024-01-02", [2, 4]),
    ],
)
def test_an_expression_picks_what_is_read(session: Session, partition: str, numbers: list[int]) -> None:
    assert session.load("tables", partition).to_pydict()["n"] == numbers


def test_a_type_can_be_asked_for(session: Session) -> None:
    assert isinstance(session.load("tables", as_type=pd.DataFrame), pd.DataFrame)
    by_partition = session.load("tables", as_type=dict[str, pa.Table])
    assert list(by_partition) == ["2024-01-02", "2024-01-03", "2024-01-04"]
    assert [table.num_rows for table in session.load("tables", as_type=Iterator[pa.Table])] == [1, 1, 1]


def test_columns_can_be_chosen(session: Session) -> None:
    assert session.load("tables", columns=["n"]).column_names == ["n"]
    with pytest.raises(FormatError, match="nn"):
        session.load("tables", columns=["nn"])


def test_values_that_cannot_be_joined_come_by_partition(session: Session) -> None:
    assert session.load("documents", "2024-01-02") == {"day": "2024-01-02"}
    assert session.load("documents", "2024-01-02..2024-01-03") == {
        "2024-01-02": {"day": "2024-01-02"},
        "2024-01-03": {"day": "2024-01-03"},
    }
    assert session.load("text") == "one"


@pytest.mark.parametrize("partition", ["2024-01-01", "2024-01-05..2024-01-05", "latest"])
def test_what_is_not_published_is_an_error_that_says_what_to_do(session: Session, partition: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        session.load("tables", partition)

    assert caught.value.code == "nothing-published"
    assert f"assetline materialize tables -p {partition}" in caught.value.do


def test_what_cannot_be_meant_is_refused(session: Session) -> None:
    with pytest.raises(SelectionError):
        session.load("tables", "2025-01-01")
    with pytest.raises(SelectionError):
        session.load("text", "2024-01-01")
    with pytest.raises(NotFoundError, match="tables"):
        session.load("table")
    with pytest.raises(NotFoundError):
        session.history("tables", "2025-01-01")
    with pytest.raises(NotFoundError):
        session.history("table")


def test_an_earlier_time_shows_what_was_current_then() -> None:
    world = World()
    with open_session(build_project(world, {"x": Node(partitions=days)})) as session:
        moments = []
        for value in ("first", "second"):
            moments.append(dt.datetime.now(dt.UTC))
            world.values["x"] = value
            session.materialize(["x"], "2024-01-02", force=True)
        moments.append(dt.datetime.now(dt.UTC))

        with pytest.raises(NotFoundError, match="as of"):
            session.load("x", "2024-01-02", as_of=moments[0])
        assert session.load("x", "2024-01-02", as_of=moments[1]) == {"value": "first"}
        assert session.load("x", "2024-01-02", as_of=moments[2]) == {"value": "second"}
        other = moments[1].astimezone(dt.timezone(dt.timedelta(hours=-9)))
        assert session.load("x", "2024-01-02", as_of=other) == {"value": "first"}


def test_history_tells_every_version_newest_first() -> None:
    world = World()
    with open_session(build_project(world, {"x": Node(partitions=days)})) as session:
        runs = []
        for value in ("first", "second"):
            world.values["x"] = value
            runs.append(session.materialize(["x"], "2024-01-02..2024-01-03", force=True).run_id)
        rows = session.history("x", "2024-01-02")

        assert [(row.version, row.current, row.run_id) for row in rows] == [
            ("v2", True, runs[1]),
            ("v1", False, runs[0]),
        ]
        assert len({row.data_version for row in rows}) == 2
        assert {row.partition for row in session.history("x")} == {"2024-01-02", "2024-01-03"}
        assert sum(row.current for row in session.history("x")) == 2
        assert all(row.published_at.tzinfo is not None for row in rows)
        assert rows[0].rows is None
        assert rows[0].bytes > 0


def test_partitions_that_a_definition_no_longer_has_stay_in_the_history() -> None:
    world = World()
    with open_session(build_project(world, {"x": Node(partitions=days)})) as session:
        session.materialize(["x"], "2024-01-01..2024-01-03")
        shorter = DailyPartitions("2024-01-02", "2024-01-06")
        session.project = build_project(world, {"x": Node(partitions=shorter)})

        assert list(session.load("x")) == ["2024-01-02", "2024-01-03"]
        assert len(session.history("x")) == 3
        assert {step.partition for step in session.plan().steps()} == {"2024-01-04", "2024-01-05"}
        session.state.forget_publications()
        session.project = build_project(world, {"x": Node(partitions=days)})
        assert list(session.load("x")) == ["2024-01-01", "2024-01-02", "2024-01-03"]
        assert {step.partition for step in session.plan().steps()} == {"2024-01-04", "2024-01-05"}


def test_an_asset_that_changed_its_format_is_read_by_the_manager_that_wrote_it() -> None:
    @asset(key="x", code_version="1")
    def before() -> str:
        return "text"

    @asset(key="x", code_version="2")
    def after() -> dict[str, Any]:
        return {"a": 1}

    with open_session(Project(assets=[before])) as session:
        session.materialize()
        moment = dt.datetime.now(dt.UTC)
        session.project = Project(assets=[after])
        assert session.load("x") == "text"
        session.materialize()
        assert session.load("x") == {"a": 1}
        assert session.load("x", as_of=moment) == "text"


def test_partitions_of_different_formats_are_not_mixed_and_the_way_out_is_said() -> None:
    @asset(key="x", partitions=days, code_version="1")
    def before() -> str:
        return "text"

    @asset(key="x", partitions=days, code_version="2")
    def after() -> dict[str, Any]:
        return {"a": 1}

    with open_session(Project(assets=[before])) as session:
        session.materialize(["x"], "2024-01-01..2024-01-02")
        session.project = Project(assets=[after])
        session.materialize(["x"], "2024-01-02")
        with pytest.raises(FormatError) as caught:
            session.load("x")

        assert caught.value.code == "formats-differ"
        assert "x[2024-01-01] and x[2024-01-02]" in caught.value.what
        assert session.load("x", "2024-01-01") == "text"
        session.materialize(["x"], "stale")
        assert set(session.load("x")) == {"2024-01-01", "2024-01-02"}
