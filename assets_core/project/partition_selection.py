r"""Texts that pick partitions of one asset, as `--partitions` takes them.

    2013-01-31                   every window that overlaps that day of the definition's zone, whatever the grain
    2013-01                      that month
    2013-11-03T01:00-0400        the window at that time; without offset: at the time the zone's clock shows
    2013-01-01..2013-01-31       from the first to the last, both ends in
    latest, latest:7             the last window, the last seven
    all, missing, stale, failed
    EWR, EWR..LGA                static keys, and ranges in the definition's order
    2013-01-01,2013-02,latest    any of them together
    day=2013-01|region=EWR,JFK   of several dimensions every combination; one that is left out means all of it

What lies partly outside the definition picks the part inside. A text that as a whole, or between two commas, is a
static key means that key, except for the words above. Anything else in a key is written with a backslash, which takes
the next character as it is: `\all` is the key `all`, `a\,b` the key `a,b`, `a\..b` the key `a..b`. For partitions by
several dimensions `partition_boxes` says more.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

from pyroaring import BitMap

from assets_core.definition.partitions.base import (
    SELECTION_WORDS,
    UNPARTITIONED,
    PartitionsDefinition,
    PartitionSet,
)
from assets_core.definition.partitions.multi import MultiPartitions
from assets_core.definition.partitions.static import ListedPartitions
from assets_core.definition.partitions.windows import TimePartitions
from assets_core.definition.partitions.zone import floor_instant, wall_of
from assets_core.errors import NotFoundError, SelectionError
from assets_core.project.partition_boxes import is_key, parse_boxes
from assets_core.project.partition_text import Char, read_chars, split, strip, text_of
from io_managers.nearest import nearest_names

if TYPE_CHECKING:
    from typing import Never

StateWord = Literal["missing", "stale", "failed"]
Resolve = Callable[[StateWord], PartitionSet]

_STATE_WORDS: dict[str, StateWord] = {"missing": "missing", "stale": "stale", "failed": "failed"}
_LATEST = re.compile(r"latest(?::(.*))?", re.DOTALL)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}.*")


class _Span(NamedTuple):
    """Half-open instants; empty for a time that the zone's clock never showed."""

    start: int
    end: int


def parse_partitions(text: str, definition: PartitionsDefinition, resolve: Resolve | None) -> PartitionSet:
    """The partitions that a text picks; the module's docstring says how it is written.

    Args:
        text: One item or several with commas between.
        definition: The partitions to pick from; an open definition as of some instant.
        resolve: Gives the partitions that are missing, stale or failed; None where these words cannot be answered.

    Raises:
        SelectionError: `partitions-invalid`: an item is no date, range, key or word. `partitions-backwards`: a range
            ends before it begins. `partitions-outside`: an item picks nothing of the definition.
            `partitions-none`: the asset has no partitions. `partitions-unresolved`: `resolve` is None.
    """
    if _is_plain_key(text, definition):
        return definition.subset([text])
    try:
        items = [item for item in map(strip, split(read_chars(text), ",")) if item]
        if not items:
            raise SelectionError(
                "partitions-invalid",
                f"the selection of partitions {text!r} is empty.",
                why=f"{definition.bounds()}.",
                do=f"write keys, ranges, or one of {', '.join(SELECTION_WORDS)}.",
            )
        if isinstance(definition, MultiPartitions):
            return parse_boxes(text, definition, partial(_parse_item, resolve=resolve))
        bits = BitMap()
        for item in items:
            bits |= _parse_item(item, definition, resolve).bits
        return PartitionSet(definition, bits)
    except SelectionError:
        if isinstance(definition, ListedPartitions) and definition.has_key(text):
            return definition.subset([text])  # a key with a backslash, as it stands
        raise


def _parse_item(item: list[Char], definition: PartitionsDefinition, resolve: Resolve | None) -> PartitionSet:
    text = text_of(item)
    if not any(char.is_literal for char in item):
        word = _parse_word(text, definition, resolve)
        if word is not None:
            return word
        if _is_plain_key(text, definition):
            return definition.subset([text])
    if definition == UNPARTITIONED:
        raise SelectionError(
            "partitions-none",
            f"{text!r} picks partitions of an asset that has none.",
            why="the asset is a single piece of data.",
            do="leave --partitions out, or select only assets that have partitions.",
        )
    if isinstance(definition, TimePartitions):
        return _ordinals(definition, *_parse_times(text, definition))
    return _ordinals(definition, *_parse_keys(item, definition))


def _ordinals(definition: PartitionsDefinition, first: int, last: int) -> PartitionSet:
    return PartitionSet(definition, BitMap(range(first, last)))


# -- words -----------------------------------------------------------------------------------------------


def _parse_word(text: str, definition: PartitionsDefinition, resolve: Resolve | None) -> PartitionSet | None:
    """What a word means, None if the text is none."""
    if text == "all":
        return definition.all()
    state = _STATE_WORDS.get(text)
    if state is not None:
        if resolve is None:
            raise SelectionError(
                "partitions-unresolved",
                f"{text!r} cannot be used here.",
                why="it depends on what has been materialized, which is not looked at.",
                do="name dates, keys, 'latest' or 'all'.",
            )
        return resolve(state)
    latest = _LATEST.fullmatch(text)
    if latest is None:
        return None
    number = "1" if latest[1] is None else latest[1]
    if not (number.isascii() and number.isdigit() and int(number) >= 1):
        raise SelectionError(
            "partitions-invalid",
            f"{text!r} does not say how many partitions.",
            why=f"{number!r} is not a whole number of at least 1.",
            do="write for instance 'latest:7'.",
        )
    n = len(definition)
    if n == 0:
        _raise_outside(text, definition)
    return _ordinals(definition, max(n - int(number), 0), n)


