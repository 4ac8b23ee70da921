"""Planning against a model: what a function would be given now, compared with what it was given last.

The model knows no hashes and no versions of records. It notes what each function got and returned, and says of an
asset partition that it must run when it has never run, its code or configuration is another now, or it would be
given something else.
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from assets_core import (
    In,
    PlanError,
    Session,
)
from assets_core.definition.partitions.base import UNPARTITIONED
from assets_core.definition.partitions.mapping import default_mapping
from assets_core.planning.plan import Plan
from tests.support.projects import Node, World, build_project, open_session
from tests.support.random_graphs import graphs

Place = tuple[str, str | None]

PROFILE = settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))


class Model:
    """What is published, as the functions saw it."""

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        self.nodes = dict(nodes)
        self.given: dict[Place, tuple[str, Any]] = {}
        self.values: dict[Place, Any] = {}
        self.failed: set[Place] = set()

    def space(self, key: str) -> Any:
        return self.nodes[key].partitions or UNPARTITIONED

    def read(self, key: str, partition: str | None) -> dict[str, list[Place]]:
        """The upstream places that each parameter reads, whether or not they exist."""
        found = {}
        for parameter, item in self.nodes[key].reads.items():
            assert isinstance(item, In)
            assert item.asset is not None
            down, up = self.space(key), self.space(item.asset)
            mapping = item.partitions or default_mapping(down, up)
            names = mapping.spans(down, up).upstream(down.subset([partition])).keys()
            found[parameter] = [(item.asset, name) for name in names]
        return found

    def gets(self, key: str, partition: str | None) -> dict[str, Any]:
        """What the function would be given now."""
        given: dict[str, Any] = {}
        for parameter, places in self.read(key, partition).items():
            present = {
                name: self.values[above, name] for above, name in places if (above, name) in self.values
            }
            # an input without partitions comes as it is
            given[parameter] = present.get(None, present)
        return given

    def plan(
        self, order: list[str], wanted: set[str], *, force: bool = False
    ) -> tuple[dict[Place, str], Place | None]:
        """Reasons by place, and the first place that lacks an input."""
        planned: dict[Place, str] = {}
        lacking: Place | None = None
        for key in order:
            if key not in wanted:
                continue
            for partition in self.space(key).keys():
                reason = "forced" if force else self.reason(key, partition, planned)
                if reason is not None:
                    planned[key, partition] = reason
            for place in [place for place in planned if place[0] == key]:
                for parameter, places in self.read(*place).items():
                    item = self.nodes[key].reads[parameter]
                    assert isinstance(item, In)
                    if item.missing == "error" and not all(p in self.values or p in planned for p in places):
                        lacking = lacking or place
        return planned, lacking

    def reason(self, key: str, partition: str | None, planned: Mapping[Place, str]) -> str | None:
        place = key, partition
        if place not in self.values:
            return "failed" if place in self.failed else "missing"
        version, given = self.given[place]
        if version != self.nodes[key].version:
            return "code_changed"
        reads = self.read(key, partition).values()
        if any(above in planned for places in reads for above in places):
            return "input_changed"
        return "input_changed" if plain(given) != plain(self.gets(key, partition)) else None

    def observe(self, world: World) -> list[Place]:
        """Take up what the functions saw and did since the last time."""
        seen = list(world.calls)
        for place in seen:
            if place in world.broken:
                self.failed.add(place)
                continue
            key = place[0]
            self.failed.discard(place)
            self.given[place] = self.nodes[key].version, world.loaded[place]
            self.values[place] = world.returned[place]
        world.calls.clear()
        return seen


def plain(value: Any) -> str:
    return json.dumps(by_text(value), sort_keys=True)


def by_text(value: Any) -> Any:
    return {str(k): by_text(v) for k, v in value.items()} if isinstance(value, dict) else value


steps = st.one_of(
    st.tuples(st.just("run"), st.integers(0, 31), st.booleans(), st.booleans()),
    st.tuples(st.just("code"), st.integers(0, 4), st.integers(0, 2)),
    st.tuples(st.just("value"), st.integers(0, 4), st.integers(0, 2)),
    st.tuples(st.just("break"), st.integers(0, 4), st.integers(0, 5)),
    st.tuples(
        st.just("mend"),
    ),
)


def as_dict(plan: Plan) -> dict[Place, str]:
    return {(step.asset, step.partition): step.reason for step in plan.steps()}


class Play:
    """A session, its world and the model side by side."""

    def __init__(self, session: Session, world: World, nodes: Mapping[str, Node]) -> None:
        self.session, self.world, self.model = session, world, Model(nodes)
        self.keys = sorted(nodes)

    @property
    def order(self) -> list[str]:
        return list(self.session.project.graph.order)

    def redefine(self) -> None:
        self.session.project = build_project(self.world, self.model.nodes)

    def do(self, step: tuple[Any, ...]) -> None:
        match step:
            case "run", mask, force, keep_going:
                self.run([key for n, key in enumerate(self.keys) if mask >> n & 1], force, keep_going)
            case "code", number, version:
                key = self.keys[number % len(self.keys)]
                nodes = self.model.nodes
                nodes[key] = dataclasses.replace(nodes[key], version=str(version))
                self.redefine()
            case "value", number, value:
                # values of the world are outside of what is tracked: seen when the asset runs for another reason
                self.world.values[self.keys[number % len(self.keys)]] = value
            case "break", number, which:
                key = self.keys[number % len(self.keys)]
                names = list(self.model.space(key).keys())
                self.world.broken.add((key, names[which % len(names)]))
            case ("mend",):
                self.world.broken.clear()

    def run(self, select: list[str], force: bool, keep_going: bool) -> None:
        wanted = set(select or self.keys)
        expected, lacking = self.model.plan(self.order, wanted, force=force)
        if lacking is not None:
            with pytest.raises(PlanError, match=r"its input .* does not exist"):
                self.session.materialize(select, force=force, keep_going=keep_going)
            assert not self.world.calls
            event("refused")
            return
        plan = self.session.plan(select, force=force)
        assert as_dict(plan) == expected
        self.check_order(plan)
        result = self.session.materialize(select, force=force, keep_going=keep_going)
        ran = self.model.observe(self.world)
        assert set(ran) <= set(expected)
        assert len(ran) == len(set(ran))
        assert sum(result.steps.values()) == len(expected)
        broken = [place for place in ran if place in self.world.broken]
        assert result.steps["failed"] == len(broken)
        assert result.steps["succeeded"] == len(ran) - len(broken)
        assert result.status == ("failed" if broken else "succeeded")
        assert sorted((f.asset, f.partition or "") for f in result.failures) == sorted(
            (key, partition or "") for key, partition in broken
        )
        event(f"{result.status}, {'unchanged' if result.steps['unchanged'] else 'all ran'}")
        after = self.session.plan(select)
        left = set(expected) - {place for place in ran if place not in self.world.broken}
        assert set(as_dict(after)) <= self.with_open_inputs(left), (
            "planned again although nothing has changed"
        )
        if not broken:
            assert not after.n_steps

    def with_open_inputs(self, left: set[Place]) -> set[Place]:
        """Places, those that went without one of them and are computed again when it comes, and what is below."""
        went_without: set[Place] = set()
        for key in self.order:
            for partition in self.model.space(key).keys():
                for parameter, places in self.model.read(key, partition).items():
                    item = self.model.nodes[key].reads[parameter]
                    assert isinstance(item, In)
                    if went_without.intersection(places) or (
                        item.missing == "skip" and left.intersection(places)
                    ):
                        went_without.add((key, partition))
        return left | went_without

    def check_order(self, plan: Plan) -> None:
        place = {(step.asset, step.partition): n for n, step in enumerate(plan.steps())}
        for below, n in place.items():
            for places in self.model.read(*below).values():
                assert all(place[above] < n for above in places if above in place)

    def check_whole(self) -> None:
        expected, lacking = self.model.plan(self.order, set(self.keys))
        assert lacking is None
        plan = self.session.plan()
        assert as_dict(plan) == expected
        assert plan.total == sum(len(self.model.space(key)) for key in self.keys)
        assert plan.fresh == plan.total - len(expected)
        for row in self.session.status():
            reasons = [reason for (key, _), reason in expected.items() if key == row.asset]
            assert row.missing == reasons.count("missing")
            assert row.failed == sum(
                (row.asset, name) in self.model.failed and (row.asset, name) in expected
                for name in self.model.space(row.asset).keys()
            )
            assert row.fresh + row.stale + row.missing + row.failed == len(self.model.space(row.asset))
            assert row.blocked == 0


@pytest.mark.slow
@PROFILE
@given(graphs(), st.lists(steps, max_size=12))
def test_a_plan_is_what_the_functions_would_see_differently(
    nodes: dict[str, Node], history: list[tuple[Any, ...]]
) -> None:
    world = World()
    with open_session(build_project(world, nodes)) as session:
        play = Play(session, world, nodes)
        play.check_whole()
        for step in history:
            play.do(step)
            play.check_whole()
        world.broken.clear()
        play.run([], force=False, keep_going=False)
        assert not session.plan().n_steps
        for (key, partition), value in play.model.values.items():
            loaded = session.load(
                key,
                None
                if partition is None
                else session.project.assets[key].partition_space.format_key(partition),
            )
            assert plain(loaded) == plain(value)


@pytest.mark.slow
@PROFILE
@given(graphs(), st.lists(steps, max_size=6), st.randoms(use_true_random=False))
def test_a_plan_does_not_depend_on_the_order_of_anything(
    nodes: dict[str, Node], history: list[tuple[Any, ...]], rng: random.Random
) -> None:
    world = World()
    with open_session(build_project(world, nodes)) as session:
        play = Play(session, world, nodes)
        for step in history:
            play.do(step)
        first = session.plan()
        shuffled = list(play.model.nodes.items())
        rng.shuffle(shuffled)
        session.project = build_project(world, dict(shuffled))
        keys = list(nodes)
        rng.shuffle(keys)

        assert session.plan() == first
        assert session.plan(keys) == first
