"""Keeping two copies of the SQLite library off one file of this process.

Python's sqlite3 and the Arrow driver each bring their own copy of SQLite. POSIX drops every lock that a process
holds on a file as soon as the process closes any descriptor of it; one copy of the library knows how to work
around that for its own connections, but not for the other's. So within a process only one copy may have a database
open at a time: connections are opened under the lock of their file, and who reads with the other copy holds that
lock, has closed its own connection, and finds no descriptor of the file left open by anybody else.

The processes among themselves need none of this: between them the locks are what they should be.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

_LOCKS: dict[str, threading.Lock] = {}

if hasattr(os, "register_at_fork"):
    # a child has no thread that would ever release what another thread held at the fork
    os.register_at_fork(after_in_child=_LOCKS.clear)


def lock_of(path: Path) -> threading.Lock:
    """The lock of this process for opening a database file."""
    return _LOCKS.setdefault(os.path.realpath(path), threading.Lock())


def identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one put in its place, None when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def is_open_here(path: Path) -> bool:
    """Whether this process has a descriptor of a database or of the files beside it; True when it cannot be told."""
    if os.name == "nt":  # there a lock belongs to a handle, not to the process
        return False
    names = (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm"))
    files = {identity(name) for name in names} - {None}
    try:
        descriptors = [int(name) for name in os.listdir("/dev/fd")]  # noqa: PTH208 - numbers, not paths
    except (OSError, ValueError):
        return True
    for descriptor in descriptors:
        with suppress(OSError):  # the one that listed the folder
            found = os.fstat(descriptor)
            if (found.st_dev, found.st_ino) in files:
                return True
    return False
