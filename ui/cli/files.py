"""Writes a loaded value to a file the user named, whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ui.cli.failures import CommandError

_SUFFIXES = (".csv", ".parquet", ".json", ".txt")


def require_writable(out: Path) -> None:
    """Refuse a file whose folder does not exist, before anything is read.

    Raises:
        CommandError: `out-folder-missing`.
    """
    if not out.absolute().parent.is_dir():
        raise CommandError(
            "out-folder-missing",
            f"cannot write {out}: its folder does not exist.",
            do=f"mkdir -p {out.parent}",
        )


def write_value(value: Any, out: Path) -> None:
    """Write a table, a text, bytes, a file or a JSON value in the form that the file's suffix names.

    Raises:
        CommandError: `out-suffix-unknown`, or `out-not-a-table` for a value that has no rows.
    """
    is_table = type(value).__name__ == "Table" and type(value).__module__.startswith("pyarrow")
    if isinstance(value, bytes):
        _write(out, lambda path: path.write_bytes(value))
        return
    if isinstance(value, Path):
        _write(out, lambda path: shutil.copyfile(value, path))
        return
    suffix = out.suffix.lower()
    if suffix not in _SUFFIXES:
        raise CommandError(
            "out-suffix-unknown",
            f"cannot write {out}: {suffix or 'a file without a suffix'} names no format.",
            do=f"choose one of {', '.join(_SUFFIXES)}.",
        )
    if not is_table and suffix in (".csv", ".parquet"):
        raise CommandError(
            "out-not-a-table",
            f"cannot write {out}: the asset's value is not a table but {type(value).__name__}.",
            do="choose .json or .txt.",
        )
    writers: dict[str, Callable[[Path], object]] = {
        ".csv": lambda path: _write_csv(value, path),
        ".parquet": lambda path: _write_parquet(value, path),
        ".json": lambda path: path.write_text(_to_json(value, is_table=is_table), encoding="utf-8"),
        ".txt": lambda path: path.write_text(_to_text(value, is_table=is_table), encoding="utf-8"),
    }
    _write(out, writers[suffix])


def _write(out: Path, write: Callable[[Path], object]) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.absolute().parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(out)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        raise


def _write_parquet(table: Any, path: Path) -> None:
    import pyarrow.parquet as pq

    pq.write_table(table, path)


def _write_csv(table: Any, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    for index, field in enumerate(table.schema):
        if pa.types.is_nested(field.type):  # CSV has no nested values: their JSON form stands for them
            from ui.read import build_json_value

            texts = [
                None if value is None else json.dumps(build_json_value(value))
                for value in table.column(index).to_pylist()
            ]
            table = table.set_column(index, field.name, pa.array(texts, pa.string()))
    pa_csv.write_csv(table, path)


def _to_json(value: Any, *, is_table: bool) -> str:
    from ui.read import build_json_value, build_table_rows

    document = build_table_rows(value) if is_table else build_json_value(value)
    return json.dumps(document, ensure_ascii=False, indent=None if is_table else 2) + "\n"


def _to_text(value: Any, *, is_table: bool) -> str:
    if is_table:
        from ui.cli.rows import format_rows

        header, lines, _ = format_rows(value, None, None)
        return "\n".join([*header, *lines]) + "\n"
    return value if isinstance(value, str) else _to_json(value, is_table=False)
