"""Rows of a table as aligned text."""

from __future__ import annotations

import datetime as dt
from typing import Any

from ui.cli.table import GAP, text_width

#: Longer texts are cut in a printed table; a file has them whole.
_CELL_CHARS = 60


def format_rows(table: Any, limit: int | None, width: int | None) -> tuple[list[str], list[str], list[str]]:
    """Lines of text for the first rows of a `pyarrow.Table`.

    Args:
        table: The table.
        limit: At most so many rows, None for all.
        width: Characters that a line may have, None for any number. The first column is shown in any case.

    Returns:
        The header (names, then types), the rows, and the names of columns that did not fit.
    """
    shown = table if limit is None else table.slice(0, limit)
    columns: list[list[str]] = []
    hidden: list[str] = []
    used = 0
    for index, name in enumerate(table.column_names):
        kind = format_type(table.schema.field(index).type)
        cells = [name, kind, *(format_cell(value) for value in shown.column(index).to_pylist())]
        size = max(text_width(cell) for cell in cells)
        if hidden or (columns and width is not None and used + size > width):
            hidden.append(name)
            continue
        used += size + GAP
        right = _is_number(table.schema.field(index).type)
        columns.append([_pad(cell, size, right=right) for cell in cells])
    lines = [(" " * GAP).join(cells).rstrip() for cells in zip(*columns, strict=True)]
    return lines[:2], lines[2:], hidden


def format_type(kind: Any) -> str:
    """A type's short name: `string`, `double`, `timestamp[us, tz=UTC]`."""
    text = str(kind)
    if text.startswith("dictionary<"):
        return f"category[{kind.value_type}]"
    return text.removeprefix("large_")


def format_cell(value: Any) -> str:
    """One value on one line, cut after 60 characters."""
    if value is None:
        return "null"
    if isinstance(value, dt.datetime):
        text = value.isoformat(sep=" ")
    elif isinstance(value, bytes):
        text = value[:_CELL_CHARS].hex()
    else:
        text = str(value)
    text = text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return text if len(text) <= _CELL_CHARS else text[: _CELL_CHARS - 1] + "…"


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _pad(text: str, size: int, *, right: bool) -> str:
    blanks = " " * (size - text_width(text))
    return blanks + text if right else text + blanks
