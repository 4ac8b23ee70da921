"""A project that worker processes can import: well-behaved assets, and one for every way to misbehave.

Everything that its functions do outside of their return values they note in the folder that `ASSETLINE_TEST_NOTES`
names, where tests read it whatever process did it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pydantic import BaseModel, Field

from assets_core import (
    CheckResult,
    Context,
    DailyPartitions,
    In,
    Project,
    Resource,
    Retry,
    StaticPartitions,
    Table,
    all_partitions,
    asset,
    asset_check,
)

letters = StaticPartitions(["a", "b", "c"])
days = DailyPartitions(start="2024-03-30", end="2024-04-02", timezone="Europe/Berlin")


def note(name: str, text: object = "") -> int:
    """Add a line to a note and return how many it has."""
    path = Path(os.environ["ASSETLINE_TEST_NOTES"]) / name
    with path.open("a") as stream:
        stream.write(f"{text}\n")
    return len(path.read_text().splitlines())


def wait_for(name: str) -> None:
    """Until the note is there."""
    while not (Path(os.environ["ASSETLINE_TEST_NOTES"]) / name).exists():
        time.sleep(0.005)


# -- a small graph ---------------------------------------------------------------------------------------------------


@asset(partitions=letters)
def numbers(context: Context) -> list:
    note("calls", f"numbers[{context.partition}]")
    return [len(note.__name__), ord(context.partition or "")]


@asset(partitions=letters)
def doubled(context: Context, numbers: list) -> list:
    note("calls", f"doubled[{context.partition}]")
    return [2 * number for number in numbers]


@asset(ins={"doubled": In(partitions=all_partitions())})
def total(doubled: dict[str, list]) -> int:
    note("calls", "total")
    return sum(sum(part) for part in doubled.values())


@asset(deps=["total"])
def report() -> str:
    note("calls", "report")
    return "done"


# -- retries, failures, timeouts -------------------------------------------------------------------------------------


@asset(retries=Retry(3, delay=0.05, factor=2.0, jitter=0.0))
def flaky(context: Context) -> int:
    tries = note("flaky", time.time())
    if tries < 3:
        raise ConnectionError(f"try {tries} failed")
    return context.attempt


@asset(retries=Retry(2, delay=0.01))
def hopeless() -> int:
    note("hopeless")
    raise ValueError("there is no hope\nand a second line")


@asset(retries=Retry(2, delay=60))
def patient() -> int:
    raise ConnectionError("not yet")


@asset
def after_hopeless(hopeless: int) -> int:
    return hopeless


@asset(timeout=0.3)
def stuck() -> int:
    note("stuck", os.getpid())
    while True:
        time.sleep(0.01)


@asset(partitions=letters)
def half_broken(context: Context) -> int:
    note("half_broken", context.partition)
    if context.partition == "a":
        raise ValueError("a is broken")
    return 1


@asset(partitions=letters)
def after_half(half_broken: int) -> int:
    return half_broken


@asset
def exits() -> int:
    sys.exit(3)


@asset
def recurses() -> int:
    def down() -> int:
        return down() + 1

    return down()


@asset
def exhausts() -> int:
    raise MemoryError


@asset
def killed() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 1


@asset(retries=Retry(2, delay=0.01))
def killed_once() -> int:
    if note("killed_once") == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return 1


@asset
def returns_none() -> pa.Table:
    return None


@asset
def returns_none_as_json() -> dict:
    return None  # type: ignore[return-value]


class Strange(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@asset
def raises_strangely() -> int:
    raise Strange


# -- values ----------------------------------------------------------------------------------------------------------


@asset
def pieces() -> Iterator[pa.Table]:
    for number in range(3):
        yield pa.table({"n": [number, number]})


@asset
def broken_pieces() -> Iterator[pa.Table]:
    yield pa.table({"n": [1]})
    raise ValueError("the second piece is broken")


@asset(partitions=days)
def contexts(context: Context) -> dict:
    assert context.window is not None
    return {
        "asset": context.asset,
        "partition": context.partition,
        "partitions": list(context.partitions),
        "start": context.window.start.isoformat(),
        "end": context.window.end.isoformat(),
        "run_id": context.run_id,
        "attempt": context.attempt,
        "branch": context.branch,
        "config": context.config,
    }


@asset
def talks(context: Context) -> int:
    context.log.info("one %s", 1)
    context.log.warning("zwei äöü \ud83d")
    print("to stdout")
    print("to stderr", file=sys.stderr)
    os.write(1, b"to the raw stdout\n")
    return 1


# -- configuration and resources -------------------------------------------------------------------------------------


class Limit(BaseModel):
    """Configuration."""

    top: int = 3
    label: str = "x"


@asset
def limited(context: Context, config: Limit) -> dict:
    note("limited")
    return {"top": config.top, "label": config.label, "same": context.config == config}


class Door(Resource):
    """Notes what happens to it."""

    name: str = "front"
    fails: str = ""

    def open(self) -> None:
        note("door", f"open {self.name} {os.getpid()}")
        if self.fails == "open":
            raise OSError("the door is stuck")

    def close(self) -> None:
        note("door", f"close {self.name} {os.getpid()}")
        if self.fails == "close":
            raise OSError("the door does not close")


@asset(partitions=StaticPartitions([str(n) for n in range(8)]))
def through(door: Door) -> str:
    time.sleep(0.01)
    return door.name


@asset
def both(door: Door, back: Door) -> list:
    return [door.name, back.name]


# -- contracts and checks --------------------------------------------------------------------------------------------


class Row(BaseModel):
    """A row."""

    id: int = Field(ge=0)
    name: str | None = None


def table_of(case: str) -> Any:
    match case:
        case "good":
            return pa.table({"id": [1, 2], "name": ["x", None]})
        case "extra":
            return pa.table({"id": [1], "name": ["x"], "more": [1.5]})
        case "shuffled":
            return pa.table({"name": ["x"], "id": pa.array([1], pa.int8())})
        case "lacking":
            return pa.table({"name": ["x"]})
        case "mistyped":
            return pa.table({"id": ["one"], "name": ["x"]})
        case "negative":
            return pa.table({"id": [1, -2, -3], "name": ["x", "y", "z"]})
        case "nulls":
            return pa.table({"id": pa.nulls(2), "name": ["x", "y"]})
        case "empty":
            return pa.table({"id": pa.array([], pa.int64()), "name": pa.array([], pa.string())})
        case "twice":
            return pd.DataFrame([[1, 2]], columns=["id", "id"])
        case "none":
            return None
    raise ValueError(case)


CASES = ("good", "extra", "shuffled", "lacking", "mistyped", "negative", "nulls", "empty", "twice", "none")


@asset(partitions=StaticPartitions(CASES))
def kept(context: Context) -> Table[Row]:
    return table_of(context.partition or "")


@asset(partitions=StaticPartitions(CASES))
def free(context: Context) -> pa.Table:
    return table_of(context.partition or "")


VERDICTS = ("passes", "fails", "warns", "raises", "none", "mutates", "exits", "sampled")


@asset(partitions=StaticPartitions(VERDICTS))
def judged(context: Context) -> pa.Table:
    return pa.table({"verdict": [context.partition], "n": [1]})


@asset_check(asset="judged")
def verdict(judged: pa.Table) -> bool:
    match judged["verdict"][0].as_py():
        case "fails":
            return False
        case "raises":
            raise KeyError("no such column")
        case "none":
            return None  # type: ignore[return-value]
        case "exits":
            sys.exit(0)
    return True


@asset_check(asset="judged")
def sampled(judged: pa.Table) -> CheckResult:
    rows = judged.to_pylist() * 20
    return CheckResult(rows[0]["verdict"] != "sampled", "20 rows", "0 rows", rows)


@asset_check(asset="judged", severity="warn")
def polite(judged: pa.Table) -> bool:
    return bool(judged["verdict"][0].as_py() != "warns")


@asset_check(asset="judged")
def vandal(judged: pd.DataFrame) -> bool:
    judged["n"] = 99
    return True


@asset
def after_judged(judged: dict[str, pa.Table]) -> int:
    return len(judged)


project = Project.from_module(__name__)
