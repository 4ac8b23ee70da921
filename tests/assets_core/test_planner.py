"""What is planned after one thing changed: only what it changes, with the reason that is there to see."""

from __future__ import annotations

import dataclasses
import datetime as dt
import importlib
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assets_core import (
    CheckResult,
    Context,
    DailyPartitions,
    HourlyPartitions,
    In,
    MonthlyPartitions,
    NotFoundError,
    PlanError,
    Project,
    Session,
    StaticPartitions,
    all_partitions,
    asset,
    asset_check,
    shift,
    trailing,
)
from assets_core.definition.asset import Asset
from assets_core.errors import SelectionError
from assets_core.planning.plan import Plan
from tests.support.projects import Node, World, build_project, open_session

letters = StaticPartitions(["a", "b", "c"])
days = DailyPartitions(start="2024-01-01", end="2024-01-08")
hours = HourlyPartitions(start="2024-01-01", end="2024-01-08")
months = MonthlyPartitions(start="2024-01", end="2024-04")


class Lab:
    """A session whose project can be changed."""

    def __init__(self, **nodes: Node) -> None:
        self.world = World()
        self.nodes = dict(nodes)
        self.extra: list[Asset] = []
        self.session: Session

    def define(self) -> Project:
        return build_project(self.world, self.nodes, self.extra)

    def change(self, key: str, **fields: Any) -> None:
        self.nodes[key] = dataclasses.replace(self.nodes[key], **fields)
        self.session.project = self.define()

    def run(self, *select: str, **options: Any) -> dict[str, int]:
        result = self.session.materialize(select, **options)
        return {state: count for state, count in result.steps.items() if count}


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The graph that the test's mark `nodes` describes; one chain x, y, z by letters without it."""
    made = Lab(
        x=Node(partitions=letters),
        y=Node({"x": "x"}, letters),
        z=Node({"y": In("y", partitions=all_partitions())}),
    )
    with open_session(made.define()) as made.session:
        yield made


def reasons(plan: Plan) -> dict[str, str]:
    """By asset partition, without the details."""
    return {
        step.asset if step.partition is None else f"{step.asset}[{step.partition}]": step.reason
        for step in plan.steps()
    }


def details(plan: Plan) -> dict[str, str]:
    return {f"{group.asset} {group.partitions}": group.detail for group in plan.groups}


def planned(session: Session, *select: str, **options: Any) -> dict[str, str]:
    return reasons(session.plan(select, **options))


# -- what changes what -----------------------------------------------------------------------------------------------


def test_a_changed_code_plans_that_asset_and_what_reads_it(lab: Lab) -> None:
    lab.run()
    lab.change("y", version="2")

    assert planned(lab.session) == {
        "y[a]": "code_changed",
        "y[b]": "code_changed",
        "y[c]": "code_changed",
        "z": "input_changed",
    }
    assert details(lab.session.plan())["z all"] == "y will be recomputed"


def test_an_upstream_recomputed_with_the_same_output_ends_the_rest_as_unchanged(lab: Lab) -> None:
    lab.world.values["y"] = "always"
    lab.run()
    lab.world.ran()
    lab.world.values["x"] = "new"
    lab.change("x", version="2")

    assert lab.run() == {"succeeded": 6, "unchanged": 1}
    assert lab.world.ran() == {"x": 3, "y": 3}
    assert lab.run() == {}


def test_a_step_below_an_equal_output_does_not_run(lab: Lab) -> None:
    lab.world.values["x"] = "always"
    lab.run()
    lab.world.ran()
    lab.change("x", version="2")

    assert lab.run() == {"succeeded": 3, "unchanged": 4}
    assert lab.world.ran() == {"x": 3}
    assert lab.run() == {}
    assert len(lab.session.history("y", "a")) == 1


def test_only_the_partitions_below_a_change_run(lab: Lab) -> None:
    lab.run()
    lab.world.ran()
    lab.world.values["x"] = "other"
    lab.session.materialize(["x"], "b", force=True)

    assert planned(lab.session) == {"y[b]": "input_changed", "z": "input_changed"}
    assert details(lab.session.plan()) == {"y b": "x changed", "z all": "y will be recomputed"}
    lab.run()
    assert lab.world.ran() == {"x": 1, "y": 1, "z": 1}


