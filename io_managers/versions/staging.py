"""Files of one attempt on their way in, and files of one version on their way out."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import BinaryIO

import xxhash

from io_managers.errors import FormatError, StorageError
from io_managers.keys import encode_segment
from io_managers.storage.base import ObjectMissingError, Storage
from io_managers.versions.publication import StoredFile


class HashingWriter:
    """A write-only binary stream that counts and hashes what passes to the stored object.

    Python's and Arrow's writers see an ordinary file object; the file joins its staging area when closed.
    """

    def __init__(self, stream: BinaryIO, path: str, staging: "Staging") -> None:
        self._stream = stream
        self._path = path
        self._staging = staging
        self._hash = xxhash.xxh3_128()
        self._size = 0
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Append bytes."""
        self._hash.update(data)
        self._stream.write(data)
        size = memoryview(data).nbytes
        self._size += size
        return size

    def tell(self) -> int:
        """Bytes written so far."""
        return self._size

    def flush(self) -> None:
        """Nothing: the object becomes whole when closed."""

    def readable(self) -> bool:
        """False."""
        return False

    def writable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """False."""
        return False

    def close(self) -> None:
        """Complete the object, durably."""
        if not self.closed:
            self.closed = True
            self._stream.close()
            self._staging.add(StoredFile(self._path, self._size, self._hash.hexdigest()))

    def abort(self) -> None:
        """Give the object up."""
        if not self.closed:
            self.closed = True
            discard = getattr(self._stream, "abort", self._stream.close)
            discard()

    def __enter__(self) -> "HashingWriter":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


class Staging:
    """The files of one attempt: `ROOT/data/{asset}/{partition}/{attempt}/`, where no reader looks.

    Attributes:
        folder: Path of the attempt's folder below the root.
        files: What has been completed so far, in order of completion.
    """

    def __init__(
        self,
        storage: Storage,
        asset: str,
        partition: str | None,
        attempt_id: str,
        unsettled: Collection[str] = (),
    ) -> None:
        """Prefer `VersionStore.stage`; `unsettled` holds the ids of attempts that may have been published."""
        self._storage = storage
        self._attempt_id = attempt_id
        self._unsettled = unsettled
        self.folder = f"data/{encode_segment(asset)}/{encode_segment(partition)}/{attempt_id}"
        self.files: list[StoredFile] = []
        self._open: list[HashingWriter] = []

    def create(self, name: str) -> BinaryIO:
        """Start a file; it counts once it is closed.

        Raises:
            FormatError: The name is not a plain file name of letters, digits, `_`, `-` and `.`.
        """
        if (
            not name
            or name.startswith(".")
            or not name.replace(".", "").replace("_", "").replace("-", "").isalnum()
        ):
            raise FormatError(
                "file-name-unsafe",
                f"an IO manager asked for a staged file named {name!r}.",
                why="names are made of letters, digits, '_', '-' and '.', and do not begin with '.'.",
                do="choose such a name in the IO manager's write().",
            )
        path = f"{self.folder}/{name}"
        writer = HashingWriter(self._storage.open_write(path), path, self)
        self._open.append(writer)
        return writer  # type: ignore[return-value]  # the part of BinaryIO that writers use

    def add(self, file: StoredFile) -> None:
        """Take up a completed file."""
        self.files.append(file)

    def verify(self) -> None:
        """Compare each file's size as the store has it with what was written.

        Raises:
            StorageError: `staged-incomplete`.
        """
        for writer in self._open:
            writer.close()
        for file in self.files:
            info = self._storage.head(file.path)
            if info is None or info.size_bytes != file.size_bytes:
                found = "it is gone" if info is None else f"{info.size_bytes} bytes were found"
                raise StorageError(
                    "staged-incomplete",
                    f"the staged file {file.path} is not what was written.",
                    why=f"{file.size_bytes} bytes were written and {found}.",
                    do="run the command again; if it happens again, check the store with `assetline doctor`.",
                    retryable=True,
                )

    def discard(self) -> None:
        """Delete every file of the attempt, as far as the store lets us; what remains is garbage no reader sees.

        An attempt of which it is not known whether it was published keeps its files: a record may name them.
        """
        for writer in self._open:
            writer.abort()
        if self._attempt_id in self._unsettled:
            return
        for info in list(self._storage.list(self.folder)):
            self._storage.delete(info.path)

    def source(self) -> "StoredFiles":
        """The completed files, to be read back."""
        return StoredFiles(self._storage, tuple(self.files))

    @property
    def data_version(self) -> str:
        """32 hex digits over names and contents of the files."""
        if len(self.files) == 1:
            return self.files[0].hash
        parts = sorted(f"{file.path.rpartition('/')[2]}:{file.hash}" for file in self.files)
        return xxhash.xxh3_128_hexdigest("\n".join(parts).encode())


class StoredFiles:
    """The files of one version, sizes checked against the record before they are read."""

    def __init__(self, storage: Storage, files: Sequence[StoredFile]) -> None:
        self._storage = storage
        self._files = {file.path.rpartition("/")[2]: file for file in files}

    @property
    def names(self) -> tuple[str, ...]:
        """File names, in the order they were written."""
        return tuple(self._files)

    def open(self, name: str) -> BinaryIO:
        """A seekable reader.

        Raises:
            StorageError: `data-missing` or `data-damaged`.
        """
        file = self._files[name]
        self._require_whole(file)
        try:
            return self._storage.open_read(file.path)
        except ObjectMissingError:
            raise _missing(file) from None

    def local_path(self, name: str) -> Path | None:
        """The file on the local disk, or None for a remote store; raises as `open` does."""
        file = self._files[name]
        path = self._storage.local_path(file.path)
        if path is not None:
            self._require_whole(file)
        return path

    def _require_whole(self, file: StoredFile) -> None:
        info = self._storage.head(file.path)
        if info is None:
            raise _missing(file)
        if info.size_bytes != file.size_bytes:
            raise StorageError(
                "data-damaged",
                f"the data file {file.path} is damaged.",
                why=f"its record says {file.size_bytes} bytes, the store has {info.size_bytes}.",
                do="restore the file from a backup, or materialize the asset partition again with --force.",
            )


def _missing(file: StoredFile) -> StorageError:
    return StorageError(
        "data-missing",
        f"the data file {file.path} is gone.",
        why="its record is in the log, but the file was deleted by something else.",
        do="restore the file from a backup, or materialize the asset partition again with --force.",
    )
