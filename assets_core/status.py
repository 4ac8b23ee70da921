"""The state of assets in numbers: fresh, stale (why), missing, failed, blocked, and how old the newest data is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pyroaring import BitMap

from assets_core.definition.partitions.base import PartitionSet
from assets_core.planning.asset_state import BLOCKED, FAILED
from assets_core.planning.planner import Planner

if TYPE_CHECKING:
    from assets_core.planning.plan import Plan, PlannedGroup
    from assets_core.planning.snapshot import Snapshot


@dataclass(frozen=True)
class AssetStatus:
    """One asset; each of its partitions counts once.

    Attributes:
        fresh: Published, and nothing it was computed from has changed.
        stale: Published, and a run would compute it again; `reasons` counts why.
        missing: Never published, or dropped.
        failed: The last try failed.
        blocked: The last try was held back by a quality gate, or an input of it was.
        latest: Key of the newest published partition; for an asset without partitions the time of its publication.
        lag_s: Seconds from the end of that partition's window, or from the publication where there is no window, to
            now; None when nothing is published.
        late: Whether the freshness policy is broken; None without one.
    """

    asset: str
    fresh: int
    stale: int
    missing: int
    failed: int
    blocked: int
    latest: str | None
    lag_s: float | None
    reasons: Mapping[str, int]
    late: bool | None = None


def asset_statuses(snapshot: Snapshot, keys: Sequence[str]) -> list[AssetStatus]:
    """The status of assets on a snapshot that holds them and everything upstream."""
    plan = plan_everything(snapshot)
    return [_status(snapshot, plan, key) for key in keys]


def partitions_in_state(snapshot: Snapshot, key: str, word: str) -> PartitionSet:
    """Partitions of one asset that are `missing`, `stale` or `failed`."""
    groups = _classify(snapshot, plan_everything(snapshot), key)
    found = PartitionSet(snapshot.space(key), BitMap())
    for name, bits in groups.items():
        if name == word or (word == "failed" and name == "blocked"):
            found = found | PartitionSet(found.definition, bits)
    return found


def plan_everything(snapshot: Snapshot) -> Plan:
    """The plan of all that the snapshot holds, for looking at: nothing in it is an error."""
    planner = Planner(snapshot, missing_inputs="wait")
    return planner.plan({key: snapshot.space(key).all() for key in snapshot.keys()})


def first_in_need(snapshot: Snapshot, plan: Plan, key: str) -> int:
    """Ordinal of the first partition that was tried or published and is not fresh, else of the newest fresh one."""
    groups = _classify(snapshot, plan, key)
    for state in ("blocked", "failed", "stale"):
        if groups[state]:
            return int(groups[state].min())
    if groups["fresh"]:
        return int(groups["fresh"].max())
    return 0


def _classify(snapshot: Snapshot, plan: Plan, key: str) -> dict[str, BitMap]:
    """Ordinals by state; together all of them."""
    state = snapshot.state(key)
    published = BitMap(np.flatnonzero(state.seq > 0).tolist())
    failed = BitMap(np.flatnonzero(state.outcome == FAILED).tolist())
    blocked = BitMap(np.flatnonzero(state.outcome == BLOCKED).tolist())
    planned, gated, waiting = (_ordinals(groups, key) for groups in (plan.groups, plan.blocked, plan.waiting))
    behind_gate = waiting & _behind_gate(snapshot, plan, key)
    groups = {"failed": failed & planned, "blocked": gated | behind_gate | (planned & blocked)}
    rest = (planned | gated | waiting) - groups["failed"] - groups["blocked"]
    groups["missing"] = rest - published
    groups["stale"] = rest & published
    groups["fresh"] = published - planned - gated - waiting
    return groups


def _ordinals(groups: Iterable[PlannedGroup], key: str) -> BitMap:
    found = BitMap()
    for group in groups:
        if group.asset == key:
            found |= group.partitions.bits
    return found


def _behind_gate(snapshot: Snapshot, plan: Plan, key: str) -> BitMap:
    """Partitions that read an upstream partition which a gate holds back."""
    found = BitMap()
    for item in snapshot.asset(key).inputs:
        if snapshot.asset(item.asset).function is None:
            continue
        upstream = snapshot.state(item.asset)
        gated = _ordinals(plan.blocked, item.asset)
        gated |= _ordinals(plan.waiting, item.asset) & _behind_gate(snapshot, plan, item.asset)
        gated -= BitMap(np.flatnonzero(upstream.seq > 0).tolist())
        found |= snapshot.spans(key, item).downstream(PartitionSet(upstream.definition, gated)).bits
    return found


def _status(snapshot: Snapshot, plan: Plan, key: str) -> AssetStatus:
    asset, state = snapshot.asset(key), snapshot.state(key)
    if asset.function is None:
        present = int(np.count_nonzero(state.seq))
        return AssetStatus(key, present, 0, len(state.seq) - present, 0, 0, None, None, {})
    groups = _classify(snapshot, plan, key)
    reasons: dict[str, int] = {}
    for group in plan.groups:
        if group.asset == key:
            count = len(group.partitions.bits & groups["stale"])
            if count:
                reasons[group.reason] = reasons.get(group.reason, 0) + count
    latest, lag_s = _latest(snapshot, key)
    late = None
    if asset.freshness is not None:
        late = lag_s is None or lag_s > asset.freshness.within_s
    return AssetStatus(
        key,
        len(groups["fresh"]),
        len(groups["stale"]),
        len(groups["missing"]),
        len(groups["failed"]),
        len(groups["blocked"]),
        latest,
        lag_s,
        reasons,
        late,
    )


def _latest(snapshot: Snapshot, key: str) -> tuple[str | None, float | None]:
    state, space = snapshot.state(key), snapshot.space(key)
    published = np.flatnonzero(state.seq > 0)
    if not len(published):
        return None, None
    ranks = space.ranks_in_time()
    newest = (state.published_at if ranks is None else ranks)[published]
    ordinal = int(published[np.argmax(newest)])
    at = dt.datetime.fromtimestamp(float(state.published_at[ordinal]), dt.UTC)
    name = space.key(ordinal)
    window = space.window_of(name)
    end = at if window is None else window.end
    return name if name is not None else at.isoformat(timespec="seconds"), (
        snapshot.now - end
    ).total_seconds()