def test_failed_is_a_reason_until_it_succeeds(lab: Lab) -> None:
    lab.world.broken.add(("x", "b"))
    lab.run(keep_going=True)

    assert planned(lab.session) == {"x[b]": "failed", "y[b]": "missing", "z": "missing"}
    lab.world.broken.clear()
    lab.run()
    assert planned(lab.session) == {}


def test_a_failed_recomputation_keeps_the_reason_that_it_had(lab: Lab) -> None:
    lab.run()
    lab.change("x", version="2")
    lab.world.broken.add(("x", "b"))
    lab.run("x", keep_going=True)

    assert planned(lab.session, "x") == {"x[b]": "code_changed"}
    assert lab.session.load("x", "b") == {"asset": "x", "partition": "b", "inputs": {}}


def test_force_runs_what_is_named_and_no_more(lab: Lab) -> None:
    lab.run()

    assert planned(lab.session, "y", force=True) == {f"y[{name}]": "forced" for name in "abc"}
    assert planned(lab.session, "y", force=True, partitions="b") == {"y[b]": "forced"}
    assert planned(lab.session, "+y", force=True, partitions="b") == {"y[b]": "forced"}
    assert planned(lab.session, "y+", force=True, partitions="b") == {"y[b]": "forced", "z": "input_changed"}


def test_an_asset_that_reads_one_input_less_or_more_runs_again(lab: Lab) -> None:
    lab.run()
    lab.change("z", reads={})
    assert planned(lab.session) == {"z": "code_changed"}
    lab.run()
    lab.change(
        "z", reads={"y": In("y", partitions=all_partitions()), "x": In("x", partitions=all_partitions())}
    )
    assert planned(lab.session) == {"z": "code_changed"}


def test_a_longer_definition_plans_only_the_new_partitions(lab: Lab) -> None:
    lab.run()
    lab.nodes = {"x": Node(partitions=DailyPartitions("2024-01-01", "2024-01-03"))}
    lab.session.project = lab.define()
    lab.run()
    lab.change("x", partitions=DailyPartitions("2023-12-31", "2024-01-04"))

    assert planned(lab.session) == {"x[2023-12-31]": "missing", "x[2024-01-03]": "missing"}


# -- code as text ----------------------------------------------------------------------------------------------------

SOURCE = '''
from assets_core import Project, asset

FACTOR = 2


def helper(value: int) -> int:
    return value * FACTOR


@asset
def first() -> int:
    """The first."""
    return helper(1)


@asset
def second(first: int) -> int:
    return first + 1


@asset
def third() -> int:
    return 3


project = Project.from_module(__name__)
'''

REFORMATTED = '''
"""Now with a docstring."""
from assets_core import asset, Project
FACTOR = (2)  # doubled


@asset
def third() -> int: return 3  # moved up


@asset(description="the first one", tags={"tier": "gold"}, owner="me", group="g")
def first( ) -> int:
    """Another text."""
    # a comment
    return helper(
        1,
    )


def helper(value: int) -> int:
    """Multiply."""

    return (value * FACTOR)


@asset
def second(first: int) -> int:
    return first+1


def nobody_calls_this() -> None:
    return None


project = Project.from_module(__name__)
'''

_FOLDERS = itertools.count()


@pytest.fixture
def load_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def load(text: str) -> Project:
        folder = tmp_path / str(next(_FOLDERS))
        folder.mkdir()
        (folder / "planner_shop.py").write_text(text)
        monkeypatch.syspath_prepend(str(folder))
        sys.modules.pop("planner_shop", None)
        return importlib.import_module("planner_shop").project  # type: ignore[no-any-return]

    yield load
    sys.modules.pop("planner_shop", None)


def test_formatting_comments_and_labels_plan_nothing(load_source: Any) -> None:
    with open_session(load_source(SOURCE)) as session:
        session.materialize()
        session.project = load_source(REFORMATTED)

        assert planned(session) == {}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("return 3", "return 4", {"third": "code_changed"}),
        ("value * FACTOR", "value * FACTOR + 1", {"first": "code_changed", "second": "input_changed"}),
        ("FACTOR = 2", "FACTOR = 3", {"first": "code_changed", "second": "input_changed"}),
        ("FACTOR = 2", "FACTOR = 1 + 1", {}),
        ("first + 1", "first + 2", {"second": "code_changed"}),
    ],
)
def test_a_change_of_code_plans_what_reaches_it(
    load_source: Any, before: str, after: str, expected: dict[str, str]
) -> None:
    with open_session(load_source(SOURCE)) as session:
        session.materialize()
        session.project = load_source(SOURCE.replace(before, after))

        assert planned(session) == expected


