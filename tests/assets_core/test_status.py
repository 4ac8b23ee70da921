"""Where things stand: every partition in one state, and how old the newest is."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import pytest

from assets_core import (
    CheckResult,
    Context,
    DailyPartitions,
    Freshness,
    Project,
    Session,
    StaticPartitions,
    asset,
    asset_check,
)
from assets_core.status import AssetStatus, partitions_in_state
from tests.support.projects import Node, World, build_project, open_session

letters = StaticPartitions(["a", "b", "c", "d"])
days = DailyPartitions("2024-01-01", "2024-01-05", "America/New_York")


def row(session: Session, key: str) -> AssetStatus:
    (found,) = session.status([key])
    return found


def counts(status: AssetStatus) -> dict[str, int]:
    states = {name: getattr(status, name) for name in ("fresh", "stale", "missing", "failed", "blocked")}
    return {name: count for name, count in states.items() if count}


class Mixed:
    """`x -> y -> z`, of which x fails at d, y is blocked at b and c."""

    passes = frozenset("a")

    def define(self, version: str = "1") -> Project:
        mixed = self

        @asset(partitions=letters, code_version=version)
        def x(context: Context) -> dict:
            if context.partition == "d":
                raise ValueError("d is broken")
            return {"version": version}

        @asset(partitions=letters, code_version="1")
        def y(context: Context, x: dict[str, Any]) -> dict:
            return {"partition": context.partition}

        @asset(partitions=letters, code_version="1")
        def z(y: dict[str, Any]) -> dict:
            return y

        @asset_check(asset="y")
        def gate(y: dict[str, Any]) -> CheckResult:
            return CheckResult(y["partition"] in mixed.passes)

        return Project(assets=[x, y, z], checks=[gate])


def test_every_partition_is_in_the_state_that_a_run_left_it_in() -> None:
    with open_session(Mixed().define()) as session:
        session.materialize(keep_going=True)

        assert counts(row(session, "x")) == {"fresh": 3, "failed": 1}
        assert counts(row(session, "y")) == {"fresh": 1, "blocked": 2, "missing": 1}
        assert counts(row(session, "z")) == {"fresh": 1, "blocked": 2, "missing": 1}


def test_states_pick_the_partitions_that_they_count() -> None:
    with open_session(Mixed().define()) as session:
        session.materialize(keep_going=True)
        snapshot = session.snapshot(list(session.project.graph.order))
        found = {
            (key, word): str(partitions_in_state(snapshot, key, word))
            for key, word in itertools.product("xy", ("missing", "stale", "failed"))
        }

        assert found["x", "failed"] == "d"
        assert (found["x", "missing"], found["x", "stale"]) == ("", "")
        assert (found["y", "failed"], found["y", "missing"]) == ("b..c", "d")


def test_stale_counts_its_reasons() -> None:
    world = World()
    nodes = {"x": Node(partitions=letters), "y": Node({"x": "x"}, letters)}
    with open_session(build_project(world, nodes)) as session:
        session.materialize()
        world.values["x"] = "new"
        session.materialize(["x"], "a", force=True)
        assert row(session, "y").reasons == {"input_changed": 1}
        nodes["y"] = Node({"x": "x"}, letters, version="2")
        session.project = build_project(world, nodes)
        assert row(session, "y").reasons == {"code_changed": 4}
        assert counts(row(session, "y")) == {"stale": 4}


def test_status_of_one_asset_looks_at_all_that_is_above_it() -> None:
    world = World()
    nodes = {"x": Node(), "y": Node({"x": "x"}), "z": Node({"y": "y"})}
    with open_session(build_project(world, nodes)) as session:
        session.materialize()
        nodes["x"] = Node(version="2")
        session.project = build_project(world, nodes)

        assert counts(row(session, "z")) == {"stale": 1}
        assert [status.asset for status in session.status(["z"])] == ["z"]


def test_nothing_is_run_and_nothing_recorded_by_looking() -> None:
    world = World()
    with open_session(build_project(world, {"x": Node(partitions=letters)})) as session:
        session.status()

        assert not world.calls
        assert session.runs() == []


def test_lag_is_measured_from_the_end_of_the_newest_window() -> None:
    with open_session(build_project(World(), {"x": Node(partitions=days)})) as session:
        session.materialize(["x"], "2024-01-03")
        session.materialize(["x"], "2024-01-01")
        session.now = lambda: dt.datetime(2024, 1, 4, 17, tzinfo=dt.UTC)
        status = row(session, "x")

        assert (status.latest, status.lag_s, status.late) == ("2024-01-03", 12 * 3600, None)


def test_lag_of_an_asset_without_windows_is_the_age_of_its_data() -> None:
    with open_session(build_project(World(), {"x": Node(), "s": Node(partitions=letters)})) as session:
        session.materialize()
        later = dt.datetime.now(dt.UTC) + dt.timedelta(hours=2)
        session.now = lambda: later
        for key in ("x", "s"):
            lag_s = row(session, key).lag_s
            assert lag_s is not None
            assert 7200 - 60 < lag_s <= 7201
        assert row(session, "x").latest is not None
        assert dt.datetime.fromisoformat(str(row(session, "x").latest)).tzinfo is not None


@pytest.mark.parametrize(("hours", "late"), [(25, False), (27, True)])
def test_late_says_that_the_freshness_is_broken(hours: int, late: bool) -> None:
    nodes = {"x": Node(partitions=days, options={"freshness": Freshness(within="26h")})}
    with open_session(build_project(World(), nodes)) as session:
        session.now = lambda: dt.datetime(2024, 1, 5, 5, tzinfo=dt.UTC) + dt.timedelta(hours=hours)
        assert row(session, "x").late is True, "nothing is published"
        session.materialize()
        assert row(session, "x").late is late
