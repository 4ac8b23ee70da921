"""How values are written for people: times in the local zone, durations, sizes, counts, partition ranges."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assets_core.definition.partitions.base import PartitionSet

_SHOWN_RANGES = 3


def format_time(value: str | None) -> str:
    """`2024-05-01 14:03:09 +0200` in the local zone, from an ISO 8601 text; `-` for None."""
    if not value:
        return "-"
    return f"{dt.datetime.fromisoformat(value).astimezone():%Y-%m-%d %H:%M:%S %z}"


def format_duration(seconds: float | None) -> str:
    """`3 ms`, `4.2 s`, `3 m 20 s`, `5 h 10 m`, `2 d 3 h`; `-` for None."""
    if seconds is None:
        return "-"
    if seconds < 0:
        return f"-{format_duration(-seconds)}"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, size, small, small_size in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // small_size} {small}"
    return f"{whole} s"


def format_bytes(size: int | None) -> str:
    """`812 B`, `3.4 KB`, `1.2 GB` in steps of 1000; `-` for None."""
    if size is None:
        return "-"
    value = float(size)
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{size} B"


def format_count(number: int | None, one: str = "", many: str = "") -> str:
    """`1,234`, or `1 step`, `1,234 steps` with a noun (`many` defaults to `one` and an s); `-` for None."""
    if number is None:
        return "-"
    if not one:
        return f"{number:,}"
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def format_partitions(partitions: PartitionSet) -> str:
    """Ranges with both ends in, `2013-01-01..2013-01-31, 2013-02-03`; beyond three how many more there are."""
    key = partitions.definition.key
    spans = partitions.spans()
    if len(partitions.definition) == 1 and key(0) is None:
        return ""
    shown = [partitions.definition.describe_run(first, last - 1) for first, last in spans[:_SHOWN_RANGES]]
    if len(spans) > _SHOWN_RANGES:
        rest = sum(last - first for first, last in spans[_SHOWN_RANGES:])
        shown.append(f"and {rest:,} more")
    return ", ".join(shown)


def parse_time(text: str) -> dt.datetime:
    """An aware time from ISO 8601; without an offset it is local time, without a clock time its day's beginning.

    Raises:
        ValueError: The text is not such a time.
    """
    return dt.datetime.fromisoformat(text).astimezone(dt.UTC)