# -- gates -----------------------------------------------------------------------------------------------------------


class Gate:
    """A chain `source -> gated -> below` whose gate passes by partition."""

    def __init__(self) -> None:
        self.passes: set[str | None] = {"a"}
        self.calls = 0
        self.source_value = 1
        self.check_version = 1

    def define(self, *, version: str = "1", strict: bool = True) -> Project:
        gate = self

        @asset(partitions=letters, code_version="1")
        def source() -> dict:
            return {"value": gate.source_value}

        @asset(partitions=letters, code_version=version)
        def gated(context: Context, source: dict[str, Any]) -> dict:
            gate.calls += 1
            return {"partition": context.partition, **source}

        @asset(partitions=letters, code_version="1")
        def below(gated: dict[str, Any]) -> dict:
            return gated

        if strict:

            @asset_check(asset="gated", name="gate")
            def check(gated: dict[str, Any]) -> CheckResult:
                return CheckResult(gated["partition"] in gate.passes)

        else:

            @asset_check(asset="gated", name="gate")
            def check(gated: dict[str, Any]) -> CheckResult:
                return CheckResult(True, "not looked at")

        return Project(assets=[source, gated, below], checks=[check])


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def gated(gate: Gate) -> Iterator[Session]:
    """After a run in which the gate has blocked b and c."""
    with open_session(gate.define()) as session:
        result = session.materialize()
        assert {state: count for state, count in result.steps.items() if count} == {
            "succeeded": 5,
            "blocked": 2,
            "skipped": 2,
        }
        gate.calls = 0
        yield session


def test_a_blocked_try_is_not_repeated_and_what_is_below_waits(gated: Session, gate: Gate) -> None:
    plan = gated.plan()

    assert reasons(plan) == {}
    assert [(group.asset, str(group.partitions)) for group in plan.blocked] == [("gated", "b..c")]
    assert [(group.asset, str(group.partitions)) for group in plan.waiting] == [("below", "b..c")]
    assert (plan.fresh, plan.total) == (5, 9)
    result = gated.materialize()
    assert (result.status, result.steps["blocked"]) == ("blocked", 2)
    assert gate.calls == 0


def test_a_blocked_try_is_repeated_when_its_input_has_changed(gated: Session, gate: Gate) -> None:
    gate.source_value = 2
    gated.materialize(["source"], "b", force=True)

    assert planned(gated) == {"gated[b]": "missing", "below[b]": "missing"}
    assert len(gated.plan().blocked[0].partitions) == 1


def test_a_blocked_try_is_repeated_when_its_code_has_changed(gated: Session, gate: Gate) -> None:
    gated.project = gate.define(version="2")

    assert planned(gated, "gated") == {
        "gated[a]": "code_changed",
        "gated[b]": "missing",
        "gated[c]": "missing",
    }


def test_a_blocked_try_is_repeated_when_the_check_has_changed(gated: Session, gate: Gate) -> None:
    gated.project = gate.define(strict=False)

    assert planned(gated) == {
        "gated[b]": "missing",
        "gated[c]": "missing",
        "below[b]": "missing",
        "below[c]": "missing",
    }
    assert gated.materialize().status == "succeeded"


def test_force_repeats_a_blocked_try(gated: Session, gate: Gate) -> None:
    assert planned(gated, "gated", partitions="b", force=True) == {"gated[b]": "forced"}
    gate.passes.add("b")
    gated.materialize(["gated"], "b", force=True)
    assert planned(gated) == {"below[b]": "missing"}


def test_a_blocked_recomputation_leaves_readers_at_the_last_good_version(gate: Gate) -> None:
    gate.passes = {"a", "b", "c"}
    with open_session(gate.define()) as session:
        session.materialize()
        gate.passes = {"a"}
        session.project = gate.define(version="2")
        result = session.materialize()

        assert result.status == "blocked"
        assert result.steps["blocked"] == 2
        assert session.load("gated", "b") == {"partition": "b", "value": 1}
        assert planned(session) == {}
        status = {row.asset: row for row in session.status()}
        assert (status["gated"].fresh, status["gated"].blocked) == (1, 2)
        assert status["below"].fresh == 3


