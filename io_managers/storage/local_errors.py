"""What an error number of the file system means to the person who meets it."""

import errno
from typing import Literal

from io_managers.errors import StorageError

__all__ = ["local_failure", "outcome_unknown"]

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_DENIED = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EEXIST}
)
_HANDLES = frozenset({errno.EMFILE, errno.ENFILE})
_PASSING = frozenset({errno.EAGAIN, errno.EBUSY, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT, errno.ENOENT})


def local_failure(
    error: OSError, action: Literal["read", "write", "delete"], path: str, url: str
) -> StorageError:
    """The error for a failed call on a file; of a failed write nothing was left."""
    what = f"could not {action} {path or 'a file'} in {url}."
    why = f"{error.strerror or error} ({errno.errorcode.get(error.errno or 0, '?')})"
    if error.filename:
        why += f" at {error.filename}"
    why += "."
    number = error.errno or 0
    if number in _FULL:
        do = "free space on that disk or raise the quota, then run again."
        return StorageError("storage-full", what, why=why, do=do)
    if number == errno.EFBIG:
        do = "raise the limit on file sizes (`ulimit -f`), or use a larger file system."
        return StorageError("file-too-large", what, why=why, do=do)
    if number in _HANDLES:
        do = "raise the limit on open files (`ulimit -n`), or run with fewer workers."
        return StorageError("too-many-open-files", what, why=why, do=do, retryable=True)
    if number == errno.ENAMETOOLONG:
        return StorageError("path-too-long", what, why=why, do="use a root with a shorter path.")
    if number in _DENIED:
        verb = "read" if action == "read" else "write"
        code = "storage-not-readable" if action == "read" else "storage-not-writable"
        do = f"let this user {verb} there, or choose another storage in the configuration."
        return StorageError(code, what, why=why, do=do)
    return StorageError(
        "storage-io-error",
        what,
        why=why,
        do="look at the disk and the system's log, then run again.",
        retryable=number in _PASSING,
    )


def outcome_unknown(error: OSError, path: str, url: str) -> StorageError:
    """The error for a file that has its name, but may not survive a power loss."""
    return StorageError(
        "outcome-unknown",
        f"could not learn whether {path} is safely on the disk of {url}.",
        why=f"the file was written, but bringing its folder to the disk failed: {error.strerror or error}.",
        do="look at the disk and the system's log, then run again.",
        left="the complete file.",
        retryable=True,
    )