# -- times -----------------------------------------------------------------------------------------------


def _parse_times(text: str, definition: TimePartitions) -> tuple[int, int]:
    """Half-open ordinals of the windows that overlap a date, a time, or a range of them."""
    first, dots, last = (part.strip() for part in text.partition(".."))
    begin = _parse_span(first, text, definition)
    end = _parse_span(last, text, definition) if dots else begin
    if end.start < begin.start:
        _raise_backwards(text, f"{last}..{first}", f"{last} is earlier than {first}")
    if begin.start >= end.end:
        raise SelectionError(
            "partitions-outside",
            f"{text!r} picks nothing.",
            why=f"the clock of {definition.timezone} never showed it: it was set forward over it.",
            do="choose the time before or after it.",
        )
    found = definition.overlapping_instants(begin.start, end.end)
    if not found:
        _raise_outside(text, definition)
    return found.start, found.stop


def _parse_span(part: str, text: str, definition: TimePartitions) -> _Span:
    try:
        if not "0002" <= part[:4] <= "9998" and part[:4].isdigit():
            raise ValueError("only the years 2 to 9998 can be used")
        if _DAY.fullmatch(part):
            day = dt.date.fromisoformat(part)
            return _days(definition, day, day + dt.timedelta(days=1))
        if _MONTH.fullmatch(part):
            month = dt.date.fromisoformat(f"{part}-01")
            return _days(definition, month, (month + dt.timedelta(days=31)).replace(day=1))
        if _TIME.fullmatch(part):
            return _moment(definition, dt.datetime.fromisoformat(part))
    except (ValueError, OverflowError) as error:
        raise _not_understood(part, text, definition, f"{error}.") from None
    raise _not_understood(part, text, definition, f"{definition.bounds()}.")


def _days(definition: TimePartitions, first: dt.date, last: dt.date) -> _Span:
    first_instant = definition.local.first_instant
    return _Span(first_instant(wall_of(first)), first_instant(wall_of(last)))


def _moment(definition: TimePartitions, moment: dt.datetime) -> _Span:
    """One instant, or what lies between the two at which the clock shows a time after it was set back."""
    if moment.tzinfo is not None:
        instant = floor_instant(moment)
        return _Span(instant, instant + 1)
    first, last = (
        definition.local.first_instant(wall_of(moment)),
        definition.local.last_instant(wall_of(moment)),
    )
    return _Span(first, first if last is None else last + 1)


def _not_understood(part: str, text: str, definition: PartitionsDefinition, why: str) -> SelectionError:
    near = nearest_names(part, SELECTION_WORDS, n=1)
    where = "" if part == text else f" of {text!r}"
    return SelectionError(
        "partitions-invalid",
        f"{part!r}{where} is neither a date nor a word that picks partitions.",
        why=f"nearest: {near[0]!r}; {why}" if near else why,
        do="write dates like 2013-01-31, 2013-01 or 2013-01-31T06:00, ranges like 2013-01-01..2013-01-31, or one of "
        f"{', '.join(SELECTION_WORDS)}.",
    )


# -- keys ------------------------------------------------------------------------------------------------


def _parse_keys(item: list[Char], definition: PartitionsDefinition) -> tuple[int, int]:
    """Half-open ordinals of a key, or of a range of keys in the definition's order."""
    whole = _find(text_of(item), definition)
    is_escaped = any(char.is_literal for char in item)
    if whole is not None and not is_escaped:
        return whole, whole + 1
    ends = None
    for at in _find_dots(item):
        parts = text_of(strip(item[:at])), text_of(strip(item[at + 2 :]))
        first, last = (_find(part, definition) for part in parts)
        if first is not None and last is not None:
            if last < first:
                _raise_backwards(
                    text_of(item), f"{parts[1]}..{parts[0]}", f"{parts[1]!r} stands before {parts[0]!r}"
                )
            return first, last + 1
        ends = ends or (parts[0] if first is None else parts[1])
    if whole is not None:  # with escapes a `..` without one makes a range first
        return whole, whole + 1
    unknown = text_of(item) if ends is None else ends
    try:
        definition.ordinal(unknown)
    except NotFoundError as error:
        nearest = nearest_names(unknown, SELECTION_WORDS, n=1)
        word = f" Or the word {nearest[0]!r}?" if nearest else ""
        raise SelectionError(
            "partitions-outside",
            error.what,
            why=error.why + word,
            do="choose keys of the definition; a backslash before ',' or '..' makes it part of a key.",
        ) from None
    raise AssertionError("a key was not found, and found")  # pragma: no cover


def _find(key: str, definition: PartitionsDefinition) -> int | None:
    try:
        return definition.ordinal(key)
    except NotFoundError:
        return None


def _is_plain_key(text: str, definition: PartitionsDefinition) -> bool:
    if isinstance(definition, MultiPartitions):
        return is_key(text, definition)
    return (
        isinstance(definition, ListedPartitions)
        and "\\" not in text
        and text not in SELECTION_WORDS
        and not _LATEST.fullmatch(text)
        and definition.has_key(text)
    )


def _find_dots(item: list[Char]) -> Iterator[int]:
    dot = Char(".", is_literal=False)
    return (at for at in range(len(item) - 1) if item[at] == dot == item[at + 1])


def _raise_backwards(text: str, turned: str, why: str) -> Never:
    raise SelectionError(
        "partitions-backwards",
        f"the range {text!r} ends before it begins.",
        why=f"{why}.",
        do=f"turn it around: {turned}",
    )


def _raise_outside(text: str, definition: PartitionsDefinition) -> Never:
    raise SelectionError(
        "partitions-outside",
        f"{text!r} picks no partition of the definition.",
        why=f"{definition.bounds()}.",
        do="choose a range that meets the definition's.",
    )
