from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets_core.errors import SelectionError
from assets_core.project.selection import select_assets
from tests.support.profiles import scale


@dataclass(frozen=True)
class FakeAsset:
    kind: str = "python"
    group: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    owner: str | None = None


@dataclass(frozen=True)
class FakeGraph:
    order: tuple[str, ...]
    upstream: Mapping[str, tuple[str, ...]]
    downstream: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class FakeProject:
    assets: Mapping[str, FakeAsset]
    graph: FakeGraph


def build(edges: Mapping[str, tuple[str, ...]], assets: Mapping[str, FakeAsset] | None = None) -> FakeProject:
    """A project from the upstream of each key, keys in topological order."""
    downstream = {key: tuple(other for other in edges if key in edges[other]) for key in edges}
    chosen = assets or {}
    return FakeProject(
        {key: chosen.get(key, FakeAsset()) for key in sorted(edges)},
        FakeGraph(tuple(edges), edges, downstream),
    )


# raw/orders -> clean -> daily -> report;  raw/users -> clean
PROJECT = build(
    {
        "raw/users": (),
        "raw/orders": (),
        "clean": ("raw/users", "raw/orders"),
        "daily": ("clean",),
        "report": ("daily",),
    },
    {
        "raw/users": FakeAsset("external", "raw", {"tier": "low"}),
        "raw/orders": FakeAsset("external", "raw", {"tier": "critical"}, "ann"),
        "daily": FakeAsset("sql", "mart", {"tier": "critical"}, "bob"),
        "report": FakeAsset("python", "mart", {"pii": ""}, "ann"),
    },
)
STATES = {"stale": {"clean", "removed"}, "missing": {"daily"}, "changed": {"daily"}}


def select(*texts: str) -> str:
    return " ".join(select_assets(PROJECT, texts, lambda state: STATES.get(state, set())))


@pytest.mark.parametrize(
    ("texts", "picked"),
    [
        ((), "raw/users raw/orders clean daily report"),
        (("clean",), "clean"),
        (("report", "clean"), "clean report"),
        (("raw/*",), "raw/users raw/orders"),
        (("*",), "raw/users raw/orders clean daily report"),
        (("*l*",), "clean daily"),
        (("r[ae]*",), "raw/users raw/orders report"),
        (("+daily",), "raw/users raw/orders clean daily"),
        (("daily+",), "daily report"),
        (("1+daily",), "clean daily"),
        (("0+daily+0",), "daily"),
        (("2+daily+1",), "raw/users raw/orders clean daily report"),
        (("+clean+1",), "raw/users raw/orders clean daily"),
        (("+clean+",), "raw/users raw/orders clean daily report"),
        (("raw/*+1",), "raw/users raw/orders clean"),
        (("tag:tier=critical",), "raw/orders daily"),
        (("tag:tier",), "raw/users raw/orders daily"),
        (("tag:tier=c*",), "raw/orders daily"),
        (("tag:pii",), "report"),
        (("group:mart",), "daily report"),
        (("kind:external",), "raw/users raw/orders"),
        (("owner:ann",), "raw/orders report"),
        (("owner:*",), "raw/orders daily report"),
        (("group:mart,tag:tier",), "daily"),
        (("+report , group:raw",), "raw/users raw/orders"),
        (("state:stale",), "clean"),
        (("state:changed+",), "daily report"),
        (("!clean",), "raw/users raw/orders daily report"),
        (("!+clean",), "daily report"),
        (("!clean", "raw/*", "clean+"), "raw/users raw/orders daily report"),
        (("!clean,!daily",), "raw/users raw/orders report"),
        (("group:raw,!owner:ann",), "raw/users"),
        (("!owner:ann,group:raw", "report"), "raw/users report"),
        (("state:failed",), ""),
        (("raw/*,state:stale",), ""),
    ],
)
def test_a_text_picks_assets_in_topological_order(texts, picked) -> None:
    assert select(*texts) == picked


