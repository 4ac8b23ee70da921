"""How an asset reads another one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from assets_core.definition.partitions.mapping import PartitionMapping

__all__ = ["In", "Input", "Missing"]

Missing = Literal["error", "skip"]


@dataclass(frozen=True)
class In:
    """What `ins=` says about one parameter.

    Attributes:
        asset: Key of the asset to read; None for the one that the parameter's name refers to.
        partitions: Which of its partitions one partition reads; None for the default: the same key, or the
            windows that overlap.
        missing: What a partition that does not exist is: an error of the plan, or left out.
        columns: The columns to read, None for all. Changes in other columns cause no work.
    """

    asset: str | None = None
    _: KW_ONLY
    partitions: PartitionMapping | None = None
    missing: Missing = "error"
    columns: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.columns is not None:
            columns = (self.columns,) if isinstance(self.columns, str) else tuple(self.columns)
            object.__setattr__(self, "columns", columns)


@dataclass(frozen=True)
class Input:
    """One input of an asset or a check.

    Attributes:
        asset: The key that is read; before a project has validated it, the name as the user wrote it.
        mapping: None for the default mapping between the two assets.
        annotation: What the function wants to get, `inspect.Parameter.empty` when it does not say.
    """

    parameter: str
    asset: str
    mapping: PartitionMapping | None = None
    missing: Missing = "error"
    columns: tuple[str, ...] | None = None
    annotation: Any = None
