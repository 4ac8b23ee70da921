"""An importable project whose assets are partitioned by several dimensions and by dynamic keys."""

from __future__ import annotations

from typing import Any

from assets_core import (
    Context,
    DailyPartitions,
    DynamicPartitions,
    In,
    MultiPartitions,
    Project,
    StaticPartitions,
    asset,
    dimension,
    mapped,
    trailing,
)

days = DailyPartitions("2024-01-01", "2024-01-04")
regions = StaticPartitions(["north", "so|uth"])
customers = DynamicPartitions("customers")
day_region = MultiPartitions(day=days, region=regions)
customer_day = MultiPartitions(customer=customers, day=days)


@asset(partitions=days)
def rates(context: Context) -> dict[str, Any]:
    """One a day."""
    return {"day": context.partition}


@asset(partitions=day_region, ins={"rates": In(partitions=dimension("day"))})
def sales(context: Context, rates: dict[str, Any]) -> dict[str, Any]:
    """One a day and region, of the day's rates."""
    assert context.window is not None
    return {"rates": rates["day"], "start": context.window.start.isoformat(), **context.dimensions}


@asset(partitions=day_region)
def shares(sales: dict[str, Any]) -> list[str]:
    """Partition by partition."""
    return [sales["day"], sales["region"]]


@asset(partitions=days, ins={"sales": In(partitions=dimension("day", trailing(2)), missing="skip")})
def totals(sales: dict[str, dict[str, Any]]) -> list[str]:
    """All regions of two days."""
    return list(sales)


@asset(partitions=regions, ins={"sales": In(partitions=dimension("region"))})
def by_region(sales: dict[str, dict[str, Any]]) -> list[str]:
    """All days of a region."""
    return list(sales)


@asset(
    partitions=StaticPartitions(["all"]),
    ins={"by_region": In(partitions=mapped({"all": ["so|uth", "north"]}))},
)
def world(by_region: dict[str, list[str]]) -> list[str]:
    """By a table of keys."""
    return list(by_region)


@asset
def finder(context: Context) -> list[str]:
    """Adds the customers that it finds."""
    return list(context.add_partitions("customers", ["ann", "bob"]))


@asset(partitions=customers)
def profile(context: Context) -> str:
    """One a customer."""
    return f"profile of {context.partition}"


@asset(partitions=customer_day, ins={"profile": In(partitions=dimension("customer"))})
def orders(context: Context, profile: str) -> str:
    """One a customer and day."""
    return f"{profile} on {context.dimensions['day']}"


@asset
def census(profile: dict[str, str]) -> list[str]:
    """Every customer there is."""
    return sorted(profile)


project = Project.from_module(__name__)
