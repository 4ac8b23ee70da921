"""Names of assets and partitions, and the one injective way from a name to a path segment."""

import re
from functools import lru_cache
from typing import NamedTuple

from io_managers.errors import AssetlineError

__all__ = [
    "AssetPartition",
    "InvalidKeyError",
    "encode_segment",
    "format_asset_partition",
    "require_asset_key",
]

#: The segment of an asset without partitions; `encode_segment` never produces it.
UNPARTITIONED_SEGMENT = "~"

_MAX_SEGMENT_CHARS = 200
_PREFIX_CHARS = 120
_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_ESCAPES = tuple(chr(byte) if byte in _SAFE else f"%{byte:02X}" for byte in range(256))
_SAFE_TEXT = re.compile(r"[A-Za-z0-9_-]{1,200}")
_ASSET_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-]*(/[A-Za-z0-9_][A-Za-z0-9_\-]*)*")


class InvalidKeyError(AssetlineError, ValueError):
    """A key that no asset may have."""


class AssetPartition(NamedTuple):
    """The unit of planning, storing and lineage: an asset's key and a partition key, None without partitions."""

    asset: str
    partition: str | None

    def __str__(self) -> str:
        return format_asset_partition(self.asset, self.partition)


def format_asset_partition(asset: str, partition: str | None) -> str:
    """`raw/flights[2013-01-01]`, or the bare key of an asset without partitions."""
    return asset if partition is None else f"{asset}[{partition}]"


@lru_cache(maxsize=8192)
def encode_segment(text: str | None) -> str:
    r"""Turn any string into one safe path segment, no two strings into the same one.

    Letters, digits, `_` and `-` stay; every other byte of the UTF-8 form becomes `%XX`, so that `.`, `/`,
    `\` and NUL never survive. A form over 200 characters becomes its first 120, `~` and its SHA-256.
    None (no partition) is `~`, the empty string `~0`: neither can come from any other text.
    """
    if text is None:
        return UNPARTITIONED_SEGMENT
    if _SAFE_TEXT.fullmatch(text):
        return text
    if not text:
        return "~0"
    raw = text.encode("utf-8", "surrogatepass")
    encoded = "".join([_ESCAPES[byte] for byte in raw])
    if len(encoded) <= _MAX_SEGMENT_CHARS:
        return encoded
    import hashlib  # long keys are rare, and start-up is not

    return f"{encoded[:_PREFIX_CHARS]}~{hashlib.sha256(raw).hexdigest()}"


def require_asset_key(text: str) -> str:
    """Return a valid asset key, or raise.

    A key is one or more names of letters, digits, `_` and `-` joined by `/`, 200 characters at most.

    Raises:
        InvalidKeyError: The text is not such a key.
    """
    if len(text) <= _MAX_SEGMENT_CHARS and _ASSET_KEY.fullmatch(text):
        return text
    raise InvalidKeyError(
        "asset-key-invalid",
        f"{text[:80]!r} cannot be the key of an asset.",
        why="a key is made of letters, digits, '_' and '-', with '/' between its parts, 200 characters at most.",
        do="choose such a key, for example 'raw/orders'.",
    )
