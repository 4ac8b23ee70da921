"""Order, neighbourhood and circles of assets."""

import itertools
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets_core.definition.asset import Asset, asset
from assets_core.definition.inputs import Input
from assets_core.errors import DefinitionError, DefinitionErrors
from assets_core.project.graph import AssetGraph
from tests.support.profiles import scale


def made(upstream: Mapping[str, Sequence[str]]) -> list[Asset]:
    """Assets with these dependencies: the first as an input, the others for order only."""
    return [
        asset(key=key)(lambda: 1).resolved([Input("p", name) for name in above[:1]], above[1:], ())
        for key, above in upstream.items()
    ]


def graph(upstream: Mapping[str, Sequence[str]]) -> AssetGraph:
    return AssetGraph(made(upstream))


DIAMOND = {"d": ["b", "c"], "c": ["a"], "b": ["a"], "a": [], "z": []}


def test_order_is_upstream_first_and_alphabetical_where_free() -> None:
    assert graph(DIAMOND).order == ("a", "b", "c", "d", "z")
    assert graph({"a": ["z"], "z": [], "b": []}).order == ("b", "z", "a")


def test_neighbours_are_sorted_and_unique() -> None:
    found = graph(DIAMOND)
    assert found.upstream["d"] == ("b", "c")
    assert found.downstream == {"a": ("b", "c"), "b": ("d",), "c": ("d",), "d": (), "z": ()}
    assert graph({"a": [], "b": ["a", "a"]}).upstream["b"] == ("a",)


def test_dependencies_on_absent_assets_are_left_out() -> None:
    assert graph({"a": ["gone"]}).upstream == {"a": ()}


def test_ancestors_and_descendants_follow_as_many_edges_as_asked() -> None:
    chain = graph({"a": [], "b": ["a"], "c": ["b"], "d": ["c"]})
    assert chain.ancestors(["d"]) == {"a", "b", "c"}
    assert chain.ancestors(["d"], 1) == {"c"}
    assert chain.ancestors(["d"], 0) == frozenset()
    assert chain.descendants(["a"], 2) == {"b", "c"}
    assert chain.descendants(["a", "b"]) == {"b", "c", "d"}
    assert chain.descendants([]) == frozenset()


@st.composite
def acyclic(draw: st.DrawFn) -> dict[str, list[str]]:
    keys = draw(st.permutations([f"k{number}" for number in range(draw(st.integers(0, 12)))]))
    edges = {
        key: draw(st.lists(st.sampled_from(keys[:index]), unique=True)) if index else []
        for index, key in enumerate(keys)
    }
    return {key: edges[key] for key in draw(st.permutations(keys))}


@settings(max_examples=scale(25))
@given(acyclic())
def test_order_respects_every_edge_and_does_not_depend_on_insertion(edges: dict[str, list[str]]) -> None:
    found = graph(edges)
    position = {key: index for index, key in enumerate(found.order)}
    assert position.keys() == edges.keys()
    assert all(position[above] < position[key] for key in edges for above in edges[key])
    again = graph(dict(sorted(edges.items())))
    assert (again.order, again.upstream, again.downstream) == (found.order, found.upstream, found.downstream)


@settings(max_examples=scale(25))
@given(acyclic(), st.integers(0, 4))
def test_ancestors_are_the_inverse_of_descendants(edges: dict[str, list[str]], depth: int) -> None:
    found = graph(edges)
    for key in found.order:
        assert all(key in found.descendants([above], depth) for above in found.ancestors([key], depth))
        assert all(key in found.ancestors([below], depth) for below in found.descendants([key], depth))


def test_a_circle_is_told_with_its_path_and_places() -> None:
    with pytest.raises(DefinitionError) as caught:
        graph({"start": [], "b": ["c", "start"], "a": ["b"], "c": ["a"], "behind": ["a"]})
    assert caught.value.code == "dependency-cycle"
    assert "a -> c -> b -> a" in caught.value.what
    assert caught.value.why.count("test_graph.py:") == 3
    assert "behind" not in str(caught.value)
    assert "start" not in str(caught.value)


def test_the_shortest_circle_is_told() -> None:
    with pytest.raises(DefinitionError, match="a -> x -> a "):
        graph({"a": ["c", "x"], "b": ["a"], "c": ["b"], "x": ["a"]})


def test_each_knot_is_told_once() -> None:
    with pytest.raises(DefinitionErrors) as caught:
        graph({"a": ["b"], "b": ["a"], "link": ["b"], "c": ["d", "link"], "d": ["c"]})
    assert [error.what.split(":")[1].split("(")[0].strip() for error in caught.value.errors] == [
        "a -> b -> a",
        "c -> d -> c",
    ]


def test_an_asset_that_depends_on_itself_is_told_what_to_do_instead() -> None:
    with pytest.raises(DefinitionError, match="depends on itself: a -> a") as caught:
        graph({"a": ["a"]})
    assert "asset of its own" in caught.value.do


@settings(max_examples=scale(25))
@given(acyclic(), st.data())
def test_a_circle_is_found_wherever_it_is_closed(edges: dict[str, list[str]], data: st.DataObject) -> None:
    found = graph(edges)
    pairs = [(above, key) for key in found.order for above in (*found.ancestors([key]), key)]
    if not pairs:
        return
    above, key = data.draw(st.sampled_from(sorted(pairs)))
    with pytest.raises(DefinitionError, match="dependency-cycle") as caught:
        graph({**edges, above: [*edges[above], key]})
    path = caught.value.what.split(": ")[1].split(" (")[0].split(" -> ")
    assert path[0] == path[-1]
    closed = {**edges, above: [*edges[above], key]}
    assert all(first in closed[second] for first, second in itertools.pairwise(path))
