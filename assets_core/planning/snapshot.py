"""One consistent view of what is published and of what the definitions now ask for.

The planner decides on it, and the runner resolves the inputs of each step from it and keeps it up to date with
the run's own publications; nobody else's publications enter, so that a run reads one state of the world.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from pyroaring import BitMap

from assets_core.definition.partitions.base import PartitionSet
from assets_core.definition.partitions.mapping import all_partitions, default_mapping
from assets_core.planning.fingerprint import (
    finish_fingerprint,
    finish_fingerprints,
    format_hash,
    mix,
    mix_one,
    name_hash,
)
from io_managers.versions.publication import InputUse

if TYPE_CHECKING:
    from assets_core.definition.asset import Asset, Input
    from assets_core.definition.partitions.base import PartitionsDefinition
    from assets_core.definition.partitions.mapping import PartitionMapping
    from assets_core.definition.partitions.relation import Relation
    from assets_core.planning.asset_state import U64, AssetState
    from assets_core.project.project import Project


@dataclass(frozen=True)
class CurrentVersions:
    """What a publication made now would record: 16 hex digits each.

    Attributes:
        find_gates: Gives the version of the checks, 16 hex digits; they change no value, so that it only matters, and
            is only worked out, where one has blocked a try.
    """

    code: str
    config: str
    find_gates: Callable[[], str] = field(default=lambda: "0" * 16, compare=False)

    @cached_property
    def basis(self) -> int:
        """One hash of all that a try starts from beside its inputs."""
        parts = enumerate((self.code, self.config, self.find_gates()))
        return sum(mix_one(index, int(part, 16)) for index, part in parts) & 0xFFFF_FFFF_FFFF_FFFF


class Snapshot:
    """Definitions, versions and published state at one instant.

    Attributes:
        now: The instant at which open-ended partitions were closed.
    """

    def __init__(
        self,
        project: Project,
        now: dt.datetime,
        states: Mapping[str, AssetState],
        versions: Mapping[str, CurrentVersions],
    ) -> None:
        self.project = project
        self.now = now
        self._states = states
        self._versions = versions
        self._relations: dict[tuple[PartitionMapping, int, int], Relation] = {}
        self._spans: dict[tuple[str, str], Relation] = {}

    def keys(self) -> list[str]:
        """Every asset the snapshot holds, upstream first."""
        return [key for key in self.project.graph.order if key in self._versions]

    def asset(self, key: str) -> Asset:
        """The definition of an asset."""
        return self.project.assets[key]

    def space(self, key: str) -> PartitionsDefinition:
        """The partitions of an asset as of `now`."""
        return self._states[key].definition

    def state(self, key: str) -> AssetState:
        """What is published of an asset."""
        return self._states[key]

    def versions(self, key: str) -> CurrentVersions:
        """Code and configuration version of an asset as it is defined now."""
        return self._versions[key]

    def spans(self, key: str, item: Input) -> Relation:
        """For each partition of an asset the upstream partitions of one input."""
        found = self._spans.get((key, item.parameter))
        if found is None:
            down, up = self.space(key), self.space(item.asset)
            mapping = item.mapping or default_mapping(down, up)
            # assets share definitions, and with them what a mapping makes of two
            shared = (mapping, id(down), id(up))
            found = self._relations.get(shared)
            if found is None:
                found = self._relations[shared] = mapping.spans(down, up)
            self._spans[key, item.parameter] = found
        return found

    def order_spans(self, key: str, upstream: str) -> Relation:
        """For each partition of an asset the partitions of an order-only dependency that come before it."""
        found = self._spans.get((key, f" {upstream}"))
        if found is None:
            down, up = self.space(key), self.space(upstream)
            mapping = default_mapping(down, up)
            if mapping.problem(down, up):
                mapping = all_partitions()
            found = self._spans[key, f" {upstream}"] = mapping.spans(down, up)
        return found

    def links(self, key: str) -> list[tuple[str, Relation]]:
        """Every upstream asset with the partitions of it that come before each partition, read or only waited for."""
        asset = self.asset(key)
        return [
            *((item.asset, self.spans(key, item)) for item in asset.inputs),
            *((name, self.order_spans(key, name)) for name in asset.deps),
        ]

    def fingerprints(self, key: str, item: Input) -> U64:
        """The fingerprint of one input for every partition of an asset, from what is published now."""
        upstream = self.state(item.asset)
        spans = self.spans(key, item)
        counts = spans.sum_over(upstream.seq > 0).astype(np.uint64)
        return finish_fingerprints(spans.sum_over(upstream.mixed(item.columns)), counts)

    def fingerprint(self, key: str, item: Input, ordinal: int) -> int:
        """The fingerprint of one input of one partition; equal to that element of `fingerprints`."""
        upstream = self.state(item.asset)
        index = self.spans(key, item).index(ordinal)
        mixed, seqs = upstream.mixed(item.columns)[index], upstream.seq[index]
        if len(seqs) == 1:
            return finish_fingerprint(int(mixed[0]), int(seqs[0] > 0))
        return finish_fingerprint(int(np.sum(mixed, dtype=np.uint64)), int(np.count_nonzero(seqs)))

    def resolve(self, key: str, ordinal: int) -> dict[str, InputUse]:
        """The versions that each input of one partition reads, pinned."""
        resolved = {}
        for item in self.asset(key).inputs:
            upstream = self.state(item.asset)
            spans = self.spans(key, item)
            name = upstream.definition.key
            seqs = upstream.seq[spans.index(ordinal)].tolist()
            resolved[item.parameter] = InputUse(
                item.asset,
                format_hash(self.fingerprint(key, item, ordinal)),
                tuple((name(at), seq) for at, seq in zip(spans.members(ordinal), seqs, strict=True) if seq),
            )
        return resolved

    def lacking(self, key: str, item: Input, ordinal: int) -> list[str | None]:
        """Keys of the upstream partitions that one partition reads and that are not published."""
        upstream = self.state(item.asset)
        needed = self.spans(key, item).upstream(PartitionSet(self.space(key), BitMap([ordinal])))
        return [upstream.definition.key(above) for above in needed.ordinals() if not upstream.seq[above]]

    def is_current(self, key: str, ordinal: int, resolved: Mapping[str, InputUse]) -> bool:
        """Whether the published version is what computing now would start from: same code, config and inputs."""
        state, versions = self.state(key), self.versions(key)
        return (
            bool(state.seq[ordinal])
            and int(state.code[ordinal]) == int(versions.code, 16)
            and int(state.config[ordinal]) == int(versions.config, 16)
            and all(
                name in state.inputs and int(state.inputs[name][ordinal]) == int(use.fingerprint, 16)
                for name, use in resolved.items()
            )
        )

    def bases(self, key: str) -> U64:
        """For every partition one hash of all that a try starts from: code, configuration, checks and inputs.

        A try that a gate blocked is not repeated while this stays the same.
        """
        total = np.full(len(self.space(key)), self.versions(key).basis, dtype=np.uint64)
        for item in self.asset(key).inputs:
            total += mix(name_hash(item.parameter), self.fingerprints(key, item))
        return total

    def basis(self, key: str, resolved: Mapping[str, InputUse]) -> int:
        """The element of `bases` for one partition with its inputs resolved."""
        total = self.versions(key).basis
        for name, use in resolved.items():
            total += mix_one(name_hash(name), int(use.fingerprint, 16))
        return total & 0xFFFF_FFFF_FFFF_FFFF
