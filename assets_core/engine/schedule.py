"""The steps of a plan as arrays, and which of them wait for which."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from assets_core.definition.policies import Retry
from assets_core.engine.machine import StepGraph
from assets_core.planning.plan import Plan, PlannedStep

if TYPE_CHECKING:
    from assets_core.planning.plan import Reason
    from assets_core.planning.snapshot import Snapshot

Int = npt.NDArray[np.int64]


class RunSchedule:
    """The steps of one plan, numbered upstream before downstream.

    Attributes:
        graph: Which steps each step waits for.
        policies: Distinct retry policies.
        policy_of: For each step the index of its policy.
    """

    def __init__(self, plan: Plan, snapshot: Snapshot) -> None:
        self._plan = plan
        self._snapshot = snapshot
        self._keys: list[str] = []
        self._starts: list[int] = []
        self._ordinals: list[Int] = []
        self._reasons: list[Int] = []
        self._groups = plan.groups
        count = 0
        for key, members in _by_asset(plan):
            ordinals = np.concatenate([plan.groups[index].partitions.to_array() for index in members])
            reasons = np.concatenate(
                [np.full(len(plan.groups[index].partitions), index, np.int64) for index in members]
            )
            order = np.argsort(ordinals, kind="stable")
            self._keys.append(key)
            self._starts.append(count)
            self._ordinals.append(ordinals[order])
            self._reasons.append(reasons[order])
            count += len(ordinals)
        self._n = count
        self._row: list[int] = np.repeat(
            np.arange(len(self._keys)), [len(part) for part in self._ordinals]
        ).tolist()
        self._flat: list[int] = [ordinal for part in self._ordinals for ordinal in part.tolist()]
        self._group_of: list[int] = [index for part in self._reasons for index in part.tolist()]
        self.graph = self._connect()
        self.policies, self.policy_of = self._collect_policies()
        self._positions: dict[str, Int] = {}

    def __len__(self) -> int:
        return self._n

    def asset_of(self, step: int) -> str:
        """Key of the step's asset."""
        return self._keys[self._row[step]]

    def ordinal_of(self, step: int) -> int:
        """Ordinal of the step's partition."""
        return self._flat[step]

    def reason_of(self, step: int) -> Reason:
        """Why the step was planned."""
        return self._groups[self._group_of[step]].reason

    def position_of(self, step: int) -> int:
        """Where the state store files the step's partition."""
        key = self.asset_of(step)
        positions = self._positions.get(key)
        if positions is None:
            positions = self._positions[key] = self._snapshot.space(key).positions()
        return int(positions[self._flat[step]])

    def planned(self, step: int) -> PlannedStep:
        """The step as people see it."""
        group = self._groups[self._group_of[step]]
        return PlannedStep(
            group.asset, group.partitions.definition.key(self._flat[step]), group.reason, group.detail
        )

    def _connect(self) -> StepGraph:
        rows: list[Int] = []
        columns: list[Int] = []
        soft: list[npt.NDArray[np.uint8]] = []
        index_of = {key: row for row, key in enumerate(self._keys)}
        for row, key in enumerate(self._keys):
            asset = self._snapshot.asset(key)
            links = [
                (item.asset, self._snapshot.spans(key, item), item.missing == "skip") for item in asset.inputs
            ]
            links += [(name, self._snapshot.order_spans(key, name), False) for name in asset.deps]
            for name, spans, is_soft in links:
                above = index_of.get(name)
                if above is None:
                    continue
                mine, theirs = self._ordinals[row], self._ordinals[above]
                counts, places = spans.links(mine, theirs)
                if not len(places):
                    continue
                columns.append(places + self._starts[above])
                rows.append(np.repeat(np.arange(len(mine)) + self._starts[row], counts))
                soft.append(np.full(len(places), is_soft, np.uint8))
        if not rows:
            return StepGraph(array("q", bytes(8 * (self._n + 1))), array("q"))
        row_index, column_index = np.concatenate(rows), np.concatenate(columns)
        order = np.argsort(row_index, kind="stable")
        counts = np.bincount(row_index, minlength=self._n)
        indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        return StepGraph(
            array("q", indptr.tobytes()),
            array("q", column_index[order].tobytes()),
            np.concatenate(soft)[order].tobytes(),
        )

    def _collect_policies(self) -> tuple[tuple[Retry, ...], list[int]]:
        policies: dict[Retry, int] = {}
        indexes = [
            policies.setdefault(self._snapshot.asset(key).retries, len(policies)) for key in self._keys
        ]
        return tuple(policies), [indexes[row] for row in self._row]


def _by_asset(plan: Plan) -> list[tuple[str, list[int]]]:
    found: dict[str, list[int]] = {}
    for index, group in enumerate(plan.groups):
        found.setdefault(group.asset, []).append(index)
    return list(found.items())
