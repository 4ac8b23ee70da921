"""A table of a row model is any frame as a result and a pandas frame as an argument; checked by mypy, never run."""

import pandas as pd
import polars as pl
import pyarrow as pa
from pydantic import BaseModel

from assets_core import Table, asset


class Flight(BaseModel):
    a: int


def from_pandas() -> Table[Flight]:
    return pd.DataFrame()


def from_polars() -> Table[Flight]:
    return pl.DataFrame()


def from_arrow() -> Table[Flight]:
    return pa.table({})


def kept(flights: Table[Flight]) -> pd.DataFrame:
    return flights[flights["a"] > 3]


def misused(flights: Table[Flight]) -> None:
    flights.no_such_method()  # type: ignore[operator]


def of_no_model() -> Table[int]:  # type: ignore[type-var]
    return pd.DataFrame()


@asset
def flights() -> Table[Flight]:
    return pd.DataFrame()
