"""A file that the function wrote, stored as it is."""

import atexit
import re
import shutil
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from io_managers.errors import FormatError
from io_managers.formats.json_values import require_no_columns
from io_managers.formats.protocol import FileSink, FileSource, created
from io_managers.formats.text_and_bytes import require_type, wrong_value

__all__ = ["FileManager"]

_COPY_BYTES = 1 << 20
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_MAX_NAME_CHARS = 120


class FileManager:
    """Stores the file at a `Path`, under its own name made safe for every store."""

    name = "file"

    def write(self, value: Any, sink: FileSink) -> None:
        """Copy the file. It may be deleted afterwards.

        Raises:
            FormatError: The value is not a `Path`, or there is no regular file at it.
        """
        if not isinstance(value, Path):
            raise wrong_value(value, "pathlib.Path", "file")
        if not value.is_file():
            found = "it is a folder" if value.is_dir() else "no file is there"
            raise FormatError(
                "file-not-found",
                f"the function returned the path {str(value)!r}, but {found}.",
                do="return the path of one file; pack a folder with shutil.make_archive.",
            )
        with value.open("rb") as taken, created(sink, safe_name(value.name)) as file:
            shutil.copyfileobj(taken, file, _COPY_BYTES)

    def read(self, source: FileSource, as_type: Any, columns: Sequence[str] | None) -> Path:
        """The path of the stored file: the file itself in a local store, else a copy until the process ends.

        The file is a published version: read it, never write to it.

        Raises:
            FormatError: Anything but `pathlib.Path` is asked for, or the version is not one file.
        """
        require_no_columns(columns, "file")
        require_type(as_type, Path, "file")
        if len(source.names) != 1:
            raise FormatError(
                "not-one-file",
                f"the stored version has {len(source.names)} files, and one was expected.",
                why=f"its files are: {', '.join(source.names) or 'none'}.",
                do="load it with the IO manager that wrote it.",
            )
        name = source.names[0]
        local = source.local_path(name)
        if local is not None:
            return local
        copy = Path(tempfile.mkdtemp(dir=_download_folder())) / name
        with source.open(name) as taken, copy.open("wb") as file:
            shutil.copyfileobj(taken, file, _COPY_BYTES)
        return copy


def safe_name(name: str) -> str:
    """A file name of letters, digits, `.`, `_` and `-` with the same ending, 120 characters at most."""
    safe = _UNSAFE.sub("_", name)[-_MAX_NAME_CHARS:]
    return f"_{safe[1:]}" if safe.startswith(".") else safe


@lru_cache(maxsize=1)
def _download_folder() -> str:
    """A folder of this process that is removed when it ends."""
    folder = tempfile.mkdtemp(prefix="assetline-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
