"""Values as text that is the same in every process: what a constant adds to a code version."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import pathlib
import re
import types
import uuid
import zoneinfo
from collections.abc import Callable, Mapping

__all__ = ["ConstantText", "constant_text"]

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), range, slice)
_BY_REPR = (
    dt.date,
    dt.time,
    dt.timedelta,
    dt.timezone,
    decimal.Decimal,
    fractions.Fraction,
    uuid.UUID,
    zoneinfo.ZoneInfo,
)
_DEPTH = 40


@dataclasses.dataclass(frozen=True, slots=True)
class ConstantText:
    """Text of a value; `is_whole` is False when a part of it is known by its type alone."""

    text: str
    is_whole: bool


class _Writer:
    def __init__(self, follow: Callable[[object], str | None]) -> None:
        self.follow = follow
        self.is_whole = True
        self.open: set[int] = set()

    def write(self, value: object) -> str:
        kind = type(value)
        if kind in _PLAIN:
            return repr(value)
        if id(value) in self.open or len(self.open) > _DEPTH:
            return "<again>"
        self.open.add(id(value))
        try:
            return self._compound(value, kind)
        finally:
            self.open.discard(id(value))

    def _compound(self, value: object, kind: type) -> str:
        if isinstance(value, enum.Enum):
            return f"{self.type_name(kind)}.{value.name}"
        if kind in (list, tuple):
            return f"{kind.__name__}[{', '.join([self.write(item) for item in value])}]"  # type: ignore[attr-defined]
        if kind in (set, frozenset):
            return f"set[{', '.join(sorted([self.write(item) for item in value]))}]"  # type: ignore[attr-defined]
        if isinstance(value, dict | types.MappingProxyType):
            return f"{self.type_name(kind)}{{{self._items(value)}}}"
        if isinstance(value, re.Pattern):
            return f"re[{value.pattern!r}, {int(value.flags)}]"
        if kind.__module__ in ("datetime", "decimal", "fractions", "uuid", "zoneinfo") and isinstance(
            value, _BY_REPR
        ):
            return repr(value)
        followed = self.follow(value)
        if followed is not None:
            return followed
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            return f"{self.type_name(kind)}({', '.join([self.write(item) for item in value])})"
        if dataclasses.is_dataclass(value):
            parts = [
                f"{item.name}={self.write(getattr(value, item.name, None))}"
                for item in dataclasses.fields(value)
                if item.compare
            ]
            return f"{self.type_name(kind)}({', '.join(parts)})"
        self.is_whole = False
        # Paths differ from machine to machine, and their class from system to system.
        return "<path>" if isinstance(value, pathlib.PurePath) else f"<{self.type_name(kind)}>"

    def _items(self, value: Mapping[object, object]) -> str:
        return ", ".join([f"{self.write(key)}: {self.write(item)}" for key, item in value.items()])

    def type_name(self, kind: type) -> str:
        return self.follow(kind) or f"{kind.__module__}.{kind.__qualname__}"


def constant_text(value: object, follow: Callable[[object], str | None]) -> ConstantText:
    """Write a value.

    By value: numbers, texts, bytes, containers of values (dicts in their order, sets sorted), enum members, regular
    expressions, dates and times, decimals, named tuples, dataclass instances by their compared fields.
    Everything else is known by its type's name alone.

    Args:
        value: Any object; nothing of it is called but `repr` of well-known types.
        follow: Called with functions, classes and other objects; its answer stands for them, None leaves it to us.
    """
    writer = _Writer(follow)
    text = writer.write(value)
    return ConstantText(text, writer.is_whole)
