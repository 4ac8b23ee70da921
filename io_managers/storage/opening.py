"""From the text in a configuration to a store."""

import importlib.util
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from io_managers.errors import StorageError
from io_managers.storage.base import Storage
from io_managers.storage.local import Durability, LocalStorage
from io_managers.storage.memory import MemoryStorage

__all__ = ["open_storage"]

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)
_NAMED: dict[str, MemoryStorage] = {}
_NAMED_LOCK = threading.Lock()


def open_storage(
    url: str,
    *,
    options: Mapping[str, Any] | None = None,
    durability: Durability = "fsync",
    root: Path | None = None,
) -> Storage:
    """Open a store; nothing is read or written yet.

    Args:
        url: A folder (`data`, `file://data`, `file:///abs/data`; taken literally, without `%` decoding, with
            `~` for the home), `s3://bucket/prefix`, or `memory://` for a store of one's own that ends with the
            process, shared by all who open it under the same name (`memory://name`).
        options: For `s3://`, as `RemoteStorage` takes them.
        durability: For folders: whether a write survives power loss (`fsync`) or only the process (`os`).
        root: Where relative folders begin; the working directory by default.

    Raises:
        StorageError: The URL, its scheme or an option is not known, or a needed package is missing.
    """
    match = _SCHEME.fullmatch(url)
    scheme, rest = (match["scheme"].lower(), match["rest"]) if match else ("file", url)
    if scheme == "s3":
        return _open_s3(url, options)
    if options:
        raise StorageError(
            "storage-option-unknown",
            f"the storage {url[:200]!r} takes no options.",
            why=f"these are set: {', '.join(sorted(options))}.",
            do="remove them, or use an s3:// URL.",
        )
    if scheme == "file":
        return LocalStorage(_folder(url, rest, root), durability=durability)
    if scheme == "memory":
        if not rest:
            return MemoryStorage()
        with _NAMED_LOCK:
            return _NAMED.setdefault(rest, MemoryStorage(rest))
    raise StorageError(
        "storage-scheme-unknown",
        f"there is no storage of the kind {scheme + '://'!r}.",
        why="the kinds are file:// (or a plain path), s3:// and memory://.",
        do="correct the storage URL; other object stores are reached through their S3 interface.",
    )


def _folder(url: str, rest: str, root: Path | None) -> Path:
    if not rest or "\0" in rest:
        raise StorageError(
            "storage-url-invalid",
            f"the storage URL {url[:200]!r} names no folder.",
            do="name one, for example file://.assetline/storage",
        )
    folder = Path(rest).expanduser()
    return folder if folder.is_absolute() else (root or Path.cwd()) / folder


def _open_s3(url: str, options: Mapping[str, Any] | None) -> Storage:
    if importlib.util.find_spec("s3fs") is None:
        raise StorageError(
            "storage-extra-missing",
            "a storage in a bucket needs the package s3fs.",
            why="it is not installed with assetline's core.",
            do="pip install 'assetline[s3]'",
        )
    from io_managers.storage.remote import RemoteStorage

    return RemoteStorage(url, options)