def test_naming_what_waits_for_a_gate_is_an_error(gated: Session) -> None:
    with pytest.raises(PlanError) as caught:
        gated.plan(["below"], "b")

    assert caught.value.code == "input-not-materialized"
    assert "below[b]" in caught.value.what
    assert "gated[b] was blocked by a quality gate" in caught.value.why


def test_what_is_planned_again_runs_before_what_waited(gated: Session, gate: Gate) -> None:
    gate.passes.add("c")
    gate.source_value = 5
    gated.materialize(["source"], "c", force=True)
    result = gated.materialize()

    assert (result.status, result.steps["succeeded"], result.steps["blocked"]) == ("blocked", 2, 1)
    assert gated.load("below", "c") == {"partition": "c", "value": 5}


# -- inputs ----------------------------------------------------------------------------------------------------------


def session_of(**nodes: Node) -> Any:
    return open_session(build_project(World(), nodes))


def test_an_input_outside_of_the_request_must_exist() -> None:
    with session_of(x=Node(partitions=letters), y=Node({"x": "x"}, letters)) as session:
        with pytest.raises(PlanError, match=r"cannot materialize y\[b\]: its input x\[b\] does not exist"):
            session.plan(["y"], "b")
        with pytest.raises(PlanError, match=r"3 asset partitions lack an input"):
            session.plan(["y"])
        session.materialize(["x"], "b")
        assert planned(session, "y", partitions="b") == {"y[b]": "missing"}


def test_a_missing_input_that_may_be_skipped_is_left_out_and_recorded() -> None:
    world = World()
    nodes = {
        "x": Node(partitions=letters),
        "all": Node({"x": In("x", partitions=all_partitions(), missing="skip")}),
    }
    with open_session(build_project(world, nodes)) as session:
        session.materialize(["x"], "b")
        session.materialize(["all"])
        assert list(world.loaded["all", None]["x"]) == ["b"]
        assert planned(session, "all") == {}

        session.materialize(["x"], "c")
        assert planned(session, "all") == {"all": "input_changed"}
        session.materialize(["all"])
        head = session.versions.head("all", None).publication
        assert head is not None
        assert head.inputs["x"].partitions == (("b", 1), ("c", 1))


def test_two_inputs_of_one_asset_are_told_apart() -> None:
    world = World()
    nodes = {
        "x": Node(partitions=days),
        "y": Node({"now": In("x"), "before": In("x", partitions=shift(-1), missing="skip")}, days),
    }
    with open_session(build_project(world, nodes)) as session:
        session.materialize()
        assert list(world.loaded["y", "2024-01-03"]["now"]) == ["2024-01-03"]
        assert list(world.loaded["y", "2024-01-03"]["before"]) == ["2024-01-02"]
        assert world.loaded["y", "2024-01-01"]["before"] == {}
        world.values["x"] = "other"
        session.materialize(["x"], "2024-01-03", force=True)

        assert planned(session) == {"y[2024-01-03]": "input_changed", "y[2024-01-04]": "input_changed"}


def test_order_only_dependencies_order_and_change_nothing() -> None:
    world = World()
    nodes = {"z": Node(partitions=letters), "a": Node(partitions=letters, options={"deps": ["z"]})}
    with open_session(build_project(world, nodes)) as session:
        session.materialize()
        assert [key for key, _ in world.calls[:1]] == ["z"]
        assert {world.calls.index(("z", name)) < world.calls.index(("a", name)) for name in "abc"} == {True}
        session.materialize(["z"], force=True)
        assert planned(session) == {}
        assert planned(session, "+a", partitions="b", force=True) == {"a[b]": "forced"}


def test_an_order_only_dependency_comes_with_a_plus() -> None:
    nodes = {"z": Node(partitions=letters), "a": Node(partitions=letters, options={"deps": ["z"]})}
    with session_of(**nodes) as session:
        assert planned(session, "+a", partitions="b") == {"z[b]": "missing", "a[b]": "missing"}
        assert planned(session, "z+", partitions="b") == {"z[b]": "missing", "a[b]": "missing"}
        assert planned(session, "a", partitions="b") == {"a[b]": "missing"}


