"""The source behind each code version, kept in the store so that a later change can be shown as a diff.

ROOT/code/{code_version}.json    created once: normalised source by qualified name
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from assets_core.planning.code_version import covered_sources
from io_managers.keys import encode_segment
from io_managers.storage.base import ObjectExistsError, ObjectMissingError

if TYPE_CHECKING:
    from assets_core.definition.asset import Asset
    from io_managers.storage.base import Storage


def archive_code(storage: Storage, asset: Asset, code_version: str) -> None:
    """Keep what a code version covers, unless it is there already; nothing for code versions given by hand."""
    if asset.function is None or asset.code_version is not None:
        return
    path = _path(code_version)
    if storage.head(path) is not None:
        return
    text = json.dumps({"asset": asset.key, "sources": covered_sources(asset.function)})
    with contextlib.suppress(ObjectExistsError):
        storage.put_new(path, text.encode("utf-8", "backslashreplace"))


def read_archived_code(storage: Storage, code_version: str) -> dict[str, str] | None:
    """Normalised source by qualified name, None when it was not kept."""
    try:
        body = json.loads(storage.get(_path(code_version)))
        return {str(name): str(text) for name, text in body["sources"].items()}
    except (ObjectMissingError, ValueError, KeyError, AttributeError):
        return None


def _path(code_version: str) -> str:
    return f"code/{encode_segment(code_version)}.json"
