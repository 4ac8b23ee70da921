"""What a mapping is: a rule that, applied to two definitions, says which upstream partitions each needs.

Mappings are values; their `repr` is how they are written, and enters code versions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING

from assets_core.definition.partitions.base import UNPARTITIONED, PartitionsDefinition
from assets_core.definition.partitions.dynamic import DynamicPartitions
from assets_core.definition.partitions.multi import MultiPartitions
from assets_core.definition.partitions.relation import Relation, Scattered, Spans
from assets_core.definition.partitions.windows import TimePartitions
from assets_core.errors import DefinitionError, NotFoundError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Ordinals = npt.NDArray[np.int64]

__all__ = ["KeyMapping", "PartitionMapping", "SpanMapping", "name_of"]


class PartitionMapping(ABC):
    """A rule that says which upstream partitions a downstream partition needs.

    For a rule of your own derive from `KeyMapping`.
    """

    def reads_many(self, down: PartitionsDefinition, up: PartitionsDefinition) -> bool:
        """Whether it may name several for one; then `dict[str, T]` means by partition."""
        return True

    @abstractmethod
    def problem(self, down: PartitionsDefinition, up: PartitionsDefinition) -> str | None:
        """A sentence that says why the mapping cannot be applied and what to write instead; None if it can."""

    def spans(self, down: PartitionsDefinition, up: PartitionsDefinition) -> Relation:
        """Apply the mapping to two definitions; open ones count as they stand at this moment.

        Raises:
            DefinitionError: `mapping-impossible`, saying what `problem` says.
        """
        problem = self.problem(down, up)
        if problem is not None:
            raise DefinitionError(
                "mapping-impossible",
                f"{self!r} cannot map {name_of(down)} to {name_of(up)}.",
                why=problem,
                do="name another mapping with In(partitions=...).",
            )
        return self._relate(down, up)

    @abstractmethod
    def _relate(self, down: PartitionsDefinition, up: PartitionsDefinition) -> Relation:
        """Apply the mapping to two definitions that it can be applied to."""


class SpanMapping(PartitionMapping):
    """A mapping that names one run of neighbours for each partition."""

    def _relate(self, down: PartitionsDefinition, up: PartitionsDefinition) -> Spans:
        import numpy as np

        first, last = self._spans(down, up)
        first = np.clip(first, 0, len(up))
        return Spans(down, up, first, np.maximum(np.clip(last, 0, len(up)), first))

    @abstractmethod
    def _spans(self, down: PartitionsDefinition, up: PartitionsDefinition) -> tuple[Ordinals, Ordinals]:
        """Firsts and lasts, not yet clipped to the bounds of `up`."""


class KeyMapping(PartitionMapping):
    """A mapping by keys, for rules of your own.

    Derive a frozen dataclass and write `members`; a `repr` that says all that the rule depends on makes partitions
    stale when the rule changes, which that of a dataclass does. The rule is asked once for each downstream partition
    when a plan is made, so it must be quick, and always answer alike.
    """

    @abstractmethod
    def members(self, key: str | None, up: PartitionsDefinition) -> Iterable[str | None]:
        """Keys of the upstream partitions that one downstream partition needs, in any order.

        A key that upstream does not hold now is left out.

        Args:
            key: Of the downstream partition; None without partitions.
            up: The upstream definition.
        """

    def problem(self, down: PartitionsDefinition, up: PartitionsDefinition) -> str | None:
        """None: that a rule is no good for two definitions, only its author knows."""
        return None

    def _relate(self, down: PartitionsDefinition, up: PartitionsDefinition) -> Relation:
        import numpy as np

        known: dict[str | None, int | None] = {}
        counts, found = [0], []
        for key in down.keys():
            ordinals = {_find(name, up, known) for name in self._names(key, up)}
            found += sorted(ordinal for ordinal in ordinals if ordinal is not None)
            counts.append(len(found))
        relation = Scattered(down, up, np.array(counts, np.int64), np.array(found, np.int64))
        bounds = relation.bounds()
        return relation if bounds is None else Spans(down, up, *bounds)

    def _names(self, key: str | None, up: PartitionsDefinition) -> list[str | None]:
        try:
            names = self.members(key, up)
            return [names] if isinstance(names, str) else list(names)
        except Exception as error:
            failure = DefinitionError(
                "mapping-raised",
                f"{self!r:.200} raised {type(error).__name__} for the partition {key!r}.",
                why=str(error) or type(error).__name__,
                do="mend its method `members`.",
            )
            raise failure from error


def _find(key: str | None, up: PartitionsDefinition, known: dict[str | None, int | None]) -> int | None:
    if key not in known:
        try:
            known[key] = up.ordinal(key)
        except NotFoundError:
            known[key] = None
    return known[key]


def name_of(definition: PartitionsDefinition) -> str:
    """What a definition is, in a few words."""
    if isinstance(definition, TimePartitions):
        return f"{definition.signature()} partitions"
    if isinstance(definition, MultiPartitions):
        return f"partitions by {' and '.join(definition.dimensions)}"
    if isinstance(definition, DynamicPartitions):
        return f"the dynamic partitions {definition.name!r}"
    if definition == UNPARTITIONED:
        return "no partitions"
    return f"{len(definition):,} {definition.kind} partitions"
