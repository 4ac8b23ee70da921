"""Selections of partitions by several dimensions: `day=2013-01-01..2013-01-31|region=EWR,JFK`.

An item names dimensions with `|` between them and picks every combination; a dimension that it leaves out means all
of it. What follows a comma belongs to the dimension before it, unless it names a dimension itself: then the next item
begins. Without a name, dates and `latest` are meant for the one dimension of time, `all`, `missing`, `stale` and
`failed` for whole partitions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from pyroaring import BitMap

from assets_core.definition.partitions.base import SELECTION_WORDS, PartitionsDefinition, PartitionSet
from assets_core.definition.partitions.multi import MultiPartitions
from assets_core.errors import NotFoundError, SelectionError
from assets_core.project.partition_text import Char, read_chars, split, strip, text_of
from io_managers.nearest import nearest_names

if TYPE_CHECKING:
    from typing import Never

__all__ = ["is_key", "parse_boxes"]

_STATE_WORDS = ("missing", "stale", "failed")
_WORDS_OF_WHOLE = ("all", *_STATE_WORDS)

#: Reads one item of one definition.
ParseItem = Callable[[list[Char], PartitionsDefinition], PartitionSet]


class _Box(NamedTuple):
    """What an item picks of each dimension that it names."""

    text: str
    picked: dict[str, BitMap]


def is_key(text: str, definition: MultiPartitions) -> bool:
    """Whether a text as a whole is the key of a partition, and no part of it a word of selections."""
    try:
        parts = definition.parts(text)
        definition.ordinal(text)
    except NotFoundError:
        return False
    return not any(part in SELECTION_WORDS or part.startswith("latest:") for part in parts.values())


def parse_boxes(text: str, definition: MultiPartitions, parse_item: ParseItem) -> PartitionSet:
    """The partitions that a text picks.

    Raises:
        SelectionError: `partitions-invalid`, `partitions-outside`, and what `parse_item` raises.
    """
    bits = BitMap()
    boxes: list[_Box] = []
    reading: str | None = None  # the dimension that a comma goes on with
    for piece in filter(None, map(strip, split(read_chars(text), ","))):
        parts = [_split_name(part) for part in split(piece, "|")]
        plain = text_of(piece)
        if parts[0][0] is None and len(parts) == 1 and (reading is None or plain in _STATE_WORDS):
            bits |= _parse_whole(piece, definition, parse_item).bits
            continue
        if parts[0][0] is not None:
            boxes.append(_Box(plain, {}))
        elif reading is None:
            _raise_unnamed(text_of(parts[0][1]), definition)
        for at, (name, chosen) in enumerate(parts):
            if name is not None:
                reading = _require_dimension(name, definition)
                if reading in boxes[-1].picked:
                    _raise_twice(name, plain)
            elif at or reading is None:
                _raise_unnamed(text_of(chosen), definition)
            picked = boxes[-1].picked
            picked[reading] = picked.get(reading, BitMap()) | _pick(chosen, reading, definition, parse_item)
    for box in boxes:
        bits |= _combine(box, definition)
    return PartitionSet(definition, bits)


def _split_name(part: list[Char]) -> tuple[str | None, list[Char]]:
    """The name before the first `=` that is not meant literally, None without one, and the rest."""
    for at, char in enumerate(part):
        if char == ("=", False):
            return text_of(strip(part[:at])), strip(part[at + 1 :])
    return None, strip(part)


def _parse_whole(piece: list[Char], definition: MultiPartitions, parse_item: ParseItem) -> PartitionSet:
    """An item that names no dimension."""
    text = text_of(piece)
    if text in _WORDS_OF_WHOLE and not any(char.is_literal for char in piece):
        return parse_item(piece, definition)
    name = definition.time_dimension
    if name is None:
        _raise_unnamed(text, definition)
    picked = parse_item(piece, definition.dimension(name)).bits
    return PartitionSet(definition, _combine(_Box(text, {name: picked}), definition))


def _pick(chosen: list[Char], name: str, definition: MultiPartitions, parse_item: ParseItem) -> BitMap:
    text = text_of(chosen)
    if not chosen:
        raise SelectionError(
            "partitions-invalid",
            f"nothing is picked of the dimension {name!r}.",
            why=f"{definition.dimension(name).bounds()}.",
            do=f"write keys after '{name}=', or leave the dimension out to pick all of it.",
        )
    if text in _STATE_WORDS and not any(char.is_literal for char in chosen):
        raise SelectionError(
            "partitions-unresolved",
            f"{text!r} cannot be used for the dimension {name!r}.",
            why="whole partitions are missing, stale or failed, not keys of one dimension.",
            do=f"write {text!r} by itself, or name keys.",
        )
    return parse_item(chosen, definition.dimension(name)).bits


def _combine(box: _Box, definition: MultiPartitions) -> BitMap:
    """Ordinals of every combination."""
    import numpy as np

    ordinals = np.zeros(1, np.int64)
    for name, item in definition.dimensions.items():
        bits = box.picked.get(name)
        chosen = np.arange(len(item)) if bits is None else PartitionSet(item, bits).to_array()
        ordinals = np.add.outer(ordinals * len(item), chosen).ravel()
    if not len(ordinals):
        raise SelectionError(
            "partitions-outside",
            f"{box.text!r} picks no partition of the definition.",
            why=f"{definition.bounds()}.",
            do="choose keys of the definition.",
        )
    return BitMap(ordinals.astype(np.uint32))


def _require_dimension(name: str, definition: MultiPartitions) -> str:
    if name in definition.dimensions:
        return name
    near = nearest_names(name, list(definition.dimensions), n=1)
    raise SelectionError(
        "partitions-invalid",
        f"there is no dimension {name!r}.",
        why=f"the dimensions are {', '.join(definition.dimensions)}{'; nearest: ' + repr(near[0]) if near else ''}.",
        do="name one of them; a backslash before '=' makes it part of a key.",
    )


def _raise_twice(name: str, text: str) -> Never:
    raise SelectionError(
        "partitions-invalid",
        f"{text!r} names the dimension {name!r} twice.",
        why="an item picks the combinations of what it says of each dimension.",
        do=f"write several keys with commas, {name}=KEY,KEY.",
    )


def _raise_unnamed(text: str, definition: MultiPartitions) -> Never:
    shape = "|".join(f"{name}=..." for name in definition.dimensions)
    raise SelectionError(
        "partitions-invalid",
        f"{text!r} does not say of which dimension it picks.",
        why=f"{definition.bounds()}.",
        do=f"write {shape!r}, leaving out the dimensions that are meant as a whole.",
    )
