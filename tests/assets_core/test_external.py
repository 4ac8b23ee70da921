"""Files that others write: when they appear, change and disappear."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assets_core import (
    DailyPartitions,
    In,
    PlanError,
    Project,
    Session,
    StaticPartitions,
    StorageError,
    asset,
    external_asset,
)
from assets_core.definition.asset import Asset
from tests.support.projects import open_session

days = DailyPartitions("2024-01-01", "2024-01-04")


class Shop:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: list[str] = []

    def define(self, *, missing: Any = "error") -> Project:
        calls = self.calls
        rates = external_asset("rates", path=str(self.folder / "rates.json"))
        orders = external_asset("orders", path=str(self.folder / "{partition}.json"), partitions=days)

        @asset(code_version="1")
        def rate(rates: dict) -> dict:
            calls.append("rate")
            return rates

        @asset(partitions=days, ins={"orders": In(missing=missing)}, code_version="1")
        def totals(orders: dict[str, dict]) -> dict:
            calls.append("totals")
            return {"n": len(orders)}

        return Project(assets=[rates, orders, rate, totals])

    def write(self, name: str, text: str = '{"EUR": 1}') -> None:
        (self.folder / name).write_text(text)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.fixture
def session(shop: Shop) -> Iterator[Session]:
    with open_session(shop.define(missing="skip")) as opened:
        yield opened


def planned(session: Session, *select: str) -> dict[str, str]:
    return {step.asset: step.reason for step in session.plan(select).steps()}


def test_a_file_that_appears_can_be_read(shop: Shop, session: Session) -> None:
    with pytest.raises(PlanError) as caught:
        session.plan(["rate"])
    assert caught.value.what == "cannot materialize rate: its input rates does not exist."
    assert "external" in caught.value.why
    shop.write("rates.json")

    assert planned(session, "rate") == {"rate": "missing"}
    assert session.materialize(["rate"]).status == "succeeded"
    assert session.load("rate") == session.load("rates") == {"EUR": 1}
    assert planned(session, "rate") == {}


def test_only_another_content_is_a_change(shop: Shop, session: Session) -> None:
    shop.write("rates.json")
    session.materialize(["rate"])
    shop.write("rates.json")
    assert planned(session, "rate") == {}

    shop.write("rates.json", '{"EUR": 2}')
    assert planned(session, "rate") == {"rate": "input_changed"}
    session.materialize(["rate"])
    assert session.load("rate") == {"EUR": 2}
    shop.write("rates.json")
    assert planned(session, "rate") == {"rate": "input_changed"}


def test_a_file_that_disappears_is_an_error_and_its_readers_keep_their_data(
    shop: Shop, session: Session
) -> None:
    shop.write("rates.json")
    session.materialize(["rate"])
    (shop.folder / "rates.json").unlink()

    with pytest.raises(PlanError, match="its input rates does not exist"):
        session.plan(["rate"])
    assert session.load("rate") == {"EUR": 1}


def test_each_partition_follows_its_own_file(shop: Shop, session: Session) -> None:
    shop.write("rates.json")
    shop.write("2024-01-01.json", '{"a": 1}')
    shop.write("2024-01-02.json", '{"a": 1}')
    session.materialize()
    shop.write("2024-01-02.json", '{"a": 2}')
    shop.write("2024-01-03.json", '{"a": 3}')

    plan = session.plan()
    assert {(step.asset, step.partition) for step in plan.steps()} == {
        ("totals", "2024-01-02"),
        ("totals", "2024-01-03"),
    }
    (shop.folder / "2024-01-02.json").unlink()
    session.materialize()
    assert session.load("totals", "2024-01-02") == {"n": 0}
    assert session.load("totals", "2024-01-03") == {"n": 1}


def test_an_external_asset_is_never_a_step_and_has_no_versions(shop: Shop, session: Session) -> None:
    shop.write("rates.json")
    shop.write("2024-01-01.json")

    assert planned(session, "rates") == {}
    assert session.plan(["rates"], force=True).n_steps == 0
    assert session.history("rates") == []
    rows = {row.asset: row for row in session.status(["kind:external"])}
    assert (rows["orders"].fresh, rows["orders"].missing) == (1, 2)
    assert (rows["rates"].fresh, rows["rates"].missing) == (1, 0)
    assert session.load("orders", "2024-01-01") == {"EUR": 1}


def test_what_is_no_file_is_named(shop: Shop, session: Session) -> None:
    (shop.folder / "rates.json").mkdir()
    with pytest.raises(StorageError) as caught:
        session.plan(["rate"])

    assert caught.value.code == "external-unreadable"
    assert str(shop.folder / "rates.json") in caught.value.what


def test_a_file_of_another_format_fails_the_step_and_names_the_input(shop: Shop, session: Session) -> None:
    shop.write("rates.json", "{ not json")
    (failure,) = session.materialize(["rate"]).failures

    assert failure.error is not None
    assert "rate cannot load its input 'rates'" in failure.error.message
    assert not shop.calls


def test_a_path_may_be_a_file_url(tmp_path: Path) -> None:
    (tmp_path / "a b%20c.txt").write_text("hello")
    notes: Asset = external_asset(
        "notes", path=f"file://{tmp_path}/{{partition}}.txt", partitions=StaticPartitions(["a b%20c"])
    )
    with open_session(Project(assets=[notes])) as session:
        assert session.load("notes", "a b%20c") == "hello"
