"""A store in a folder of the local disk, safe against several writers, killed processes and power loss.

An object is created exclusively by writing a temporary file beside it and giving it its name with a hard
link, which fails when the name is taken. Everything works on plain text paths and tries the usual case
first, because these calls are most of what a step costs.
"""

import builtins
import errno
import itertools
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal, cast

from io_managers.errors import StorageError
from io_managers.storage.base import ObjectExistsError, ObjectInfo, ObjectMissingError
from io_managers.storage.local_errors import local_failure, outcome_unknown
from io_managers.storage.paths import TEMP_PREFIX, path_taken, require_data, require_folder, require_path
from io_managers.storage.streams import ObjectWriter

__all__ = ["Durability", "LocalStorage"]

Durability = Literal["fsync", "os"]

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_CLOEXEC
_WRITE_BUFFER_BYTES = 256 * 1024
_FOLDER_TRIES = 100
_MAX_ANCHORED = 20_000
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EMLINK, errno.EXDEV})
_RENAME_NOREPLACE = 1
_AT_FDCWD = -100


class LocalStorage:
    """Objects are files below `root`, which is created by the first write.

    Args:
        root: The folder; a relative one is taken from the working directory as it is now.
        durability: `fsync`: what a call has written survives power loss once it returns. `os`: it survives
            the death of the process, but not of the machine.

    Attributes:
        on_point: Called with the name of each operation on the file system right before it; None outside
            fault tests.
    """

    def __init__(self, root: Path | str, *, durability: Durability = "fsync") -> None:
        self._root = os.path.abspath(root).rstrip("/")
        self._sync = durability == "fsync"
        self._temp = f"/{TEMP_PREFIX}{os.urandom(6).hex()}-"
        self._numbers = itertools.count()
        # Folders whose own entry is known to be on the disk. Only ever saves work: `_make_folder` takes out
        # what it makes anew, so that a folder deleted behind our back is synced again.
        self._base = self._root
        while self._base and not os.path.isdir(self._base):
            self._base = os.path.dirname(self._base).rstrip("/")
        self._anchored: set[str] = {self._base}
        self.on_point: Callable[[str], None] | None = None

    @property
    def root(self) -> Path:
        """The folder, absolute."""
        return Path(self._root or "/")

    @property
    def durability(self) -> Durability:
        """What survives: `fsync` or `os`."""
        return "fsync" if self._sync else "os"

    @property
    def url(self) -> str:
        """`file://` and the absolute path, taken literally."""
        return f"file://{self._root or '/'}"

    def __repr__(self) -> str:
        return f"LocalStorage({self.url!r}, durability={self.durability!r})"

    def put_new(self, path: str, data: bytes) -> None:
        """Create an object whole, or raise `ObjectExistsError`; of racing callers exactly one succeeds."""
        require_data(data)
        final = f"{self._root}/{require_path(path)}"
        folder = final[: final.rindex("/")]
        temp = self._write_temp(path, folder, data)
        point = self.on_point
        try:
            if point is not None:
                point("link")
            try:
                os.link(temp, final)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                _rename_new(temp, final)
        except FileExistsError:
            raise ObjectExistsError(path) from None
        except OSError as error:
            raise local_failure(error, "write", path, self.url) from error
        finally:
            self._remove_temp(temp)
        if self._sync:
            self._sync_folders(path, folder)

    def put(self, path: str, data: bytes) -> None:
        """Write an object whole, replacing what was there."""
        final = f"{self._root}/{require_path(path)}"
        folder = final[: final.rindex("/")]
        temp = self._write_temp(path, folder, data)
        try:
            if self.on_point is not None:
                self.on_point("rename")
            os.replace(temp, final)
        except OSError as error:
            self._remove_temp(temp)
            raise local_failure(error, "write", path, self.url) from error
        if self._sync:
            self._sync_folders(path, folder)

    def get(self, path: str) -> bytes:
        """Read an object, or raise `ObjectMissingError`."""
        if self.on_point is not None:
            self.on_point("read")
        try:
            handle = os.open(f"{self._root}/{require_path(path)}", _READ)
        except (FileNotFoundError, NotADirectoryError):
            raise ObjectMissingError(path) from None
        except OSError as error:
            raise local_failure(error, "read", path, self.url) from error
        try:
            size = os.fstat(handle).st_size
            data = os.read(handle, size + 1)
            if len(data) == size:
                return data
            parts = [data]
            while part := os.read(handle, 1 << 20):
                parts.append(part)
            return b"".join(parts)
        except IsADirectoryError:
            raise ObjectMissingError(path) from None
        except OSError as error:
            raise local_failure(error, "read", path, self.url) from error
        finally:
            os.close(handle)

    def head(self, path: str) -> ObjectInfo | None:
        """What is at the path, or None."""
        if self.on_point is not None:
            self.on_point("stat")
        try:
            found = os.stat(f"{self._root}/{require_path(path)}")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise local_failure(error, "read", path, self.url) from error
        return ObjectInfo(path, found.st_size, found.st_mtime) if stat.S_ISREG(found.st_mode) else None

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object below a folder, sorted by path; unfinished files are left out."""
        folder = require_folder(prefix)
        return self._walk(f"{folder}/" if folder else "")

    def list_names(self, folder: str) -> builtins.list[str]:
        """Sorted names directly in a folder; unfinished files are left out."""
        folder = require_folder(folder)
        return sorted(entry.name for entry in self._entries(f"{folder}/" if folder else ""))

    def delete(self, path: str) -> None:
        """Remove an object, and the folders that become empty; no error when it is absent."""
        final = f"{self._root}/{require_path(path)}"
        if self.on_point is not None:
            self.on_point("unlink")
        try:
            os.unlink(final)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return
        except OSError as error:
            raise local_failure(error, "delete", path, self.url) from error
        folder = final[: final.rindex("/")]
        while len(folder) > len(self._root):
            try:
                os.rmdir(folder)
            except OSError:  # not empty, usually: then it stays, and so do those above
                return
            self._anchored.discard(folder)
            folder = folder[: folder.rindex("/")]

    def now(self) -> float:
        """The clock that stamps files, which on a network mount is not ours; epoch seconds."""
        temp = self._write_temp("", self._root, b"", sync=False)
        try:
            return os.stat(temp).st_mtime
        finally:
            self._remove_temp(temp)

    def open_write(self, path: str) -> BinaryIO:
        """Stream a new object to its place; it is complete and durable once closed.

        Raises:
            StorageError: `path-taken` when the path is in use already, or what else went wrong.
        """
        final = f"{self._root}/{require_path(path)}"
        try:
            handle = self._create(final, final[: final.rindex("/")])
        except FileExistsError:
            raise path_taken(path, "there is a file already.") from None
        except OSError as error:
            raise local_failure(error, "write", path, self.url) from error
        return cast(BinaryIO, _LocalWriter(self, path, final, handle))

    def open_read(self, path: str) -> BinaryIO:
        """A seekable reader, or `ObjectMissingError`."""
        if self.on_point is not None:
            self.on_point("open-read")
        try:
            return open(f"{self._root}/{require_path(path)}", "rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise ObjectMissingError(path) from None
        except OSError as error:
            raise local_failure(error, "read", path, self.url) from error

    def local_path(self, path: str) -> Path | None:
        """Where the object is, whether it exists or not."""
        return Path(f"{self._root}/{require_path(path)}")

    def delete_abandoned(self, older_than: float) -> int:
        """Remove unfinished files that killed processes left, and say how many.

        Args:
            older_than: Epoch seconds by the store's clock; younger files may still be in use and stay.
        """
        removed = 0
        for folder, _, names in os.walk(self._root):
            for name in names:
                full = f"{folder}/{name}"
                if name.startswith(TEMP_PREFIX) and os.stat(full).st_mtime < older_than:
                    os.unlink(full)
                    removed += 1
        return removed

    def _write_temp(self, path: str, folder: str, data: bytes, *, sync: bool = True) -> str:
        """Write a temporary file into a folder and return its full path; a failure leaves nothing."""
        temp = f"{folder}{self._temp}{os.getpid()}-{next(self._numbers)}"
        try:
            handle = self._create(temp, folder)
        except OSError as error:
            raise local_failure(error, "write", path, self.url) from error
        try:
            try:
                self._write(handle, data)
                if sync and self._sync:
                    self._fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            self._remove_temp(temp)
            raise local_failure(error, "write", path, self.url) from error
        return temp

    def _remove_temp(self, temp: str) -> None:
        if self.on_point is not None:
            self.on_point("unlink")
        try:
            os.unlink(temp)
        except OSError:  # it became the object itself, or it stays: garbage that nobody sees
            return

    def _create(self, full: str, folder: str) -> int:
        """Open a file that must not exist, making its folder when needed."""
        point = self.on_point
        if point is not None:
            point("open")
        try:
            return os.open(full, _CREATE, 0o666)
        except FileNotFoundError:
            pass
        for _ in range(_FOLDER_TRIES):
            self._make_folder(folder)
            if point is not None:
                point("open")
            try:
                return os.open(full, _CREATE, 0o666)
            except FileNotFoundError:  # somebody removed the folder while it was empty
                continue
        raise FileNotFoundError(errno.ENOENT, "the folder is removed again and again", folder)

    def _make_folder(self, folder: str) -> None:
        for _ in range(_FOLDER_TRIES):
            if self.on_point is not None:
                self.on_point("mkdir")
            try:
                os.mkdir(folder)
            except FileExistsError:
                return
            except FileNotFoundError:
                self._make_folder(folder[: folder.rindex("/")])
            else:
                if self._sync:
                    self._anchored.discard(folder)
                return

    def _write(self, handle: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of the data; in fault tests in two halves, so that a kill can leave half a file."""
        if self.on_point is None:
            written = os.write(handle, data)
            if written == len(data):
                return
            view = memoryview(data)[written:]
        else:
            self.on_point("write")
            view = memoryview(data)
            view = view[os.write(handle, view[: len(view) // 2]) :]
            self.on_point("write-rest")
        while view:
            view = view[os.write(handle, view) :]

    def _fsync(self, handle: int) -> None:
        if self.on_point is not None:
            self.on_point("fsync")
        os.fsync(handle)

    def _sync_folders(self, path: str, folder: str) -> None:
        """Bring the new entry in `folder` to the disk, and the entries of the folders above that may be new.

        The data came first, so that the file system's journal has usually taken all of these with it.
        """
        anchored = self._anchored
        try:
            self._fsync_folder(folder)
            while folder and folder not in anchored:
                above = folder[: folder.rindex("/")]
                self._fsync_folder(above or "/")
                if len(anchored) >= _MAX_ANCHORED:
                    self._anchored = anchored = {self._base}
                anchored.add(folder)
                folder = above
        except OSError as error:
            raise outcome_unknown(error, path, self.url) from error

    def _fsync_folder(self, folder: str) -> None:
        if self.on_point is not None:
            self.on_point("fsync-folder")
        handle = os.open(folder, _READ)
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno != errno.EINVAL:  # the file system has no such thing for folders
                raise
        finally:
            os.close(handle)

    def _entries(self, folder: str) -> builtins.list[os.DirEntry[str]]:
        """What is directly in a folder given with its closing `/`, or in the root given empty."""
        if self.on_point is not None:
            self.on_point("list")
        try:
            with os.scandir(f"{self._root}/{folder}") as entries:
                return [entry for entry in entries if not entry.name.startswith(TEMP_PREFIX)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise local_failure(error, "read", folder, self.url) from error

    def _walk(self, folder: str) -> Iterator[ObjectInfo]:
        # A folder sorts as its name with '/', which is how the paths below it compare with its neighbours.
        entries = [
            (f"{entry.name}/" if entry.is_dir() else entry.name, entry) for entry in self._entries(folder)
        ]
        entries.sort(key=lambda pair: pair[0])
        for name, entry in entries:
            if name.endswith("/"):
                yield from self._walk(f"{folder}{name}")
                continue
            try:
                found = entry.stat()
            except FileNotFoundError:  # deleted since
                continue
            if stat.S_ISREG(found.st_mode):
                yield ObjectInfo(f"{folder}{name}", found.st_size, found.st_mtime)


class _LocalWriter(ObjectWriter):
    """Writes a file in its final place."""

    def __init__(self, storage: LocalStorage, path: str, full: str, handle: int) -> None:
        super().__init__(path, buffer_bytes=_WRITE_BUFFER_BYTES)
        self._storage = storage
        self._full = full
        self._handle = handle

    def _emit(self, data: bytes | bytearray | memoryview) -> None:
        try:
            self._storage._write(self._handle, data)
        except OSError as error:
            raise local_failure(error, "write", self.path, self._storage.url) from error

    def _finish(self, rest: bytearray) -> None:
        storage = self._storage
        try:
            if rest:
                storage._write(self._handle, rest)
            if storage._sync:
                storage._fsync(self._handle)
            handle, self._handle = self._handle, -1
            os.close(handle)
        except OSError as error:
            raise local_failure(error, "write", self.path, storage.url) from error
        if storage._sync:
            storage._sync_folders(self.path, self._full[: self._full.rindex("/")])

    def _discard(self) -> None:
        handle, self._handle = self._handle, -1
        if handle >= 0:
            os.close(handle)
        self._storage._remove_temp(self._full)


def _rename_new(temp: str, final: str) -> None:
    """Give a file its name where hard links do not exist, failing when the name is taken.

    Raises:
        StorageError: `exclusive-create-unsupported` when the system cannot do that either.
        OSError: The rename failed.
    """
    import ctypes

    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    number = errno.ENOSYS
    if rename is not None:
        if rename(_AT_FDCWD, os.fsencode(temp), _AT_FDCWD, os.fsencode(final), _RENAME_NOREPLACE) == 0:
            return
        number = ctypes.get_errno()
    if number in _NO_LINKS:
        raise StorageError(
            "exclusive-create-unsupported",
            f"{os.path.dirname(final)} is on a file system that cannot create a file exclusively.",
            why="it has neither hard links nor a rename that refuses to replace: two writers could both win.",
            do="keep the storage on a local disk (ext4, xfs, btrfs, ...), or on an object store.",
        )
    raise OSError(number, os.strerror(number), final)
