"""Three tables of 100,000 rows a day for a month: made, cleaned, summed up. Once bare, once with assetline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from assets_core import Context, DailyPartitions, Environment, Project, asset
from assets_core.session import Session

ROWS = 100_000
days = DailyPartitions(start="2024-01-01", end="2024-01-31")


def make_orders(day: int) -> pd.DataFrame:
    random = np.random.default_rng(day)
    return pd.DataFrame(
        {
            "order_id": np.arange(ROWS, dtype=np.int64) + day * ROWS,
            "customer": random.integers(0, 5_000, ROWS),
            "product": random.choice(np.array(["apple", "pear", "plum", "quince"]), ROWS),
            "quantity": random.integers(1, 20, ROWS),
            "price": random.random(ROWS) * 100,
        }
    )


def clean_orders(orders: pd.DataFrame) -> pd.DataFrame:
    kept = orders[orders["quantity"] > 1]
    return kept.assign(total=kept["quantity"] * kept["price"]).reset_index(drop=True)


def sum_up(cleaned: pd.DataFrame) -> pd.DataFrame:
    return cleaned.groupby(["customer", "product"], as_index=False)["total"].sum()


@asset(partitions=days)
def orders(context: Context) -> pd.DataFrame:
    return make_orders(int(str(context.partition)[-2:]))


@asset(partitions=days)
def cleaned(orders: pd.DataFrame) -> pd.DataFrame:
    return clean_orders(orders)


@asset(partitions=days)
def summary(cleaned: pd.DataFrame) -> pd.DataFrame:
    return sum_up(cleaned)


project = Project(assets=[orders, cleaned, summary])


def our_dictionaries() -> dict[str, list[str]]:
    """For each table the columns that our writer gives a dictionary; pandas gives every column one."""
    import pyarrow as pa

    from io_managers.formats.parquet import _repetitive_columns

    frames = {"orders": make_orders(1)}
    frames["cleaned"] = clean_orders(frames["orders"])
    frames["summary"] = sum_up(frames["cleaned"])
    return {name: _repetitive_columns(pa.Table.from_pandas(frame)) for name, frame in frames.items()}


def bare_loop(root: Path, dictionaries: dict[str, list[str]] | None = None) -> None:
    """The same reads and writes with pandas alone; with `dictionaries` also encoded the way ours are."""
    options = {name: {"use_dictionary": columns} for name, columns in (dictionaries or {}).items()}
    for name in ("orders", "cleaned", "summary"):
        (root / name).mkdir()
    for day in range(1, 31):
        make_orders(day).to_parquet(
            root / "orders" / f"{day}.parquet", index=False, **options.get("orders", {})
        )
    for day in range(1, 31):
        frame = clean_orders(pd.read_parquet(root / "orders" / f"{day}.parquet"))
        frame.to_parquet(root / "cleaned" / f"{day}.parquet", index=False, **options.get("cleaned", {}))
    for day in range(1, 31):
        frame = sum_up(pd.read_parquet(root / "cleaned" / f"{day}.parquet"))
        frame.to_parquet(root / "summary" / f"{day}.parquet", index=False, **options.get("summary", {}))


def with_assetline(root: Path) -> None:
    """Planned, hashed, recorded and published."""
    with Session.open(project, Environment.in_folder(root)) as session:
        result = session.materialize(executor="inline")
    if result.steps["succeeded"] != 90:
        raise RuntimeError(str(result))
