"""What a format is: values into files and back. Versions, atomicity and branches are the caller's business.

An IO manager is about ten lines:

    class PickleManager:
        name = "pickle"

        def write(self, value, sink):
            with created(sink, "value.pickle") as file:
                pickle.dump(value, file)
            return None

        def read(self, source, as_type, columns):
            with source.open("value.pickle") as file:
                return pickle.load(file)
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

__all__ = ["FileSink", "FileSource", "IOManager", "SupportsConcat", "Written", "created"]


class FileSink(Protocol):
    """The staging area of one attempt. It counts and hashes what passes through it."""

    def create(self, name: str) -> BinaryIO:
        """A new file, `part-0.parquet` say; `close()` completes it, `abort()` (where it exists) discards it."""
        ...


class FileSource(Protocol):
    """The files of one version."""

    @property
    def names(self) -> tuple[str, ...]:
        """The files' names, in the order in which they were written."""
        ...

    def open(self, name: str) -> BinaryIO:
        """A seekable reader of one file."""
        ...

    def local_path(self, name: str) -> Path | None:
        """The file itself when the store is the local disk. Nobody may write to it."""
        ...


@dataclass(frozen=True, slots=True)
class Written:
    """What a manager knows about the value it wrote.

    Attributes:
        rows: Number of rows; None when the value is not a table.
        columns: Column name -> Arrow type as text, in the table's order.
        column_hashes: Column name -> 16 hexadecimal digits, a hash of the column's name, type and cells.
        data_version: 32 hexadecimal digits, equal for equal content; None leaves it to the files' hashes.
    """

    rows: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    column_hashes: Mapping[str, str] = field(default_factory=dict)
    data_version: str | None = None


class IOManager(Protocol):
    """Turns values into files and back."""

    @property
    def name(self) -> str:
        """The name under which it is chosen and recorded: `parquet`."""
        ...

    def write(self, value: Any, sink: FileSink) -> Written | None:
        """Write one value as one or more files.

        Returns:
            What is known about the value, or None: the files' hashes are then its data version.

        Raises:
            FormatError: The value cannot be stored so that it comes back equal.
        """
        ...

    def read(self, source: FileSource, as_type: Any, columns: Sequence[str] | None) -> Any:
        """Read one version as a value of `as_type`; None is the manager's natural type.

        Args:
            source: The version's files.
            as_type: A class or a parametrised type; never a string.
            columns: The columns to read, in this order; None is all of them.

        Raises:
            FormatError: The stored value cannot be given as that type, or a column does not exist.
        """
        ...


@runtime_checkable
class SupportsConcat(Protocol):
    """A manager that can load several versions as one value."""

    def read_many(
        self,
        sources: Sequence[FileSource],
        as_type: Any,
        columns: Sequence[str] | None,
    ) -> Any:
        """Read several versions as one value, in order. No versions give an empty value.

        Raises:
            FormatError: The versions do not fit together, or as `IOManager.read`.
        """
        ...


@contextmanager
def created(sink: FileSink, name: str) -> Iterator[BinaryIO]:
    """A new file of the sink that is completed at the end of the block, and discarded when the block raises."""
    file = sink.create(name)
    try:
        yield file
    except BaseException:
        getattr(file, "abort", file.close)()
        raise
    file.close()
