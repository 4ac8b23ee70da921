"""The commands on a real project: shapes, exit codes, and what people read."""

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ui.conftest import DEFINITIONS, Shop

KEYS = ["raw/orders", "rates", "totals"]


def test_list_has_the_promised_shape_and_writes_nothing(shop: Shop) -> None:
    rows = {row["key"]: row for row in shop.json("list")}

    assert sorted(rows) == sorted(KEYS)
    orders = rows["raw/orders"]
    promised = ("key", "kind", "group", "partitions", "deps", "checks", "tags", "description")
    assert {name: orders[name] for name in promised} == {
        "key": "raw/orders",
        "kind": "python",
        "group": "raw",
        "partitions": {"kind": "daily", "count": 3},
        "deps": [],
        "checks": ["positive"],
        "tags": {"tier": "critical"},
        "description": "The orders of a day.\n\nMore about them.",
    }
    assert rows["rates"]["partitions"] is None
    assert rows["totals"]["deps"] == ["raw/orders", "rates"]
    assert not (shop.folder / ".assetline").exists()


@pytest.mark.parametrize(
    ("select", "keys"),
    [
        (["group:raw"], ["raw/orders", "rates"]),
        (["tag:tier=critical"], ["raw/orders"]),
        (["+totals"], KEYS),
        (["raw/*", "totals"], ["raw/orders", "totals"]),
        (["state:missing,totals"], ["totals"]),
    ],
)
def test_list_picks_what_select_says(shop: Shop, select: list[str], keys: list[str]) -> None:
    assert sorted(row["key"] for row in shop.json("list", *select)) == sorted(keys)


def test_list_for_people_is_a_table(shop: Shop) -> None:
    lines = shop.run("list").stdout.splitlines()

    assert lines[0].split() == ["asset", "group", "partitions", "depends", "on", "checks", "description"]
    assert any(line.startswith("raw/orders  raw") and line.endswith("The orders of a day.") for line in lines)
    assert lines[-1] == "3 assets"
    assert all(line == line.rstrip() for line in lines)


def test_show_tells_everything_declared(shop: Shop) -> None:
    row = shop.json("show", "totals")
    text = shop.run("show", "raw/orders").stdout

    assert [item["parameter"] for item in row["inputs"]] == ["orders", "rates"]
    assert [item["asset"] for item in row["inputs"]] == ["raw/orders", "rates"]
    assert row["partitions"]["first"] == "2024-01-01"
    assert row["partitions"]["last"] == "2024-01-03"
    assert len(row["code"]["version"]) == 16
    assert any(part["name"].endswith("totals") for part in row["code"]["covers"])
    for part in (
        "The orders of a day.",
        f"{shop.module}.py:",
        "2024-01-01 .. 2024-01-03",
        "positive",
        "sales",
        "totals",
    ):
        assert part in text


def test_an_unknown_asset_is_named_with_the_nearest(shop: Shop) -> None:
    assert "raw/orders" in shop.run("show", "raw/order", code=2).stderr
    assert shop.json("show", "raw/order", code=2)["error"]["kind"] == "NotFoundError"


def test_plan_has_the_promised_shape_and_writes_nothing(shop: Shop) -> None:
    plan = shop.json("plan")

    steps = {step["asset"]: step for step in plan["steps"]}
    assert steps["raw/orders"]["partitions"] == ["2024-01-01", "2024-01-02", "2024-01-03"]
    assert {step["reason"] for step in plan["steps"]} == {"missing"}
    assert all(step["detail"] for step in plan["steps"])
    assert (plan["fresh"], plan["total"], plan["n_steps"]) == (0, 7, 7)
    assert not (shop.folder / ".assetline").exists()


def test_plan_for_people_groups_by_asset_with_ranges_and_a_summary(shop: Shop) -> None:
    lines = shop.run("plan").stdout.splitlines()

    assert any(line.split()[:4] == ["raw/orders", "3", "2024-01-01..2024-01-03", "missing"] for line in lines)
    assert lines[-1] == "7 steps in 3 assets would run, 0 fresh."


def test_materialize_publishes_and_then_there_is_nothing_to_do(shop: Shop) -> None:
    result = shop.json("materialize")

    assert result["status"] == "succeeded"
    assert result["steps"] == {
        "succeeded": 7,
        "unchanged": 0,
        "failed": 0,
        "blocked": 0,
        "skipped": 0,
        "cancelled": 0,
    }
    assert result["run_id"]
    assert result["duration_s"] > 0
    assert shop.run("materialize").stdout == "nothing to do: 7 fresh.\n"
    assert shop.run("plan").stdout == "nothing to do: 7 fresh.\n"


def test_progress_is_on_stderr_one_line_a_step(shop: Shop) -> None:
    result = shop.run("materialize", "rates", "raw/orders")

    assert sum(line.startswith("[") for line in result.stderr.splitlines()) == 4
    assert "raw/orders[2024-01-02] info: building 2024-01-02" in result.stderr
    assert "[4/4]" in result.stderr
    assert "4 succeeded" in result.stdout


