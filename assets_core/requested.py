"""From a selection and a partition expression to the asset partitions that a plan is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from assets_core.errors import SelectionError
from assets_core.project.partition_selection import parse_partitions

if TYPE_CHECKING:
    from assets_core.definition.partitions.base import PartitionSet
    from assets_core.planning.snapshot import Snapshot

#: Partitions of an asset that are `missing`, `stale` or `failed`.
Resolve = Callable[[str, str], "PartitionSet"]

_GRAPH_STEPS = re.compile(r"^(!?)\d*\+|\+\d*$")


def without_graph_steps(expression: str) -> str:
    """A selection expression that picks only the assets it names itself: `2+x+1` becomes `x`."""
    return ",".join(_GRAPH_STEPS.sub(r"\1", term.strip()) for term in expression.split(","))


def requested_partitions(
    snapshot: Snapshot, keys: Sequence[str], named: Sequence[str], expression: str | None, resolve: Resolve
) -> tuple[dict[str, PartitionSet], frozenset[str]]:
    """Partitions by asset: what the expression says for the named assets, what mappings derive for the others.

    Args:
        snapshot: Holds all of `keys`.
        keys: The assets selected.
        named: Those of them that the selection names itself.
        expression: A partition expression; None for all partitions of all assets.
        resolve: Finds the partitions that a word such as `missing` means.

    Returns:
        The partitions, and the assets that are there because they lie below the others.

    Raises:
        SelectionError: The expression does not fit a named asset.
    """
    if expression is None:
        return {key: snapshot.space(key).all() for key in keys}, frozenset()
    requested = {key: _parse(snapshot, key, named, expression, resolve) for key in named}
    order = [key for key in snapshot.project.graph.order if key in set(keys)]
    _derive_upstream(snapshot, order, requested, set(named))
    above = frozenset(requested)
    _derive_downstream(snapshot, order, requested, above)
    return requested, frozenset(requested) - above


def _parse(
    snapshot: Snapshot, key: str, named: Sequence[str], expression: str, resolve: Resolve
) -> PartitionSet:
    space = snapshot.space(key)
    try:
        return parse_partitions(expression, space, partial(resolve, key))
    except SelectionError as error:
        is_meant_for_others = any(snapshot.asset(name).partitions is not None for name in named)
        if error.code == "partitions-none" and is_meant_for_others:
            return space.all()
        raise SelectionError(error.code, f"{key}: {error.what}", why=error.why, do=error.do) from error


def _derive_upstream(
    snapshot: Snapshot, order: Sequence[str], requested: dict[str, PartitionSet], named: set[str]
) -> None:
    chosen = set(order)
    for key in reversed(order):
        below = requested.get(key)
        if below is None:
            continue
        for above, spans in snapshot.links(key):
            if above in chosen and above not in named:
                needed = spans.upstream(below)
                before = requested.get(above)
                requested[above] = needed if before is None else before | needed


def _derive_downstream(
    snapshot: Snapshot, order: Sequence[str], requested: dict[str, PartitionSet], settled: frozenset[str]
) -> None:
    for key in order:
        if key in settled:
            continue
        for name, spans in snapshot.links(key):
            above = requested.get(name)
            if above is not None:
                touched = spans.downstream(above)
                before = requested.get(key)
                requested[key] = touched if before is None else before | touched
