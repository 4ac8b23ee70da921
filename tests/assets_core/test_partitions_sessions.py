"""Assets by several dimensions and by dynamic keys, planned, run and read on every executor."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from assets_core import (
    DailyPartitions,
    DefinitionError,
    DynamicPartitions,
    Environment,
    In,
    MultiPartitions,
    NotFoundError,
    Project,
    Session,
    StaticPartitions,
    dimension,
    mapped,
)
from assets_core.errors import SelectionError
from tests.support.projects import Node, World, build_project, memory_environment, open_session
from tests.support.sliced_project import project

EXECUTORS = ("inline", "threads", pytest.param("processes", marks=pytest.mark.slow))
SALES = [f"day=2024-01-0{day}|region={region}" for day in (1, 2, 3) for region in ("north", "so\\|uth")]


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Environment]:
    with Environment.ephemeral(tmp_path) as opened:
        yield opened


@pytest.fixture
def session(environment: Environment) -> Iterator[Session]:
    with open_session(project, environment) as opened:
        yield opened


def ran(session: Session, run_id: str) -> list[tuple[str, str | None]]:
    return [(step.asset, step.partition) for step in session.steps(run_id) if step.state == "succeeded"]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_every_executor_runs_several_dimensions_and_dynamic_keys(session: Session, executor: str) -> None:
    first = session.materialize(executor=executor, workers=2)
    assert (first.status, first.failures) == ("succeeded", ())
    assert first.steps["succeeded"] == 3 + 6 + 6 + 3 + 2 + 1 + 1 + 1
    assert session.load("sales", r"day=2024-01-02|region=so\|uth") == {
        "rates": "2024-01-02",
        "start": "2024-01-02T00:00:00+00:00",
        "day": "2024-01-02",
        "region": "so|uth",
    }
    assert session.load("totals", "2024-01-01") == SALES[:2]
    assert session.load("totals", "2024-01-03") == SALES[2:]
    assert session.load("by_region", "north") == SALES[::2]
    assert session.load("world") == ["north", "so|uth"]
    assert session.load("shares", "day=2024-01-02|region=north") == ["2024-01-02", "north"]
    assert session.partition_keys("customers") == ("ann", "bob")

    second = session.materialize(executor=executor, workers=2)
    assert second.status == "succeeded"
    assert second.steps["succeeded"] == 2 + 6 + 1
    assert session.load("orders", "customer=bob|day=2024-01-02") == "profile of bob on 2024-01-02"
    assert session.load("census") == ["ann", "bob"]
    assert not session.plan().n_steps


def test_a_change_in_one_combination_reaches_what_reads_it_and_nothing_else() -> None:
    days, regions = DailyPartitions("2024-01-01", "2024-01-04"), StaticPartitions(["n", "s"])
    both = MultiPartitions(day=days, region=regions)
    world = World()
    nodes = {
        "sales": Node(partitions=both),
        "by_day": Node({"sales": In("sales", partitions=dimension("day"))}, days),
        "by_region": Node({"sales": In("sales", partitions=dimension("region"))}, regions),
        "some": Node({"sales": In("sales", partitions=mapped({"n": "day=2024-01-01|region=s"}))}, regions),
    }
    with open_session(build_project(world, nodes)) as session:
        assert session.materialize().status == "succeeded"
        world.calls.clear()
        world.values["sales"] = 1
        assert session.materialize(["sales"], "day=2024-01-02|region=s", force=True).steps["succeeded"] == 1
        result = session.materialize()
        assert sorted(ran(session, result.run_id)) == [("by_day", "2024-01-02"), ("by_region", "s")]
        status = {row.asset: row for row in session.status()}
        assert (status["sales"].fresh, status["sales"].latest) == (6, "day=2024-01-03|region=n")


def test_a_range_of_days_is_meant_for_every_asset_that_has_days(session: Session) -> None:
    plan = session.plan(["rates", "sales", "totals"], "2024-01-02")
    counts = {group.asset: len(group.partitions) for group in plan.groups}
    assert counts == {"rates": 1, "sales": 2, "totals": 1}
    plan = session.plan(["+shares"], "day=2024-01-02..2024-01-03|region=north")
    assert {group.asset: str(group.partitions) for group in plan.groups} == {
        "rates": "2024-01-02..2024-01-03",
        "sales": "day=2024-01-02..2024-01-03|region=north",
        "shares": "day=2024-01-02..2024-01-03|region=north",
    }


def test_the_latest_partition_is_that_of_the_latest_window_whatever_the_dimensions_names() -> None:
    both = MultiPartitions(
        a_region=StaticPartitions(["n", "s"]), day=DailyPartitions("2024-01-01", "2024-01-04")
    )
    with open_session(build_project(World(), {"sales": Node(partitions=both)})) as session:
        session.materialize(["sales"], "a_region=n|day=2024-01-03,a_region=s|day=2024-01-01")
        (status,) = session.status()
        assert status.latest == "a_region=n|day=2024-01-03"
        assert status.lag_s is not None


def test_without_keys_there_is_nothing_to_do(session: Session) -> None:
    assert not session.plan(["profile", "orders"]).total
    assert session.materialize(["profile", "orders"]).status == "succeeded"
    (status,) = session.status(["profile"])
    assert (status.fresh, status.missing, status.latest) == (0, 0, None)
    assert not session.plan(["profile"], "all").total
    with pytest.raises(SelectionError, match="there are no dynamic partitions yet"):
        session.plan(["profile"], "ann")


def test_keys_come_and_go_and_only_what_reads_them_all_runs_again(session: Session) -> None:
    assert session.add_partitions("customers", ["ann", "bob", "ann"]) == ("ann", "bob")
    assert session.add_partitions("profile", ["bob", "cy"]) == ("cy",)
    session.materialize(["profile", "census"])
    assert session.load("census") == ["ann", "bob", "cy"]

    assert session.remove_partitions("customers", ["ann"]) == ("ann",)
    result = session.materialize(["profile", "census"])
    assert ran(session, result.run_id) == [("census", None)]
    assert session.load("census") == ["bob", "cy"]
    assert [row.version for row in session.history("profile", "ann")] == ["v1"]
    with pytest.raises(SelectionError):
        session.load("profile", "ann")

    session.add_partitions("customers", ["ann"])
    result = session.materialize(["profile", "census"])
    assert ran(session, result.run_id) == [("census", None)]
    assert session.load("profile", "ann") == "profile of ann"


def test_a_lost_state_database_loses_no_key_and_no_version() -> None:
    environment = memory_environment()
    with open_session(project, environment) as session:
        session.add_partitions("customers", ["ann", "bob"])
        session.materialize(["profile", "orders", "rates", "sales"])
        session.remove_partitions("customers", ["ann"])
    with open_session(project, environment) as session:  # its database is new, and in memory
        assert session.partition_keys("customers") == ("bob",)
        assert not session.plan(["profile", "orders", "rates", "sales"]).n_steps
        session.add_partitions("customers", ["ann"])
        assert not session.plan(["profile", "orders"]).n_steps


def test_keys_of_what_is_not_dynamic_are_refused(session: Session) -> None:
    with pytest.raises(NotFoundError, match="nearest: 'customers'"):
        session.add_partitions("customer", ["ann"])
    with pytest.raises(NotFoundError, match="the partitions of the asset 'rates' are not dynamic"):
        session.add_partitions("rates", ["ann"])
    with pytest.raises(NotFoundError, match="there is no partition 'ann'"):
        session.remove_partitions("customers", ["ann"])
    for keys in ([""], [7], "ann"):
        with pytest.raises(DefinitionError, match="partition-key-invalid"):
            session.add_partitions("customers", keys)
    assert session.partition_keys("orders") == ()


def test_a_definition_changed_after_data_exists_keeps_what_still_has_its_keys() -> None:
    environment, world = memory_environment(), World()
    days, names = DailyPartitions("2024-01-01", "2024-01-03"), DynamicPartitions("names")

    def defined(**dimensions: object) -> Project:
        return build_project(world, {"a": Node(partitions=MultiPartitions(**dimensions))})

    with open_session(defined(day=days, name=names), environment) as session:
        session.add_partitions("names", ["x", "y"])
        assert session.materialize().steps["succeeded"] == 4
    longer = DailyPartitions("2023-12-31", "2024-01-03")
    with open_session(defined(day=longer, name=names), environment) as session:
        plan = session.plan()
        assert str(plan.partitions("a")) == "day=2023-12-31"
        assert plan.fresh == 4
    with open_session(defined(day=days), environment) as session:  # a dimension disappears
        assert [step.partition for step in session.plan().steps()] == ["day=2024-01-01", "day=2024-01-02"]
        assert len(session.history("a")) == 4
        assert len(session.history("a", "day=2024-01-01|name=x")) == 1
        with pytest.raises(NotFoundError):
            session.history("a", "day=2024-01-01|name=z")


def test_a_wrong_mapping_is_an_error_of_the_project() -> None:
    days = DailyPartitions("2024-01-01", "2024-01-03")
    both = MultiPartitions(day=days, name=DynamicPartitions("names"))
    for item, what in (
        (In("a"), r"dimension\('day'\)"),
        (In("a", partitions=dimension("dya")), "no dimension 'dya'"),
        (In("a", partitions=mapped({"2024-01-01": "nowhere"})), "names 'nowhere'"),
    ):
        with pytest.raises(DefinitionError, match=what) as raised:
            build_project(World(), {"a": Node(partitions=both), "b": Node({"x": item}, days)})
        assert raised.value.code == "partition-mismatch"


def test_keys_are_seen_by_other_sessions_and_each_plan_sees_one_state_of_them(
    environment: Environment,
) -> None:
    with open_session(project, environment) as one, open_session(project, environment) as two:
        for number in range(70):
            (one if number % 2 else two).add_partitions("customers", [f"c{number}"])
        assert one.partition_keys("customers") == two.partition_keys("customers")
        assert one.partition_keys("customers") == tuple(f"c{number}" for number in range(70))
        plan = one.plan(["profile", "orders"])
        assert plan.n_steps == 70 + 210


def test_context_in_a_test_stores_nothing() -> None:
    from assets_core import Context
    from tests.support.sliced_project import finder

    context = Context.for_test(
        partition="day=2024-01-01|region=n", dimensions={"day": "2024-01-01", "region": "n"}
    )
    assert context.dimensions["region"] == "n"
    assert finder(context) == ["ann", "bob"]
    assert json.dumps(dict(context.dimensions))


def test_a_customers_day_is_closed_with_the_clock() -> None:
    both = MultiPartitions(day=DailyPartitions("2024-01-01"), name=DynamicPartitions("names"))
    with open_session(build_project(World(), {"a": Node(partitions=both)})) as session:
        session.add_partitions("names", ["x"])
        session.now = lambda: dt.datetime(2024, 1, 3, tzinfo=dt.UTC)
        assert session.materialize().steps["succeeded"] == 2
        session.now = lambda: dt.datetime(2024, 1, 4, tzinfo=dt.UTC)
        assert [step.partition for step in session.plan().steps()] == ["day=2024-01-03|name=x"]