# -- selections ------------------------------------------------------------------------------------------------------


def by_asset(plan: Plan) -> dict[str, str]:
    found: dict[str, Any] = {}
    for group in plan.groups:
        found[group.asset] = str(plan.partitions(group.asset))
    return found


GRAINS = {
    "hourly": Node(partitions=hours),
    "daily": Node({"hourly": "hourly"}, days),
    "weekly": Node({"daily": In("daily", partitions=trailing(3))}, days),
    "total": Node({"weekly": In("weekly", partitions=all_partitions())}),
}


def test_a_date_means_the_windows_that_overlap_it_at_any_grain() -> None:
    with session_of(**GRAINS) as session:
        plan = session.plan(["hourly", "daily"], "2024-01-02")
        assert by_asset(plan) == {
            "hourly": "2024-01-02T00:00+0000..2024-01-02T23:00+0000",
            "daily": "2024-01-02",
        }


def test_plus_in_front_takes_what_the_mappings_need() -> None:
    with session_of(**GRAINS) as session:
        assert by_asset(session.plan(["+weekly"], "2024-01-04")) == {
            "hourly": "2024-01-02T00:00+0000..2024-01-04T23:00+0000",
            "daily": "2024-01-02..2024-01-04",
            "weekly": "2024-01-04",
        }


def test_plus_behind_takes_what_can_be_computed_and_shows_what_waits() -> None:
    with session_of(**GRAINS) as session:
        session.materialize(["hourly"])
        plan = session.plan(["daily+"], "2024-01-01..2024-01-03")

        assert by_asset(plan) == {"daily": "2024-01-01..2024-01-03", "weekly": "2024-01-01..2024-01-03"}
        assert {group.asset: str(group.partitions) for group in plan.waiting} == {
            "weekly": "2024-01-04..2024-01-05",
            "total": "all",
        }
        assert session.materialize(["daily+"], "2024-01-01..2024-01-03").status == "succeeded"


def test_plus_behind_still_refuses_an_input_that_was_not_asked_for() -> None:
    with session_of(**GRAINS) as session, pytest.raises(PlanError, match=r"daily\[2024-01-02\].*hourly\["):
        session.plan(["daily+"], "2024-01-02")


def test_what_lies_above_without_the_asset_itself_can_be_picked() -> None:
    with session_of(**GRAINS) as session:
        assert by_asset(session.plan(["+daily,!daily"])) == {"hourly": str(hours.all())}
        assert by_asset(session.plan(["+daily,!daily"], "2024-01-02T05:00")) == {
            "hourly": "2024-01-02T05:00+0000"
        }


def test_words_pick_partitions_by_their_state(lab: Lab) -> None:
    lab.world.broken.add(("x", "b"))
    lab.run("x", keep_going=True, partitions="a,b")

    assert planned(lab.session, "x", partitions="missing") == {"x[c]": "missing"}
    assert planned(lab.session, "x", partitions="failed") == {"x[b]": "failed"}
    assert planned(lab.session, "x", partitions="missing,failed") == {"x[b]": "failed", "x[c]": "missing"}
    assert planned(lab.session, "x", partitions="stale") == {}
    lab.change("x", version="2")
    assert planned(lab.session, "x", partitions="stale") == {"x[a]": "code_changed"}
    assert planned(lab.session, "state:stale") == planned(lab.session, "x")
    assert planned(lab.session, "state:failed,x", partitions="failed") == {"x[b]": "failed"}


def test_stale_means_by_the_configuration_that_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSETLINE_TEST_NOTES", str(tmp_path))
    from tests.support.run_project import project

    with open_session(project, config={"limited": {"top": 1}}) as session:
        session.materialize(["limited"])
        assert session.materialize(["state:stale"]).steps["succeeded"] == 0
        result = session.materialize(["limited,state:stale"], config={"limited": {"top": 2}})
        assert result.steps["succeeded"] == 1
        result = session.materialize(["limited"], "stale", config={"limited": {"top": 3}})
        assert result.steps["succeeded"] == 1


