"""What a rule or a check found on data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["CheckOutcome", "CheckStatus"]

CheckStatus = Literal["passed", "failed", "warned", "error"]


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """One check on staged or current data.

    Attributes:
        sample: Up to ten failing rows as plain values, for people.
    """

    check: str
    status: CheckStatus
    severity: Literal["error", "warn"]
    observed: str
    expected: str
    sample: tuple[dict[str, object], ...] = ()

    @property
    def is_blocking(self) -> bool:
        """Whether this outcome keeps the data from being published."""
        return self.severity == "error" and self.status in ("failed", "error")
