"""Aligned tables as text, folded to the width of a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

GAP = 2
#: A column is not folded to less.
_NARROWEST = 12


class Styled(NamedTuple):
    """A text and the name of a colour, or `bold`; "" for none."""

    text: str
    style: str = ""


Cell = str | Styled


def text_width(text: str) -> int:
    """Columns of a terminal that a text takes; wide characters take two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def format_table(
    rows: Iterable[Sequence[Cell]],
    *,
    right: Iterable[int] = (),
    fixed: Iterable[int] = (),
    width: int | None = None,
) -> list[list[Styled]]:
    """Lay rows out in columns.

    Args:
        rows: Cells, the same number in each row; a cell may have several lines.
        right: Columns that are aligned to the right.
        fixed: Columns that are never folded.
        width: Characters that a line may have, None for any number; exceeded where folding cannot help.

    Returns:
        Lines as pieces of text; joined they have no blanks at their end.
    """
    cells = [[_as_styled(cell) for cell in row] for row in rows]
    if not cells:
        return []
    widths = [
        max(text_width(line) for row in cells for line in row[index].text.split("\n"))
        for index in range(len(cells[0]))
    ]
    _shrink(widths, set(fixed), width)
    return [line for row in cells for line in _lay_out(row, widths, frozenset(right))]


def _as_styled(cell: Cell) -> Styled:
    return cell if isinstance(cell, Styled) else Styled(cell)


def _shrink(widths: list[int], fixed: set[int], width: int | None) -> None:
    """Take from the widest columns that may be folded until the line fits."""
    if width is None:
        return
    while (over := sum(widths) + GAP * (len(widths) - 1) - width) > 0:
        loose = [
            (size, index) for index, size in enumerate(widths) if index not in fixed and size > _NARROWEST
        ]
        if not loose:
            return
        size, index = max(loose)
        others = [other for other, _ in loose if other < size]
        widths[index] = max(_NARROWEST, size - over, max(others, default=0) - 1)


def _lay_out(row: Sequence[Styled], widths: Sequence[int], right: frozenset[int]) -> list[list[Styled]]:
    folded = [_fold(cell.text, size) for cell, size in zip(row, widths, strict=True)]
    lines = []
    for number in range(max(map(len, folded))):
        pieces: list[Styled] = []
        blanks = 0
        for index, cell in enumerate(row):
            text = folded[index][number] if number < len(folded[index]) else ""
            rest = widths[index] - text_width(text)
            lead = rest if index in right else 0
            if text:
                pieces.append(Styled(" " * (blanks + lead)))
                pieces.append(Styled(text, cell.style))
                blanks = rest - lead + GAP
            else:
                blanks += widths[index] + GAP
        lines.append(pieces)
    return lines


def _fold(text: str, size: int) -> list[str]:
    lines = []
    for line in text.split("\n"):
        if text_width(line) <= size:
            lines.append(line)
        else:
            import textwrap

            lines += textwrap.wrap(line, size, break_on_hyphens=False) or [""]
    return lines
