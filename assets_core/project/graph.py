"""The assets' order and neighbourhood, on plain dicts."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING

from assets_core.errors import DefinitionError, DefinitionErrors

if TYPE_CHECKING:
    from assets_core.definition.asset import Asset
    from assets_core.definition.signature import SourceLocation

__all__ = ["AssetGraph", "cycle_errors"]

Edges = Mapping[str, tuple[str, ...]]


class AssetGraph:
    """Which asset comes after which, by inputs and by `deps`.

    Attributes:
        order: Every key, upstream before downstream; alphabetical where that leaves a choice.
        upstream: For every key the assets that it directly depends on, sorted.
        downstream: For every key the assets that directly depend on it, sorted.
    """

    def __init__(self, assets: Iterable[Asset]) -> None:
        """Build the graph of validated assets; a dependency on an asset that is not among them is left out.

        Raises:
            DefinitionError: `dependency-cycle`: assets depend on each other in a circle; several circles come
                as `DefinitionErrors`.
        """
        by_key = {asset.key: asset for asset in assets}
        self.upstream = {
            key: tuple(sorted({*[item.asset for item in asset.inputs], *asset.deps} & by_key.keys()))
            for key, asset in by_key.items()
        }
        self.downstream = _turn(self.upstream)
        self.order = _sort(self.upstream, self.downstream)
        if len(self.order) < len(by_key):
            errors = [error for _, error in cycle_errors(by_key.values())]
            raise errors[0] if len(errors) == 1 else DefinitionErrors(errors)

    def ancestors(self, keys: Iterable[str], depth: int | None = None) -> frozenset[str]:
        """What the keys depend on, directly or not; a given key only when another given one depends on it.

        Args:
            keys: Keys of the graph.
            depth: How many edges to follow at most, None for all.
        """
        return _reach(self.upstream, keys, depth)

    def descendants(self, keys: Iterable[str], depth: int | None = None) -> frozenset[str]:
        """What depends on the keys; otherwise as `ancestors`."""
        return _reach(self.downstream, keys, depth)


def cycle_errors(assets: Iterable[Asset]) -> list[tuple[SourceLocation, DefinitionError]]:
    """For each knot of circular dependencies one error, `dependency-cycle`, and where its first asset stands."""
    by_key = {asset.key: asset for asset in assets}
    upstream = {
        key: tuple({*[item.asset for item in asset.inputs], *asset.deps} & by_key.keys())
        for key, asset in by_key.items()
    }
    downstream = _turn(upstream)
    left = upstream.keys() - set(_sort(upstream, downstream))
    return [
        (by_key[cycle[0]].source, _cycle_error(cycle, by_key))
        for cycle in _find_cycles(upstream, downstream, left)
    ]


def _turn(upstream: Edges) -> dict[str, tuple[str, ...]]:
    downstream: dict[str, list[str]] = {key: [] for key in upstream}
    for key in sorted(upstream):
        for above in upstream[key]:
            downstream[above].append(key)
    return {key: tuple(below) for key, below in downstream.items()}


def _sort(upstream: Edges, downstream: Edges) -> tuple[str, ...]:
    """Kahn's algorithm with a heap; keys on a circle and behind it are missing from the order."""
    waiting = {key: len(above) for key, above in upstream.items()}
    ready = sorted(key for key, count in waiting.items() if not count)
    order: list[str] = []
    while ready:
        key = heapq.heappop(ready)
        order.append(key)
        for below in downstream[key]:
            waiting[below] -= 1
            if not waiting[below]:
                heapq.heappush(ready, below)
    return tuple(order)


def _reach(
    edges: Edges, keys: Iterable[str], depth: int | None, within: Set[str] | None = None
) -> frozenset[str]:
    found: set[str] = set()
    frontier = list(keys)
    while frontier and (depth is None or depth > 0):
        step = {near for key in frontier for near in edges[key]} - found
        if within is not None:
            step &= within
        found |= step
        frontier = list(step)
        depth = None if depth is None else depth - 1
    return frozenset(found)


def _find_cycles(upstream: Edges, downstream: Edges, left: Set[str]) -> list[tuple[str, ...]]:
    """One shortest circle of each knot, in the direction of the data, its alphabetically first key first."""
    cycles: list[tuple[str, ...]] = []
    rest = set(left)
    for key in sorted(left):
        if key not in rest:
            continue
        below = _reach(downstream, [key], None, rest)
        if key in below:
            cycles.append(_shortest_circle(downstream, key, rest))
            rest -= below & _reach(upstream, [key], None, rest)
        else:
            rest.discard(key)
    return cycles


def _shortest_circle(downstream: Edges, start: str, within: Set[str]) -> tuple[str, ...]:
    came_from: dict[str, str] = {}
    frontier = [start]
    while start not in came_from:
        step: list[str] = []
        for key in frontier:
            for near in downstream[key]:
                if near in within and near not in came_from:
                    came_from[near] = key
                    step.append(near)
        frontier = step
    path = [came_from[start]]
    while path[-1] != start:
        path.append(came_from[path[-1]])
    return tuple(reversed(path))


def _cycle_error(cycle: Sequence[str], assets: Mapping[str, Asset]) -> DefinitionError:
    reasons = []
    for above, key in zip(cycle, (*cycle[1:], cycle[0]), strict=True):
        asset = assets[key]
        parameter = next((item.parameter for item in asset.inputs if item.asset == above), None)
        how = f"takes parameter {parameter!r}" if parameter is not None else f"has deps={above!r}"
        reasons.append(f"{key} {how} ({asset.source})")
    if len(cycle) == 1:
        return DefinitionError(
            "dependency-cycle",
            f"asset {cycle[0]!r} depends on itself: {cycle[0]} -> {cycle[0]} ({assets[cycle[0]].source}).",
            why=f"{reasons[0]}; an asset cannot read itself, earlier partitions of itself included.",
            do="put what both partitions need into an asset of its own, and read that with shift or trailing.",
        )
    path = " -> ".join([*cycle, cycle[0]])
    return DefinitionError(
        "dependency-cycle",
        f"assets depend on each other in a circle: {path} ({assets[cycle[0]].source}).",
        why="; ".join(reasons) + ".",
        do="take one of these dependencies away, or split the asset that both sides need.",
    )
