"""Figures that tests collect while they run, shown as one table when the test run ends."""

from dataclasses import dataclass


@dataclass
class Figure:
    """What one campaign of faults did.

    Attributes:
        points: Places at which a fault could strike.
        faults: Faults that struck.
        violations: Broken invariants that were found.
    """

    name: str
    points: int = 0
    faults: int = 0
    violations: int = 0


FIGURES: dict[str, Figure] = {}


def count(name: str, *, points: int = 0, faults: int = 0, violations: int = 0) -> None:
    """Add to the figures of a campaign."""
    figure = FIGURES.setdefault(name, Figure(name))
    figure.points += points
    figure.faults += faults
    figure.violations += violations


def table() -> list[str]:
    """The lines of the table, with a last line of sums; nothing when nothing was counted."""
    if not FIGURES:
        return []
    rows = [FIGURES[name] for name in sorted(FIGURES)]
    total = Figure("all")
    for row in rows:
        total.points += row.points
        total.faults += row.faults
        total.violations += row.violations
    width = max(len(row.name) for row in rows)
    lines = [f"{'campaign':<{width}}  {'points':>7}  {'faults':>7}  {'violations':>10}"]
    lines += [
        f"{row.name:<{width}}  {row.points:>7,}  {row.faults:>7,}  {row.violations:>10,}"
        for row in (*rows, total)
    ]
    return lines
