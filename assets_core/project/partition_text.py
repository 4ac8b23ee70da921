"""The characters of a selection of partitions: which of them a backslash has made part of a key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

__all__ = ["Char", "read_chars", "split", "strip", "text_of"]


class Char(NamedTuple):
    """One character; `is_literal` when a backslash stood before it."""

    char: str
    is_literal: bool


def read_chars(text: str) -> Iterator[Char]:
    """The characters of a text, without the backslashes that only say how the next one is meant."""
    chars = iter(text)
    for char in chars:
        if char == "\\":
            yield Char(next(chars, "\\"), is_literal=True)
        else:
            yield Char(char, is_literal=False)


def split(chars: Iterable[Char], separator: str) -> Iterator[list[Char]]:
    """The parts between separators that are not meant literally."""
    part: list[Char] = []
    for char in chars:
        if char == (separator, False):
            yield part
            part = []
        else:
            part.append(char)
    yield part


def strip(item: list[Char]) -> list[Char]:
    """Without the blanks around it that are not meant literally."""
    first, last = 0, len(item)
    while first < last and not item[first].is_literal and item[first].char.isspace():
        first += 1
    while first < last and not item[last - 1].is_literal and item[last - 1].char.isspace():
        last -= 1
    return item[first:last]


def text_of(item: Iterable[Char]) -> str:
    """The characters as a text."""
    return "".join(char.char for char in item)
