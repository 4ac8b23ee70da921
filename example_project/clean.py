"""Cleaned and joined: the weather of a day, and every departure with its plane and its weather."""

import pandas as pd
import pyarrow as pa

from assets_core import In, Table, asset
from example_project.raw import WeatherReading, days

READINGS = tuple(WeatherReading.model_fields)


@asset(
    key="clean/daily_weather",
    partitions=days,
    group="clean",
    ins={"weather": In("raw/weather", missing="skip")},
)
def daily_weather(weather: Table[WeatherReading]) -> pd.DataFrame:
    """Worst weather of a local day at each airport; hours that were blocked are left out, and recorded as such."""
    return weather.groupby("origin", as_index=False).agg(
        wind_speed=("wind_speed", "max"),
        precip=("precip", "sum"),
        visib=("visib", "min"),
        readings=("temp", "size"),
    )


@asset(key="clean/departures", partitions=days, group="clean", owner="flight-operations")
def departures(flights: pd.DataFrame, daily_weather: pd.DataFrame, planes: pa.Table) -> pd.DataFrame:
    """One row a scheduled departure: delays, the plane's seats and the worst weather of its day and airport."""
    seats = planes.select(["tailnum", "seats"]).to_pandas()
    table = flights.merge(seats, on="tailnum", how="left").merge(daily_weather, on="origin", how="left")
    table["cancelled"] = table["dep_delay"].isna()
    return table.drop(columns=["readings"])