@pytest.mark.parametrize("flag", ["-p", "--partition", "--partitions"])
@pytest.mark.parametrize("command", ["plan", "materialize"])
def test_partitions_are_taken_under_every_spelling(shop: Shop, command: str, flag: str) -> None:
    found = shop.json(command, "raw/orders", flag, "2024-01-02..2024-01-03")

    assert found.get("total") == 2 or found["steps"]["succeeded"] == 2


def test_a_failed_step_gives_1_and_says_what_raised_and_where(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL", "2024-01-02")

    result = shop.run("materialize", "--keep-going", code=1)

    assert "failed raw/orders[2024-01-02]" in result.stdout
    assert "no orders today" in result.stdout
    assert f"{shop.module}.py" in result.stdout
    assert "next: assetline runs show" in result.stdout
    run = shop.json("runs", "show")
    assert run["status"] == "failed"
    failed = [step for step in run["steps"] if step["state"] == "failed"]
    assert [step["partitions"] for step in failed] == [["2024-01-02"]]
    assert "no orders today" in failed[0]["error"]


def test_a_blocking_check_gives_3_and_shows_its_sample(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOCK", "2024-01-02")

    result = shop.run("materialize", "--keep-going", code=3)

    assert "blocked raw/orders[2024-01-02]" in result.stdout
    assert "check positive (error): failed" in result.stdout
    assert "observed: 1 of 3 rows" in result.stdout
    assert "-1.0" in result.stdout
    status = {row["asset"]: row for row in shop.json("status")}
    assert status["raw/orders"]["blocked"] == 1


def test_with_json_a_failure_is_in_the_one_document(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIL", "2024-01-02")

    result = shop.json("materialize", "raw/orders", "--keep-going", code=1)

    assert result["status"] == "failed"
    assert [(item["partition"], item["state"]) for item in result["failures"]] == [("2024-01-02", "failed")]


def test_status_has_the_promised_shape(shop: Shop) -> None:
    shop.run("materialize", "raw/orders", "-p", "2024-01-01")

    rows = {row["asset"]: row for row in shop.json("status")}

    orders = rows["raw/orders"]
    assert {name: orders[name] for name in ("fresh", "stale", "missing", "failed", "blocked", "latest")} == {
        "fresh": 1,
        "stale": 0,
        "missing": 2,
        "failed": 0,
        "blocked": 0,
        "latest": "2024-01-01",
    }
    assert orders["lag_s"] > 0
    assert orders["reasons"] == {}
    assert "3 assets: 1 fresh, 6 missing" in shop.run("status").stdout


def test_history_lists_versions_newest_first(shop: Shop) -> None:
    shop.run("materialize", "raw/orders", "-p", "2024-01-01")
    shop.run("materialize", "raw/orders", "-p", "2024-01-01", "--force")

    rows = shop.json("history", "raw/orders", "-p", "2024-01-01")

    promised = {
        "version",
        "partition",
        "published_at",
        "run_id",
        "rows",
        "bytes",
        "code_version",
        "data_version",
        "current",
    }
    assert all(promised <= set(row) for row in rows)
    assert [row["current"] for row in rows] == [True, False]
    assert rows[0]["rows"] == 3
    assert dt.datetime.fromisoformat(rows[0]["published_at"]) >= dt.datetime.fromisoformat(
        rows[1]["published_at"]
    )
    assert "2 versions" in shop.run("history", "raw/orders").stdout


def test_load_prints_rows_with_types_and_count(shop: Shop) -> None:
    shop.run("materialize", "raw/orders")

    lines = shop.run("load", "raw/orders", "-p", "2024-01-01").stdout.splitlines()

    assert lines[0].split() == ["day", "amount"]
    assert lines[1].split() == ["string", "double"]
    assert lines[2].split() == ["2024-01-01", "1.0"]
    assert lines[-1] == "3 rows"


def test_load_reads_partitions_columns_and_limits(shop: Shop) -> None:
    shop.run("materialize", "raw/orders")

    assert shop.json(
        "load", "raw/orders", "-p", "2024-01-02..2024-01-03", "--columns", "day", "--limit", "4"
    ) == [
        {"day": "2024-01-02"},
        {"day": "2024-01-02"},
        {"day": "2024-01-02"},
        {"day": "2024-01-03"},
    ]
    assert len(shop.json("load", "raw/orders")) == 9
    assert "2 of 9 rows; --limit 9 shows all" in shop.run("load", "raw/orders", "--limit", "2").stdout


def test_load_prints_a_value_that_is_no_table(shop: Shop) -> None:
    shop.run("materialize", "rates")

    assert json.loads(shop.run("load", "rates").stdout) == {"EUR": 1.0}
    assert shop.json("load", "rates") == {"EUR": 1.0}


def test_load_writes_a_file_and_says_so(shop: Shop, tmp_path: Path) -> None:
    shop.run("materialize", "raw/orders")

    result = shop.run("load", "raw/orders", "--out", str(tmp_path / "orders.csv"))

    assert result.stdout == f"wrote 9 rows to {tmp_path / 'orders.csv'}\n"
    assert (tmp_path / "orders.csv").read_text().count("\n") == 10


def test_load_of_the_past_before_the_first_version_finds_nothing(shop: Shop) -> None:
    shop.run("materialize", "rates")

    assert shop.json("load", "rates", "--as-of", "2001-01-01", code=2)["error"]["kind"] == "NotFoundError"
    assert shop.json("load", "rates", "--as-of", "soon", code=2)["error"]["kind"] == "UsageError"
    assert shop.json("load", "rates", "--as-of", "2999-01-01") == {"EUR": 1.0}


def test_runs_have_the_promised_shape(shop: Shop) -> None:
    run_id = shop.json("materialize", "raw/orders")["run_id"]

    (listed,) = shop.json("runs", "list")
    shown = shop.json("runs", "show", run_id)

    promised = {"run_id", "status", "started_at", "ended_at", "duration_s", "steps"}
    assert promised <= set(listed)
    assert listed["steps"]["succeeded"] == 3
    assert {name: shown[name] for name in promised - {"steps"}} == {
        name: listed[name] for name in promised - {"steps"}
    }
    assert [step["partitions"] for step in shown["steps"]] == [["2024-01-01"], ["2024-01-02"], ["2024-01-03"]]
    assert {"asset", "partitions", "state", "attempts", "reason", "duration_s"} <= set(shown["steps"][0])
    assert run_id in shop.run("runs", "list").stdout
    assert "raw/orders[2024-01-03]" in shop.run("runs", "show").stdout


def test_runs_logs_are_the_lines_of_the_steps(shop: Shop) -> None:
    shop.run("materialize", "raw/orders")

    lines = shop.json("runs", "logs")

    assert [line["message"] for line in lines] == [f"building 2024-01-0{n}" for n in (1, 2, 3)]
    assert shop.json("runs", "logs", "--asset", "totals") == []
    assert "building 2024-01-02" in shop.run("runs", "logs", "latest").stdout


def test_an_unknown_run_is_not_found(shop: Shop) -> None:
    assert shop.json("runs", "show", "nonsense", code=2)["error"]["code"] == "run-not-found"
    assert shop.json("runs", "list") == []


@pytest.mark.parametrize(("answer", "code"), [("n\n", 130), ("y\n", 0)])
def test_on_a_terminal_a_large_run_is_asked_for_first(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    monkeypatch.setattr("ui.cli.build._can_ask", lambda: True)
    monkeypatch.setattr("ui.cli.build.ASK_ABOVE_STEPS", 2)

    result = shop.run("materialize", "raw/orders", code=code, input=answer)

    assert "3 steps would run (raw/orders). Run them?" in result.stderr
    assert (shop.json("status", "raw/orders")[0]["fresh"] == 3) is (code == 0)


@pytest.mark.parametrize("extra", [["--yes"], ["-y"], ["-p", "all"]])
def test_a_run_that_was_confirmed_or_named_is_not_asked_for(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, extra: list[str]
) -> None:
    monkeypatch.setattr("ui.cli.build._can_ask", lambda: True)
    monkeypatch.setattr("ui.cli.build.ASK_ABOVE_STEPS", 2)

    assert "Run them?" not in shop.run("materialize", "raw/orders", *extra).stderr


def test_run_config_reaches_the_asset(write_shop: Callable[[str], Shop]) -> None:
    shop = write_shop(
        "from pydantic import BaseModel\n"
        "from assets_core import Project, asset\n"
        "class Settings(BaseModel):\n    limit: int = 1\n"
        "@asset\ndef a(config: Settings) -> int:\n    return config.limit\n"
        "project = Project.from_module(__name__)\n"
    )

    shop.run("materialize")
    assert shop.json("plan", "--config", "a.limit=5")["steps"][0]["reason"] == "config_changed"
    shop.run("materialize", "--config", "a.limit=5")

    assert shop.json("load", "a") == 5
    assert shop.json("materialize", "--config", "a.limt=5", code=2)["error"]["kind"] == "ConfigError"


def test_without_a_project_the_next_command_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    result = Shop(tmp_path, "").run("list", code=2)

    assert "ConfigError[project-not-configured]" in result.stderr
    assert "assetline init" in result.stderr


def test_another_project_can_be_named(shop: Shop) -> None:
    (shop.folder / f"{shop.module}_other.py").write_text(
        "from assets_core import asset\n@asset\ndef only() -> int:\n    return 1\n"
    )

    assert [row["key"] for row in shop.json("list", "--project", f"{shop.module}_other")] == ["only"]


def test_an_unknown_environment_is_a_configuration_fault(shop: Shop) -> None:
    assert shop.json("status", "--env", "prd", code=2)["error"]["kind"] == "ConfigError"


def test_definition_errors_are_2_and_name_the_file(write_shop: Callable[[str], Shop]) -> None:
    shop = write_shop(
        DEFINITIONS.replace("def totals(orders: pa.Table, rates: dict)", "def totals(ordrs: pa.Table)")
    )

    result = shop.run("plan", code=2)

    assert f"{shop.module}.py:" in result.stderr
    assert "orders" in result.stderr
