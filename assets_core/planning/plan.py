"""A plan as a value: what will run, in which order, and why."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from assets_core.definition.partitions.base import PartitionSet

Reason = Literal["missing", "code_changed", "input_changed", "config_changed", "failed", "forced"]
REASONS: tuple[Reason, ...] = get_args(Reason)


@dataclass(frozen=True)
class PlannedStep:
    """One asset partition that will run; `detail` is a sentence for people."""

    asset: str
    partition: str | None
    reason: Reason
    detail: str


@dataclass(frozen=True)
class PlannedGroup:
    """Partitions of one asset that run for the same reason."""

    asset: str
    partitions: PartitionSet
    reason: Reason
    detail: str


@dataclass(frozen=True)
class Plan:
    """What will run, upstream before downstream.

    Attributes:
        groups: In topological order of their assets; within an asset disjoint.
        fresh: Asset partitions that were asked for and need no work.
        blocked: Asset partitions that were asked for and that a quality gate blocked: the try is not repeated while it
            would start from the same code, configuration and inputs.
        waiting: Asset partitions that were asked for and have an input that is not there.
    """

    groups: tuple[PlannedGroup, ...]
    fresh: int
    blocked: tuple[PlannedGroup, ...] = ()
    waiting: tuple[PlannedGroup, ...] = ()

    @property
    def n_steps(self) -> int:
        """Asset partitions that will run."""
        return sum(len(group.partitions) for group in self.groups)

    @property
    def total(self) -> int:
        """Asset partitions that were asked for: those that will run, the fresh ones and those held back."""
        return self.n_steps + self.fresh + self.n_blocked + self.n_waiting

    @property
    def n_blocked(self) -> int:
        """Asset partitions that a gate holds back."""
        return sum(len(group.partitions) for group in self.blocked)

    @property
    def n_waiting(self) -> int:
        """Asset partitions that wait for an input."""
        return sum(len(group.partitions) for group in self.waiting)

    def partitions(self, asset: str) -> PartitionSet | None:
        """All planned partitions of one asset, None when there are none."""
        found: PartitionSet | None = None
        for group in self.groups:
            if group.asset == asset:
                found = group.partitions if found is None else found | group.partitions
        return found

    def steps(self) -> Iterator[PlannedStep]:
        """Every step, upstream before downstream, partitions of an asset in their order."""
        start = 0
        groups = self.groups
        while start < len(groups):
            end = start
            while end < len(groups) and groups[end].asset == groups[start].asset:
                end += 1
            ordered = (
                sorted(
                    (ordinal, group) for group in groups[start:end] for ordinal in group.partitions.ordinals()
                )
                if end - start > 1
                else [(o, groups[start]) for o in groups[start].partitions.ordinals()]
            )
            for ordinal, group in ordered:
                yield PlannedStep(
                    group.asset, group.partitions.definition.key(ordinal), group.reason, group.detail
                )
            start = end
