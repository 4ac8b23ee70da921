"""The steps of a plan as a run takes them: each once, upstream first, waiting for exactly what it reads."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets_core import DailyPartitions, In, Retry, all_partitions
from assets_core.engine.schedule import RunSchedule
from tests.support.projects import Node, World, build_project, open_session
from tests.support.random_graphs import graphs


def scheduled(nodes: dict[str, Node], select: tuple[str, ...] = (), done: tuple[str, ...] = ()) -> Any:
    with open_session(build_project(World(), nodes)) as session:
        if done:
            session.materialize(done)
        plan, snapshot = session._plan(select, None, force=bool(done))
        return RunSchedule(plan, snapshot), plan, snapshot


@pytest.mark.slow
@settings(deadline=None, max_examples=30, suppress_health_check=list(HealthCheck))
@given(graphs(), st.integers(0, 31))
def test_a_step_waits_for_the_planned_partitions_that_it_reads(nodes: dict[str, Node], mask: int) -> None:
    with open_session(build_project(World(), nodes)) as session:
        session.materialize()
        select = [key for n, key in enumerate(sorted(nodes)) if mask >> n & 1]
        plan, snapshot = session._plan(select, None, force=True)
        schedule = RunSchedule(plan, snapshot)
        planned = [schedule.planned(step) for step in range(len(schedule))]
        places = {(item.asset, item.partition): step for step, item in enumerate(planned)}

        assert planned == list(plan.steps())
        for step, item in enumerate(planned):
            expected = set()
            for read in snapshot.asset(item.asset).inputs:
                needed = snapshot.spans(item.asset, read).upstream(
                    snapshot.space(item.asset).subset([item.partition])
                )
                expected |= {places[read.asset, key] for key in needed.keys() if (read.asset, key) in places}
            upstream = list(schedule.graph.upstream(step))
            assert set(upstream) == expected
            assert all(above < step for above in upstream)
            positions = snapshot.space(item.asset).positions()
            assert schedule.position_of(step) == positions[schedule.ordinal_of(step)]


def test_an_input_that_may_be_skipped_and_one_that_may_not_are_told_apart() -> None:
    nodes = {
        "x": Node(),
        "hard": Node({"x": "x"}),
        "soft": Node({"x": In("x", missing="skip")}),
        "after": Node(options={"deps": ["x"]}),
    }
    schedule, plan, _ = scheduled(nodes)
    names = [step.asset for step in plan.steps()]
    softness = {
        names[step]: list(schedule.graph.soft[slice(*schedule.graph.indptr[step : step + 2])])
        for step in range(len(schedule))
    }
    assert softness == {"x": [], "hard": [0], "soft": [1], "after": [0]}


def test_a_step_waits_for_all_partitions_of_a_window() -> None:
    days = DailyPartitions("2024-01-01", "2024-01-04")
    nodes = {"x": Node(partitions=days), "y": Node({"x": In("x", partitions=all_partitions())})}
    schedule, _, _ = scheduled(nodes)

    assert list(schedule.graph.upstream(3)) == [0, 1, 2]
    assert [schedule.asset_of(step) for step in range(4)] == ["x", "x", "x", "y"]
    assert [schedule.reason_of(step) for step in range(4)] == ["missing"] * 4


def test_equal_retry_policies_are_one() -> None:
    nodes = {
        "a": Node(options={"retries": Retry(3)}),
        "b": Node(options={"retries": Retry(3)}),
        "c": Node(),
    }
    schedule, plan, _ = scheduled(nodes)
    by_asset = {
        step.asset: schedule.policies[schedule.policy_of[number]].max_attempts
        for number, step in enumerate(plan.steps())
    }

    assert len(schedule.policies) == 2
    assert by_asset == {"a": 3, "b": 3, "c": 1}


def test_an_empty_plan_is_an_empty_schedule() -> None:
    with open_session(build_project(World(), {"a": Node()})) as session:
        session.materialize()
        schedule = RunSchedule(*session._plan((), None, force=False))

    assert len(schedule) == len(schedule.graph) == 0
