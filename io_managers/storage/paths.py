"""Which paths a store accepts: the same rules for every store, so that what works on one works on all."""

import re

from io_managers.errors import StorageError

__all__ = ["TEMP_PREFIX", "path_taken", "require_data", "require_folder", "require_path"]

#: Names that begin so are unfinished files of a local store; no path may use them, no listing shows them.
TEMP_PREFIX = ".tmp-"

# The usual path, decided in one match: segments that begin with neither '.' nor anything strange.
_PLAIN = re.compile(r"[A-Za-z0-9_%~=+@,-][A-Za-z0-9_%~=+@,.-]*(?:/[A-Za-z0-9_%~=+@,-][A-Za-z0-9_%~=+@,.-]*)*")
_MAX_PATH_BYTES = 1000


def require_path(path: str) -> str:
    """Return the path of an object, or raise.

    A path is relative, its segments are separated by single `/`, none is `.` or `..` or begins with `.tmp-`,
    and it holds no NUL, backslash, control character or lone surrogate; 1,000 bytes at most.

    Raises:
        StorageError: `path-unsafe`.
    """
    if len(path) <= _MAX_PATH_BYTES and _PLAIN.fullmatch(path):
        return path
    problem = _problem(path)
    if problem:
        raise StorageError(
            "path-unsafe",
            f"the path {path[:120]!r} is not a place in the storage.",
            why=problem,
            do="build paths only from encoded segments (io_managers.keys.encode_segment) joined by '/'.",
        )
    return path


def require_folder(folder: str) -> str:
    """Return a folder's path without a closing `/` (empty: the root), or raise as `require_path` does."""
    folder = folder.removesuffix("/")
    return require_path(folder) if folder else folder


def require_data(data: bytes) -> bytes:
    """Return data that is not empty, or raise.

    An empty object is refused because some clients of object stores create it without the condition.

    Raises:
        ValueError: There are no bytes.
    """
    if not data:
        raise ValueError("an object that is created exclusively must not be empty")
    return data


def path_taken(path: str, why: str) -> StorageError:
    """The error for a streamed object whose path is in use, which a fresh attempt id makes impossible."""
    return StorageError(
        "path-taken",
        f"{path} cannot be written.",
        why=why,
        do="write under a fresh attempt id; if you did, please report this as a bug.",
    )


def _problem(path: str) -> str:
    if not path:
        return "it is empty."
    if path.startswith("/"):
        return "it is absolute; paths are relative to the root."
    if any(ord(character) < 32 or character in "\\\x7f" for character in path):
        return "it holds a backslash or a control character."
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        return "it cannot be written in UTF-8."
    if size > _MAX_PATH_BYTES:
        return f"it takes {size} bytes; {_MAX_PATH_BYTES} are allowed."
    for segment in path.split("/"):
        if segment in {"", ".", ".."}:
            return f"it has a segment {segment!r}."
        if segment.startswith(TEMP_PREFIX):
            return f"names that begin with {TEMP_PREFIX!r} are kept for unfinished files."
    return ""
