"""Partitions by several dimensions and dynamic keys at the command line."""

from collections.abc import Callable

import pytest

from tests.ui.conftest import Shop

SLICED = """
from assets_core import (
    Context, DailyPartitions, DynamicPartitions, In, MultiPartitions, Project, StaticPartitions, asset, dimension,
)

days = DailyPartitions(start="2024-01-01", end="2024-01-04")


@asset(partitions=MultiPartitions(day=days, region=StaticPartitions(["north", "a|b"])))
def sales(context: Context) -> dict:
    return dict(context.dimensions)


@asset(partitions=days, ins={"sales": In(partitions=dimension("day"))})
def totals(sales: dict[str, dict]) -> int:
    return len(sales)


@asset(partitions=DynamicPartitions("customers"))
def profile(context: Context) -> str:
    return f"profile of {context.partition}"


project = Project.from_module(__name__)
"""


@pytest.fixture
def sliced(write_shop: Callable[[str], Shop]) -> Shop:
    return write_shop(SLICED)


def test_list_and_show_count_every_kind_and_write_nothing(sliced: Shop) -> None:
    rows = {row["key"]: row["partitions"] for row in sliced.json("list")}
    assert rows["sales"] == {"kind": "multi", "count": 6}
    assert rows["profile"] == {"kind": "dynamic", "count": 0}
    shown = sliced.json("show", "sales")["partitions"]
    assert (shown["first"], shown["last"]) == ("day=2024-01-01|region=north", "day=2024-01-03|region=a\\|b")
    assert sliced.json("show", "totals")["inputs"][0]["mapping"] == "dimension('day')"
    assert "0 (dynamic customers)\n" in sliced.run("show", "profile").stdout
    assert not (sliced.folder / ".assetline").exists()


def test_dimensions_are_picked_run_and_read_by_name(sliced: Shop) -> None:
    done = sliced.json("materialize", "sales", "-p", "day=2024-01-01..2024-01-02|region=north")
    assert done["steps"]["succeeded"] == 2
    (plan,) = sliced.json("plan", "sales", "-p", "2024-01-02")["steps"]
    assert plan["partitions"] == ["day=2024-01-02|region=a\\|b"]
    assert sliced.json("load", "sales", "-p", "day=2024-01-01|region=north") == {
        "day": "2024-01-01",
        "region": "north",
    }
    assert list(sliced.json("load", "sales", "-p", "region=north")) == [
        "day=2024-01-01|region=north",
        "day=2024-01-02|region=north",
    ]
    assert len(sliced.json("history", "sales", "-p", "day=2024-01-01|region=north")) == 1
    assert sliced.json("why", "sales", "-p", "day=2024-01-03|region=a\\|b")["state"] == "missing"
    (row,) = sliced.json("status", "sales")
    assert (row["fresh"], row["missing"], row["latest"]) == (2, 4, "day=2024-01-02|region=north")
    assert "day=2024-01-03" in sliced.run("plan", "sales").stdout
    error = sliced.json("plan", "sales", "-p", "dya=2024-01-01", code=2)["error"]
    assert "nearest: 'day'" in error["why"]


def test_the_command_that_an_error_names_can_be_pasted(sliced: Shop) -> None:
    error = sliced.json("materialize", "totals", "-p", "2024-01-01", code=2)["error"]
    assert "sales[day=2024-01-01|region=north]" in error["what"]
    assert "-p 2024-01-01" in error["do"]


def test_dynamic_keys_are_added_listed_and_removed(sliced: Shop) -> None:
    assert sliced.json("plan", "profile") == {**sliced.json("plan", "profile"), "total": 0, "steps": []}
    added = sliced.json("partitions", "add", "customers", "ann", "bob", "ann")
    assert added == {"name": "customers", "added": ["ann", "bob"], "partitions": ["ann", "bob"]}
    assert sliced.run("partitions", "add", "profile", "bob").stdout == "added 0 partitions; profile has 2\n"
    assert sliced.json("materialize", "profile")["steps"]["succeeded"] == 2
    assert sliced.json("partitions", "remove", "customers", "ann")["removed"] == ["ann"]
    assert sliced.json("partitions", "list", "profile") == {"name": "profile", "partitions": ["bob"]}
    assert sliced.run("partitions", "list", "customers").stdout == "bob\n"
    assert {row["partition"] for row in sliced.json("history", "profile")} == {"ann", "bob"}
    assert sliced.json("list", "profile")[0]["partitions"]["count"] == 1
    assert sliced.json("load", "profile", "-p", "bob") == "profile of bob"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["add", "customer", "x"], "nearest: 'customers'"),
        (["add", "totals", "x"], "are not dynamic"),
        (["remove", "customers", "x"], "there is no partition 'x'"),
        (["add", "customers", ""], "cannot be the key"),
        (["add", "customers"], "PARTITION"),
        (["list", "nobody"], "there are no dynamic partitions 'nobody'"),
    ],
)
def test_a_wrong_name_or_key_is_refused(sliced: Shop, arguments: list[str], what: str) -> None:
    assert what in sliced.run("partitions", *arguments, code=2).stderr


def test_why_says_that_there_is_nothing_to_explain(sliced: Shop) -> None:
    assert "there are no dynamic partitions yet" in sliced.run("why", "profile", code=2).stderr