def test_an_expression_without_any_partitioned_asset_is_refused() -> None:
    with session_of(a=Node(), b=Node()) as session:
        for select in (["a"], ["a", "b"], []):
            with pytest.raises(SelectionError) as caught:
                session.plan(select, "2024-01-02")
            assert caught.value.code == "partitions-none"


def test_in_a_mixed_selection_the_expression_is_for_the_partitioned() -> None:
    with session_of(a=Node(), d=Node({"a": "a"}, days)) as session:
        assert planned(session, partitions="2024-01-02") == {"a": "missing", "d[2024-01-02]": "missing"}


def test_a_partition_that_one_asset_does_not_have_names_the_asset() -> None:
    with session_of(a=Node(partitions=letters), d=Node(partitions=days)) as session:
        with pytest.raises(SelectionError) as caught:
            session.plan([], "2024-01-02")
        assert caught.value.what == "a: there is no partition '2024-01-02'."


@pytest.mark.parametrize("select", [["nothing"], ["x*y"], ["tag:none"], ["x,y"], ["+"], ["!"], [""]])
def test_a_selection_of_nothing_is_an_error_that_says_so(lab: Lab, select: list[str]) -> None:
    with pytest.raises(SelectionError) as caught:
        lab.session.plan(select)
    assert caught.value.do
    assert lab.session.runs() == []


# -- time ------------------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self, *moment: int) -> None:
        self.now = dt.datetime(*moment, tzinfo=dt.UTC)  # type: ignore[arg-type,misc]

    def __call__(self) -> dt.datetime:
        return self.now


def test_open_partitions_grow_with_the_clock_of_the_session() -> None:
    clock = Clock(2031, 5, 3, 12)
    world = World()
    nodes = {
        "x": Node(partitions=DailyPartitions("2031-05-01")),
        "month": Node({"x": In("x")}, MonthlyPartitions("2031-05")),
    }
    with open_session(build_project(world, nodes)) as session:
        session.now = clock
        assert planned(session) == {"x[2031-05-01]": "missing", "x[2031-05-02]": "missing"}
        assert session.materialize().status == "succeeded"
        assert planned(session) == {}
        clock.now += dt.timedelta(days=1)
        assert planned(session) == {"x[2031-05-03]": "missing"}
        session.materialize()
        clock.now = dt.datetime(2031, 6, 1, tzinfo=dt.UTC)
        assert set(planned(session)) == {f"x[2031-05-{day:02d}]" for day in range(4, 32)} | {"month[2031-05]"}
        assert session.materialize().status == "succeeded"
        assert len(session.load("month", "2031-05")["inputs"]["x"]) == 31


def test_what_the_clock_has_not_reached_is_no_partition() -> None:
    with session_of(x=Node(partitions=DailyPartitions("2031-05-01"))) as session:
        session.now = Clock(2031, 5, 3)
        with pytest.raises(SelectionError, match="2031-05-03"):
            session.plan(["x"], "2031-05-03")
        with pytest.raises(NotFoundError):
            session.history("x", "2031-05-03")


def test_before_its_first_window_an_open_asset_has_nothing_to_do() -> None:
    nodes = {
        "x": Node(partitions=DailyPartitions("2031-05-01")),
        "y": Node({"x": In("x", partitions=all_partitions())}),
    }
    with session_of(**nodes) as session:
        session.now = Clock(2031, 5, 1, 5)
        assert planned(session) == {"y": "missing"}
        assert session.materialize().status == "succeeded"
        (status,) = session.status(["x"])
        assert (status.fresh, status.missing, status.latest, status.lag_s) == (0, 0, None, None)
        session.now = Clock(2031, 5, 2, 5)
        assert planned(session) == {"x[2031-05-01]": "missing", "y": "input_changed"}


def test_versions_of_partitions_that_the_clock_has_not_reached_survive_a_rebuilt_state() -> None:
    world = World()
    nodes = {"x": Node(partitions=DailyPartitions("2031-05-01"))}
    with open_session(build_project(world, nodes)) as session:
        session.now = Clock(2031, 5, 6)
        session.materialize()
        session.now = Clock(2031, 5, 3)
        session.state.forget_publications()
        assert planned(session) == {}
        session.now = Clock(2031, 5, 7)
        assert planned(session) == {"x[2031-05-06]": "missing"}
