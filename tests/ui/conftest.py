"""A tiny project in a folder of its own, and the command line run in it."""

import json
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ui.cli.main import cli

DEFINITIONS = '''
import os

import pyarrow as pa

from assets_core import CheckResult, Context, DailyPartitions, Project, asset, asset_check

days = DailyPartitions(start="2024-01-01", end="2024-01-04", timezone="UTC")


@asset(group="raw")
def rates() -> dict:
    """Exchange rates."""
    return {"EUR": 1.0}


@asset(key="raw/orders", partitions=days, group="raw", tags={"tier": "critical"}, owner="sales")
def orders(context: Context) -> pa.Table:
    """The orders of a day.

    More about them.
    """
    context.log.info("building %s", context.partition)
    if os.environ.get("FAIL") == context.partition:
        raise RuntimeError("no orders today")
    return pa.table({"day": [context.partition] * 3, "amount": [1.0, 2.0, 3.0]})


@asset_check(asset="raw/orders")
def positive(orders: pa.Table) -> CheckResult:
    bad = os.environ.get("BLOCK", "") in orders["day"].to_pylist()
    return CheckResult(not bad, "1 of 3 rows", "0 rows", [{"amount": -1.0}])


@asset(partitions=days)
def totals(orders: pa.Table, rates: dict) -> pa.Table:
    return pa.table({"total": [sum(orders["amount"].to_pylist()) * rates["EUR"]], "n": [orders.num_rows]})


project = Project.from_module(__name__)
'''


class Shop:
    """The project's folder; `run` is the command line in it."""

    def __init__(self, folder: Path, module: str) -> None:
        self.folder = folder
        self.module = module

    def run(self, *arguments: str, code: int = 0, input: str | None = None) -> Result:
        result = CliRunner().invoke(cli, list(arguments), input=input)
        assert result.exit_code == code, f"{result.exit_code}: {result.stdout}\n{result.stderr}"
        return result

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code).stdout)


@pytest.fixture
def write_shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Shop]]:
    """Writes a project with these definitions and goes into its folder."""
    modules: list[str] = []
    monkeypatch.setattr(sys, "path", list(sys.path))

    def write(definitions: str) -> Shop:
        module = f"shop_{uuid.uuid4().hex}"
        modules.append(module)
        (tmp_path / f"{module}.py").write_text(definitions)
        (tmp_path / "assetline.toml").write_text(f'project = "{module}"\n[env.dev]\ndurability = "os"\n')
        monkeypatch.chdir(tmp_path)
        return Shop(tmp_path, module)

    yield write
    for module in modules:
        sys.modules.pop(module, None)


@pytest.fixture
def shop(write_shop: Callable[[str], Shop]) -> Shop:
    return write_shop(DEFINITIONS)