@pytest.mark.parametrize(
    ("texts", "code", "says"),
    [
        (("daly",), "asset-not-found", "nearest: daily"),
        (("daily", "raw/order"), "asset-not-found", "raw/orders"),
        (("!raw/order",), "asset-not-found", "raw/orders"),
        (("RAW/*",), "selection-empty", "5 assets are defined"),
        (("group:mrt",), "selection-empty", "nearest: mart"),
        (("tag:tier=critcal",), "selection-empty", "tier=critical"),
        (("grp:raw",), "selection-invalid", "nearest: group"),
        (("state:stael",), "selection-invalid", "nearest: stale"),
        (("group:raw,group:mart",), "selection-empty", "when they are combined"),
        (("clean", "!clean"), "selection-empty", "when they are combined"),
        (("",), "selection-invalid", "a part is empty"),
        (("clean,",), "selection-invalid", "a part is empty"),
        (("+",), "selection-invalid", "does not pick assets"),
        (("!",), "selection-invalid", "does not pick assets"),
        (("!!clean",), "selection-invalid", "does not pick assets"),
        (("++clean",), "selection-invalid", "does not pick assets"),
        (("x+clean",), "selection-invalid", "does not pick assets"),
    ],
)
def test_what_picks_nothing_is_refused_with_the_nearest(texts, code, says) -> None:
    with pytest.raises(SelectionError) as raised:
        select(*texts)
    assert raised.value.code == code
    assert says in str(raised.value)
    assert raised.value.do


def test_a_state_cannot_be_asked_for_where_nothing_is_looked_at() -> None:
    with pytest.raises(SelectionError, match="cannot be used here"):
        select_assets(PROJECT, ["state:stale"], None)


def test_an_empty_project_has_nothing_to_pick() -> None:
    assert select_assets(build({}), [], None) == []
    with pytest.raises(SelectionError):
        select_assets(build({}), ["*"], None)


@st.composite
def projects(draw: st.DrawFn) -> FakeProject:
    n = draw(st.integers(1, 9))
    edges = {
        f"a{number}": tuple(
            sorted(draw(st.sets(st.sampled_from([f"a{k}" for k in range(number)])))) if number else ()
        )
        for number in range(n)
    }
    return build(edges)


@settings(max_examples=scale(30))
@given(projects(), st.data())
def test_levels_are_the_shortest_distance_and_any_number_without_one(project: FakeProject, data) -> None:
    key = data.draw(st.sampled_from(project.graph.order))
    levels = data.draw(st.integers(0, 4))

    def distances(edges: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
        found = {key: 0}
        for _ in project.graph.order:
            for other in list(found):
                for near in edges[other]:
                    found[near] = min(found.get(near, 99), found[other] + 1)
        return found

    up, down = distances(project.graph.upstream), distances(project.graph.downstream)
    assert set(select_assets(project, [f"{levels}+{key}"])) == {k for k, d in up.items() if d <= levels}
    assert set(select_assets(project, [f"{key}+{levels}"])) == {k for k, d in down.items() if d <= levels}
    picked = select_assets(project, [f"+{key}+"])
    assert set(picked) == {*up, *down}
    assert picked == [k for k in project.graph.order if k in picked]


@settings(max_examples=scale(30))
@given(projects(), st.data())
def test_texts_unite_commas_intersect_and_a_bang_takes_away(project: FakeProject, data) -> None:
    key = st.sampled_from(project.graph.order)
    x, y = f"+{data.draw(key)}", f"{data.draw(key)}+"

    def picked(*texts: str) -> set[str]:
        try:
            return set(select_assets(project, texts))
        except SelectionError:
            return set()

    assert picked(x, y) == picked(x) | picked(y)
    assert picked(f"{x},{y}") == picked(x) & picked(y)
    assert picked(x, f"!{y}") == picked(f"!{y}", x) == picked(f"{x},!{y}") == picked(x) - picked(y)
    assert picked(f"!{y}") == set(project.assets) - picked(y)
