"""Fingerprints: what a step depends on as 8-byte hashes, and the arithmetic on them.

The fingerprint of a set of (position, hash) pairs is the wrapping sum of `mix(position, hash)` with the number of
pairs mixed in at the end. A sum does not depend on order, and the sum over a span is the difference of two prefix
sums, so that every window of a million partitions costs two look-ups. `mix` makes the sum sensitive: pairs that
swap their hashes, or hashes that change by opposite amounts, do not cancel. It is not meant to resist an attacker.

Arrays are uint64; scalars are Python integers from 0 to 2**64 - 1. Text is 16 lower-case hex digits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from assets_core.errors import ConfigError
from assets_core.planning.code_version import (
    CodeVersion,
    Covered,
    code_version,
    covered_sources,
    explain_code_change,
    normalised_source,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    U64 = npt.NDArray[np.uint64]
    I64 = npt.NDArray[np.int64]

__all__ = [
    "CodeVersion",
    "Covered",
    "code_version",
    "config_version",
    "covered_sources",
    "explain_code_change",
    "finish_fingerprint",
    "finish_fingerprints",
    "fingerprint_of",
    "format_hash",
    "mix",
    "mix_one",
    "name_hash",
    "normalised_source",
    "parse_hash",
]

_MASK = 0xFFFF_FFFF_FFFF_FFFF
# Odd numbers with mixed bits; the shifts and the two multipliers of the finaliser are those of splitmix64.
_STEP = 0x9E37_79B9_7F4A_7C15
_FIRST = 0xBF58_476D_1CE4_E5B9
_SECOND = 0x94D0_49BB_1331_11EB


def mix(positions: I64 | U64 | int, hashes: U64) -> U64:
    """Hash pairs of position and hash, element by element.

    Args:
        positions: Shape (n,), or one integer for all; negative ones count modulo 2**64.
        hashes: Shape (n,).

    Returns:
        Shape (n,), equal to `mix_one` of each pair.
    """
    if isinstance(positions, int):
        at = np.uint64(_finish(positions * _STEP + _STEP))
        mixed = hashes ^ at
    else:
        mixed = _finish_array(positions.astype(np.uint64) * np.uint64(_STEP) + np.uint64(_STEP))
        mixed ^= hashes
    return _finish_array(mixed * np.uint64(_FIRST) + np.uint64(_STEP))


def mix_one(position: int, value: int) -> int:
    """Hash one pair; equal to the element of `mix`."""
    return _finish((_finish(position * _STEP + _STEP) ^ value) * _FIRST + _STEP)


def _finish(value: int) -> int:
    value &= _MASK
    value = (value ^ (value >> 30)) * _FIRST & _MASK
    value = (value ^ (value >> 27)) * _SECOND & _MASK
    return value ^ (value >> 31)


def _finish_array(value: U64) -> U64:
    value = (value ^ (value >> np.uint64(30))) * np.uint64(_FIRST)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(_SECOND)
    return value ^ (value >> np.uint64(31))


def finish_fingerprint(total: int, count: int) -> int:
    """The fingerprint of `count` pairs whose mixed hashes sum to `total`; never 0, which stands for no fingerprint."""
    return mix_one(count, total & _MASK) or 1


def finish_fingerprints(totals: U64, counts: U64) -> U64:
    """`finish_fingerprint` element by element."""
    found = mix(counts, totals)
    found[found == 0] = 1
    return found


def fingerprint_of(pairs: Mapping[int, int]) -> int:
    """The fingerprint of a set of pairs, hash by position, one by one."""
    return finish_fingerprint(sum(mix_one(position, value) for position, value in pairs.items()), len(pairs))


def format_hash(value: int) -> str:
    """16 hex digits of an 8-byte hash."""
    return f"{int(value):016x}"


def parse_hash(text: str) -> int:
    """The 8-byte hash of 16 hex digits, or of the first 16 of a longer text.

    Raises:
        ValueError: The text is shorter, or not hexadecimal.
    """
    if len(text) < 16:
        raise ValueError(f"{text!r} is not a hash of 16 hex digits")
    return int(text[:16], 16)


@lru_cache(maxsize=65536)
def name_hash(name: str) -> int:
    """An 8-byte hash of a name: of a column, of a parameter."""
    return int.from_bytes(
        hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big"
    )


def config_version(value: Any) -> str:
    """16 hex digits of a run configuration, the same for equal values whatever the order of their keys.

    Args:
        value: A pydantic model, a mapping of plain values, or None.

    Raises:
        ConfigError: `config-not-plain` when a value has no JSON form.
    """
    plain = value.model_dump(mode="json") if hasattr(value, "model_dump") else value
    try:
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"), default=_plain)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            "config-not-plain",
            f"a configuration of type {type(value).__name__} cannot be written as JSON.",
            why=f"{error}.",
            do="use numbers, texts, lists and mappings, or a pydantic model.",
        ) from error
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if type(value).__module__ in ("pathlib", "decimal", "uuid", "zoneinfo"):
        return str(value)
    raise TypeError(f"{value!r} has no JSON form")
