"""Rows of data as plain values for people: JSON-able, short."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["SAMPLE_ROWS", "plain_row", "plain_value"]

SAMPLE_ROWS = 10
_MAX_COLUMNS = 20
_MAX_TEXT = 200
_MAX_ITEMS = 20


def plain_row(row: Mapping[Any, Any], first: str = "") -> dict[str, object]:
    """A row with plain values: the column `first` in front, at most 20 columns."""
    names = [first] if first in row else []
    names += [name for name in row if name != first]
    return {str(name): plain_value(row[name]) for name in names[:_MAX_COLUMNS]}


def plain_value(value: Any) -> Any:
    """A value that JSON has: numbers that are not finite as text, times in ISO 8601, bytes in hex, long texts cut."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, bytes | bytearray):
        return _cut("0x" + bytes(value[:_MAX_TEXT]).hex())
    if isinstance(value, Mapping):
        return {str(key): plain_value(item) for key, item in list(value.items())[:_MAX_ITEMS]}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_value(item) for item in list(value)[:_MAX_ITEMS]]
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return plain_value(value.tolist())
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 3] + "..."
