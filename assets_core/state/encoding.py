"""How the database holds keys and hashes: partition keys as text, hashes as signed numbers and bytes."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import string
from collections.abc import Iterable
from functools import lru_cache

_HEX_DIGITS = frozenset(string.hexdigits)
_SIGN = 1 << 63
_WHOLE = 1 << 64


def encode_partition(partition: str | None) -> str:
    """Text that every database can store, for any string and for None; no two keys give the same."""
    if partition is None:
        return ""
    if partition.isascii() and "\0" not in partition:
        return "=" + partition
    return _encode_odd_partition(partition)


def _encode_odd_partition(partition: str) -> str:
    try:
        partition.encode()
    except UnicodeEncodeError:
        return "j" + json.dumps(partition)
    return "j" + json.dumps(partition) if "\0" in partition else "=" + partition


def decode_partition(text: str) -> str | None:
    """The inverse of `encode_partition`; ValueError for a text it never gives."""
    if text == "":
        return None
    if text[0] == "=":
        return text[1:]
    if text[0] == "j":
        decoded = json.loads(text[1:])
        if isinstance(decoded, str):
            return decoded
    raise ValueError(f"{text[:40]!r} is not a stored partition key")


def clean_text(text: str) -> str:
    """A text for people in what every database can store: what cannot be becomes an escape."""
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    return text.replace("\0", "\\0")


@lru_cache(maxsize=4096)
def hash_number(text: str) -> int:
    """A version or fingerprint as an unsigned 64-bit number: its first 16 hex digits.

    "" is 0; a text that is not hexadecimal, such as a version given by hand, counts by its own hash.
    """
    start = text[:16]
    if not _HEX_DIGITS.issuperset(start):
        return int.from_bytes(
            hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big"
        )
    return int(start, 16) if start else 0


@lru_cache(maxsize=4096)
def signed_hash(text: str) -> int:
    """`hash_number` as the signed number the database stores."""
    return to_signed(hash_number(text))


def to_signed(number: int) -> int:
    """The signed 64-bit number with the same bits."""
    return number - _WHOLE if number >= _SIGN else number


def to_unsigned(number: int) -> int:
    """The unsigned 64-bit number with the same bits."""
    return number + _WHOLE if number < 0 else number


def pack_hashes(texts: Iterable[str], count: int) -> bytes:
    """Hashes of 16 hex digits as 8 bytes each, big end first."""
    try:
        packed = bytes.fromhex("".join(texts))
    except ValueError:
        packed = b""
    if len(packed) == 8 * count:
        return packed
    return b"".join([hash_number(text).to_bytes(8, "big") for text in texts])


def digest_bytes(text: str, size: int) -> bytes:
    """A hexadecimal digest as `size` bytes, "" as none; another text by its own hash."""
    try:
        packed = bytes.fromhex(text)
    except ValueError:
        packed = b"?"
    if len(packed) == size or not text:
        return packed
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).digest()


def epoch_seconds(text: str) -> float:
    """Epoch seconds of an ISO 8601 text; one without an offset is taken as UTC."""
    moment = dt.datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()
