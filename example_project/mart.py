"""What people look at: summaries by day, week and month, a ranking, a model and a report."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import BaseModel, Field

from assets_core import (
    Freshness,
    In,
    MonthlyPartitions,
    Table,
    WeeklyPartitions,
    asset,
    asset_check,
    trailing,
)
from example_project.raw import NEW_YORK, days

weeks = WeeklyPartitions(start="2012-12-31", end="2014-01-06", timezone=NEW_YORK)
months = MonthlyPartitions(start="2013-01-01", end="2014-01-01", timezone=NEW_YORK)

LATE_MINUTES = 15


class DailySummary(BaseModel):
    """One airline at one airport on one day."""

    origin: str
    carrier: str
    flights: int = Field(ge=1)
    cancelled: int = Field(ge=0)
    late: int = Field(ge=0, description=f"departures more than {LATE_MINUTES} minutes after schedule")
    delay_minutes: float = Field(ge=0, description="sum of the delays of late departures")


class DelaySettings(BaseModel):
    """Configuration of the delay model."""

    ridge: float = Field(1.0, gt=0, description="strength of the regularisation")


@asset(key="mart/daily_summary", partitions=days, group="mart", freshness=Freshness(within="26h"))
def daily_summary(departures: pd.DataFrame) -> Table[DailySummary]:
    """Flights, cancellations and delays by airport and airline."""
    late = departures["dep_delay"] > LATE_MINUTES
    table = departures.assign(late=late, delay_minutes=departures["dep_delay"].where(late, 0.0))
    return table.groupby(["origin", "carrier"], as_index=False).agg(
        flights=("carrier", "size"),
        cancelled=("cancelled", "sum"),
        late=("late", "sum"),
        delay_minutes=("delay_minutes", "sum"),
    )


@asset_check(asset="mart/daily_summary", blocking=True)
def no_flight_is_lost(daily_summary: pd.DataFrame, departures: pd.DataFrame) -> bool:
    """The summary counts every departure once."""
    return int(daily_summary["flights"].sum()) == len(departures)


@asset(
    key="mart/weekly_summary",
    partitions=weeks,
    group="mart",
    ins={"days": In("mart/daily_summary", missing="skip")},
)
def weekly_summary(days: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Flights and share of late departures by airline, and how many days of the week are in."""
    table = pd.concat(days.values(), ignore_index=True)
    summary = table.groupby("carrier", as_index=False)[["flights", "cancelled", "late"]].sum()
    return summary.assign(late_share=summary["late"] / summary["flights"], days=len(days))


@asset(
    key="mart/monthly_summary",
    partitions=months,
    group="mart",
    ins={"daily": In("mart/daily_summary", missing="skip")},
)
def monthly_summary(daily: pd.DataFrame) -> pd.DataFrame:
    """Flights, cancellations and mean delay of late departures by airport and airline."""
    summary = daily.groupby(["origin", "carrier"], as_index=False)[
        ["flights", "cancelled", "late", "delay_minutes"]
    ].sum()
    return summary.assign(mean_delay=summary["delay_minutes"] / summary["late"].clip(lower=1))


@asset(
    key="mart/airport_ranking",
    partitions=days,
    group="mart",
    ins={"daily_summary": In("mart/daily_summary", partitions=trailing(7), missing="skip")},
)
def airport_ranking(daily_summary: pd.DataFrame) -> pd.DataFrame:
    """The airports by share of late departures over the seven days that end with this one, best first."""
    total = daily_summary.groupby("origin", as_index=False)[["flights", "late"]].sum()
    total["late_share"] = total["late"] / total["flights"]
    total = total.sort_values("late_share", ignore_index=True)
    return total.assign(rank=np.arange(1, len(total) + 1))


@asset(
    key="model/delay",
    partitions=months,
    group="model",
    ins={"departures": In("clean/departures", missing="skip")},
)
def delay_model(departures: pd.DataFrame, config: DelaySettings) -> dict[str, float]:
    """Minutes of departure delay explained by weather, distance and size of plane: ridge regression on one month."""
    known = departures.dropna(subset=["dep_delay"])
    features = known[["wind_speed", "precip", "visib", "distance", "seats"]].fillna(0.0).to_numpy(float)
    matrix = np.column_stack([np.ones(len(features)), features])
    penalty = config.ridge * np.eye(matrix.shape[1])
    weights = np.linalg.solve(matrix.T @ matrix + penalty, matrix.T @ known["dep_delay"].to_numpy(float))
    names = ["intercept", "wind_speed", "precip", "visib", "distance", "seats"]
    return {name: round(float(weight), 6) for name, weight in zip(names, weights, strict=True)}


@asset(key="report/month", partitions=months, group="report")
def month_report(monthly_summary: pd.DataFrame, delay: dict[str, float], airlines: dict[str, str]) -> str:
    """The month in Markdown, worst airlines first."""
    total = monthly_summary.groupby("carrier")[["flights", "cancelled", "late"]].sum()
    total["late_share"] = total["late"] / total["flights"]
    lines = ["| airline | flights | cancelled | late |", "|---|---:|---:|---:|"]
    for carrier, row in total.sort_values("late_share", ascending=False).iterrows():
        name = airlines.get(str(carrier), str(carrier))
        lines.append(f"| {name} | {row['flights']:.0f} | {row['cancelled']:.0f} | {row['late_share']:.1%} |")
    return "\n".join([*lines, "", f"An inch of rain costs {delay['precip']:.1f} minutes.", ""])


@asset(
    key="report/chart",
    partitions=months,
    group="report",
    ins={"daily": In("mart/daily_summary", missing="skip")},
)
def month_chart(daily: dict[str, pd.DataFrame]) -> bytes:
    """Share of late departures by day as an SVG picture."""
    shares = {day: float(table["late"].sum() / table["flights"].sum()) for day, table in daily.items()}
    bars = "".join(
        f'<rect x="{20 * index}" y="{200 - 200 * share:.1f}" width="16" height="{200 * share:.1f}">'
        f"<title>{day}: {share:.1%}</title></rect>"
        for index, (day, share) in enumerate(shares.items())
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {20 * len(shares)} 200">{bars}</svg>'.encode()
    )


@asset(key="report/download", partitions=months, group="report")
def month_download(monthly_summary: pd.DataFrame) -> Path:
    """The monthly summary as a compressed CSV file, for people with a spreadsheet."""
    path = Path(tempfile.mkdtemp()) / "summary.csv.gz"
    monthly_summary.to_csv(path, index=False, compression={"method": "gzip", "mtime": 0})
    return path
