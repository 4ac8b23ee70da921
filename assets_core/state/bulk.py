"""Reading many rows as Arrow, through a driver that makes no Python object a row."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from assets_core.state.packed import Blobs

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    Column = npt.NDArray[np.int64] | npt.NDArray[np.float64] | Blobs

#: Rows from which on reading in bulk is cheaper: with the driver's libraries loaded, and with loading them.
_WORTH_READING, _WORTH_LOADING = 5_000, 25_000
_ROWS_AT_ONCE = 65_536
_BATCH_OPTION = "adbc.sqlite.query.batch_rows"


def worthwhile_rows() -> int:
    """How many rows are worth a read in bulk."""
    return _WORTH_READING if "pyarrow" in sys.modules else _WORTH_LOADING


def read_batches(path: Path, queries: Iterable[str]) -> list[list[Column]] | None:
    """The results of queries for the same columns, one after the other, read in one transaction.

    Nobody else in this process may have the file open: see `open_files`.

    Args:
        path: The database.
        queries: Statements without parameters that select whole numbers, reals and blobs, never NULL.

    Returns:
        Batches of some ten thousand rows by column, on the driver's own memory; None where the database gave something
        else, or failed: reading it row by row says what is wrong.
    """
    from adbc_driver_sqlite import dbapi

    found: list[list[Column]] = []
    try:
        with dbapi.connect(f"file:{quote(str(path))}?mode=ro") as connection, connection.cursor() as cursor:
            cursor.adbc_statement.set_options(**{_BATCH_OPTION: str(_ROWS_AT_ONCE)})
            for query in queries:
                cursor.execute(query)
                found.extend(
                    [_column(item) for item in batch.columns]
                    for batch in cursor.fetch_record_batch()
                    if batch.num_rows
                )
    except (dbapi.Error, OSError, ValueError):  # pyarrow's own errors are ValueError and OSError too
        return None
    return found


def _column(values: pa.Array) -> Column:
    """An array on the memory of the Arrow array; ValueError for what the database has no columns of."""
    import pyarrow as pa

    if values.null_count:
        raise ValueError("NULL where a value belongs")
    if values.type in (pa.int64(), pa.float64()):
        found: npt.NDArray[np.int64] | npt.NDArray[np.float64] = values.to_numpy()
        return found
    if values.type != pa.binary():
        raise ValueError(f"{values.type} where numbers or bytes belong")
    _, offsets, data = values.buffers()
    bounds = np.frombuffer(offsets, np.int32)[values.offset : values.offset + len(values) + 1]
    return Blobs(bounds, np.frombuffer(b"" if data is None else data, np.uint8))
