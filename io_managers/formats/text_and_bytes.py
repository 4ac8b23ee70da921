"""Text as UTF-8, and bytes as they are."""

from collections.abc import Sequence
from typing import Any

from io_managers.errors import FormatError
from io_managers.formats.frames import type_title
from io_managers.formats.json_values import require_no_columns
from io_managers.formats.protocol import FileSink, FileSource, created

__all__ = ["BytesManager", "TextManager"]

_TEXT_FILE = "value.txt"
_BYTES_FILE = "value.bin"


class TextManager:
    """Stores a `str` in `value.txt`; line ends stay as they are."""

    name = "text"

    def write(self, value: Any, sink: FileSink) -> None:
        """Write one text.

        Raises:
            FormatError: The value is not a `str`, or holds half a surrogate pair.
        """
        if not isinstance(value, str):
            raise wrong_value(value, "str", "text")
        try:
            data = value.encode()
        except UnicodeEncodeError as error:
            raise FormatError(
                "text-not-unicode",
                f"the text cannot be stored as UTF-8: character {error.start} is {value[error.start]!r}.",
                why="it is half of a surrogate pair, mostly from text decoded with errors='surrogateescape'.",
                do="decode the text with its real encoding, or return bytes.",
            ) from error
        with created(sink, _TEXT_FILE) as file:
            file.write(data)

    def read(self, source: FileSource, as_type: Any, columns: Sequence[str] | None) -> str:
        """Read the text.

        Raises:
            FormatError: Anything but `str` is asked for.
        """
        require_no_columns(columns, "text")
        require_type(as_type, str, "text")
        with source.open(_TEXT_FILE) as file:
            return file.read().decode()


class BytesManager:
    """Stores `bytes` in `value.bin`."""

    name = "bytes"

    def write(self, value: Any, sink: FileSink) -> None:
        """Write bytes, a bytearray or a memoryview; all come back as `bytes`.

        Raises:
            FormatError: The value is none of these.
        """
        if not isinstance(value, bytes | bytearray | memoryview):
            raise wrong_value(value, "bytes", "bytes")
        with created(sink, _BYTES_FILE) as file:
            file.write(value)

    def read(self, source: FileSource, as_type: Any, columns: Sequence[str] | None) -> bytes:
        """Read the bytes.

        Raises:
            FormatError: Anything but `bytes` is asked for.
        """
        require_no_columns(columns, "bytes")
        require_type(as_type, bytes, "bytes")
        with source.open(_BYTES_FILE) as file:
            return file.read()


def wrong_value(value: Any, wanted: str, name: str) -> FormatError:
    """The error of a value that a manager does not store."""
    if value is None:
        return FormatError(
            "value-is-none",
            f"the function returned None where {wanted} was expected.",
            do="return the value; check that every path through the function ends in a return.",
        )
    return FormatError(
        "value-wrong-type",
        f"the function returned a {type_title(type(value))} where {wanted} was expected.",
        why=f"the asset is stored with the IO manager '{name}'.",
        do="return what the annotation says, or change the annotation to what the function returns.",
    )


def require_type(as_type: Any, given: type, name: str) -> None:
    """Refuse any annotation but the one type a manager gives.

    Raises:
        FormatError: `type-not-offered`.
    """
    if as_type is not None and as_type is not given:
        raise FormatError(
            "type-not-offered",
            f"a value stored as {name} cannot be loaded as {type_title(as_type)}.",
            why=f"it can be loaded as {type_title(given)}.",
            do=f"annotate the parameter with {type_title(given)}, or dict[str, T] or Iterator[T] of it.",
        )
