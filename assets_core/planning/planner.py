"""Deciding what has to run: vectorised over the partitions of each asset, upstream before downstream."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from assets_core.definition.partitions.base import PartitionSet, bitmap_of
from assets_core.errors import PlanError
from assets_core.planning.asset_state import BLOCKED, FAILED
from assets_core.planning.plan import Plan, PlannedGroup, Reason
from io_managers.keys import format_asset_partition

if TYPE_CHECKING:
    from assets_core.definition.asset import Asset, Input
    from assets_core.planning.snapshot import Snapshot

Mask = npt.NDArray[np.bool_]
MissingInputs = Literal["refuse", "wait_for_gates", "wait"]


class Planner:
    """Plans one request on one snapshot.

    Attributes:
        planned: For each asset decided so far, a mask over its ordinals of what will run.
    """

    def __init__(
        self, snapshot: Snapshot, *, force: bool = False, missing_inputs: MissingInputs = "wait_for_gates"
    ) -> None:
        """Prepare a planner.

        Args:
            snapshot: What is published and what is defined.
            force: Run what was asked for even when it is fresh.
            missing_inputs: What becomes of a partition with an input that is neither published nor planned: an error;
                an error unless a gate blocked the input, for which it waits; or it waits in any case. The last is for
                looking at what there is: then an upstream partition that was never published changes nothing below.
        """
        self._snapshot = snapshot
        self._force = force
        self._missing_inputs = missing_inputs
        self.planned: dict[str, Mask] = {}
        self._waiting: dict[str, Mask] = {}

    def plan(
        self,
        requested: Mapping[str, PartitionSet],
        forced: frozenset[str] | None = None,
        derived: frozenset[str] = frozenset(),
    ) -> Plan:
        """Decide for every requested asset partition whether it runs, and why.

        Args:
            requested: Partitions by asset; assets may come in any order.
            forced: With `force`, the assets it applies to; None for all requested.
            derived: Assets of which whatever reads the others' partitions was requested: one that also needs
                partitions of theirs that were not requested, and are not there, waits.

        Raises:
            PlanError: `input-not-materialized`: an input is neither published nor planned.
        """
        groups: list[PlannedGroup] = []
        blocked: list[PlannedGroup] = []
        waiting: list[PlannedGroup] = []
        fresh = 0
        for key in self._snapshot.project.graph.order:
            wanted = requested.get(key)
            if wanted is None or not wanted or self._snapshot.asset(key).function is None:
                continue
            asked = np.zeros(len(wanted.definition), np.bool_)
            asked[wanted.to_array()] = True
            force = self._force and (forced is None or key in forced)
            own = self._decide(key, asked, force=force)
            if not own:
                self.planned[key] = self._waiting[key] = np.zeros(len(asked), np.bool_)
                fresh += len(wanted)
                continue
            gated = self._gated(key, own, force=force)
            lacking = self._lacking(key, own, gated, is_derived=key in derived)
            held_back = gated | lacking
            running = np.zeros(len(asked), np.bool_)
            for reason, detail, mask in own:
                left = mask & ~held_back
                running |= left
                if left.any():
                    groups.append(PlannedGroup(key, _as_set(wanted, left), reason, detail))
            if gated.any():
                why = "blocked by a quality gate, and nothing it was computed from has changed"
                blocked.append(PlannedGroup(key, _as_set(wanted, gated), "failed", why))
            if lacking.any():
                why = "an input is not there"
                waiting.append(PlannedGroup(key, _as_set(wanted, lacking), "missing", why))
            self.planned[key] = running
            self._waiting[key] = held_back
            fresh += int(np.count_nonzero(asked & ~running & ~held_back))
        return Plan(tuple(groups), fresh, tuple(blocked), tuple(waiting))

    def _decide(self, key: str, asked: Mask, *, force: bool) -> list[tuple[Reason, str, Mask]]:
        """Disjoint masks of what is not fresh, by reason."""
        snapshot, state = self._snapshot, self._snapshot.state(key)
        versions = snapshot.versions(key)
        rest = asked.copy()
        found: list[tuple[Reason, str, Mask]] = []

        def take(reason: Reason, detail: str, mask: Mask) -> None:
            nonlocal rest
            if not mask.any():
                return
            hit = rest & mask
            if hit.any():
                found.append((reason, detail, hit))
                rest = rest & ~hit

        if force:
            take("forced", "asked for with --force", asked)
            return found
        rest &= ~state.held
        missing = state.seq == 0
        if missing.any():
            take("failed", "the last try failed", missing & (state.outcome == FAILED))
            take("missing", "never materialized", missing & (state.taken == 0))
            take("missing", "the last version was dropped", missing)
        take("code_changed", "the code changed", state.code != np.uint64(int(versions.code, 16)))
        take(
            "config_changed", "the configuration changed", state.config != np.uint64(int(versions.config, 16))
        )
        for item in snapshot.asset(key).inputs:
            if item.asset in self.planned and self.planned[item.asset].any():
                take("input_changed", f"{item.asset} will be recomputed", self._will_change(key, item))
            recorded = state.inputs.get(item.parameter)
            changed = (
                np.ones(len(rest), np.bool_)
                if recorded is None
                else recorded != snapshot.fingerprints(key, item)
            )
            take("input_changed", f"{item.asset} changed", changed)
        return found

    def _will_change(self, key: str, item: Input) -> Mask:
        """Partitions of which an upstream partition is planned."""
        spans = self._snapshot.spans(key, item)
        planned = self.planned.get(item.asset)
        if planned is not None and self._missing_inputs == "wait":
            planned = planned & (self._snapshot.state(item.asset).seq > 0)
        if planned is None:
            return np.zeros(len(spans.down), np.bool_)
        return spans.any_over(planned)

    def _gated(self, key: str, decided: Sequence[tuple[Reason, str, Mask]], *, force: bool) -> Mask:
        """Partitions whose very try a gate has blocked before."""
        state = self._snapshot.state(key)
        wanted = _union(decided, len(state.seq))
        blocked: Mask = wanted & (state.outcome == BLOCKED)
        if force or not blocked.any():
            return np.zeros(len(wanted), np.bool_)
        gated: Mask = (
            blocked & (state.outcome_basis == self._snapshot.bases(key)) & ~self._any_will_change(key)
        )
        return gated

    def _lacking(
        self, key: str, decided: Sequence[tuple[Reason, str, Mask]], gated: Mask, *, is_derived: bool
    ) -> Mask:
        """Partitions that wait for an input.

        Raises:
            PlanError: `input-not-materialized`, when they may not.
        """
        wanted = _union(decided, len(gated)) & ~gated
        held = np.zeros(len(gated), np.bool_)
        if not wanted.any():
            return held
        for item in self._snapshot.asset(key).inputs:
            lacking = wanted & ~held & self._lacks(key, item)
            if not lacking.any():
                continue
            match "wait" if is_derived and item.asset in self.planned else self._missing_inputs:
                case "wait":
                    refused = np.zeros(len(gated), np.bool_)
                case "wait_for_gates":
                    refused = lacking & ~self._is_behind_gate(key, item)
                case "refuse":
                    refused = lacking
            if refused.any():
                raise self._input_missing(key, item, refused)
            held |= lacking
        return held

    def _any_will_change(self, key: str) -> Mask:
        total = np.zeros(len(self._snapshot.space(key)), np.bool_)
        for item in self._snapshot.asset(key).inputs:
            total |= self._will_change(key, item)
        return total

    def _lacks(self, key: str, item: Input) -> Mask:
        """Partitions that read an upstream partition which is neither published nor planned."""
        if item.missing == "skip":
            return np.zeros(len(self._snapshot.space(key)), np.bool_)
        upstream = self._snapshot.state(item.asset)
        there = upstream.seq > 0
        planned = self.planned.get(item.asset)
        if planned is not None:
            there = there | planned
        return self._touches(key, item, ~there)

    def _is_behind_gate(self, key: str, item: Input) -> Mask:
        """Partitions of which every lacking upstream partition was blocked by a gate, or waits for one that was."""
        upstream = self._snapshot.state(item.asset)
        gated = (upstream.outcome == BLOCKED) & (upstream.seq == 0)
        waiting = self._waiting.get(item.asset)
        if waiting is not None:
            gated = gated | (waiting & (upstream.seq == 0))
        planned = self.planned.get(item.asset)
        lacking = upstream.seq == 0
        if planned is not None:
            lacking = lacking & ~planned
        return ~self._touches(key, item, lacking & ~gated)

    def _touches(self, key: str, item: Input, upstream: Mask) -> Mask:
        return self._snapshot.spans(key, item).any_over(upstream)

    def _input_missing(self, key: str, item: Input, lacking: Mask) -> PlanError:
        snapshot = self._snapshot
        ordinal = int(np.flatnonzero(lacking)[0])
        spans, upstream = snapshot.spans(key, item), snapshot.state(item.asset)
        planned = self.planned.get(item.asset)
        missing = [
            up
            for up in spans.members(ordinal)
            if not upstream.seq[up] and not (planned is not None and planned[up])
        ]
        target = format_asset_partition(key, snapshot.space(key).key(ordinal))
        name = format_asset_partition(item.asset, upstream.definition.key(missing[0]))
        asset: Asset = snapshot.asset(item.asset)
        count = int(np.count_nonzero(lacking))
        also = f" ({count} asset partitions lack an input)" if count > 1 else ""
        if upstream.outcome[missing[0]] == BLOCKED:
            why = f"{name} was blocked by a quality gate and has no earlier version{also}."
            do = f"see `assetline runs show`, mend the data or the check, and materialize {item.asset} first."
        elif asset.function is None:
            why = f"{item.asset} is external and its data is not there{also}."
            do = "provide the file, or leave such partitions out with In(missing='skip')."
        else:
            why = f"it is neither published nor part of the request{also}."
            space = snapshot.space(key)
            option = "" if target == key else f" -p {shlex.quote(space.format_key(space.key(ordinal)))}"
            do = f"assetline materialize '+{key}'{option}, or In(missing='skip') to load what is there."
        return PlanError(
            "input-not-materialized",
            f"cannot materialize {target}: its input {name} does not exist.",
            why=why,
            do=do,
        )


def _union(decided: Sequence[tuple[Reason, str, Mask]], n: int) -> Mask:
    total = np.zeros(n, np.bool_)
    for _, _, mask in decided:
        total |= mask
    return total


def _as_set(like: PartitionSet, mask: Mask) -> PartitionSet:
    edges = np.flatnonzero(mask[1:] != mask[:-1]) + 1
    if len(edges) * 8 > len(mask):  # short runs: cheaper member by member
        return PartitionSet(like.definition, bitmap_of(mask))
    bits = BitMap()
    bounds = [0, *edges.tolist(), len(mask)]
    first = 0 if mask[0] else 1
    for start, end in zip(bounds[first::2], bounds[first + 1 :: 2], strict=False):
        bits.add_range(start, end)
    return PartitionSet(like.definition, bits)
