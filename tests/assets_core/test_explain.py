"""`why`: one sentence and the evidence, for every state an asset partition can be in."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from assets_core import Environment, Project
from assets_core.session import Session

SOURCE = """
import pandas as pd
from pydantic import BaseModel
from assets_core import Project, StaticPartitions, asset, asset_check

parts = StaticPartitions(["a", "b"])

class Settings(BaseModel):
    step: int = 1

def double(value: int) -> int:
    return value * 2

@asset(partitions=parts)
def numbers(config: Settings) -> pd.DataFrame:
    return pd.DataFrame({"x": [1, 2, 3], "y": [double(config.step)] * 3})

@asset(partitions=parts)
def total(numbers: pd.DataFrame) -> int:
    return int(numbers["y"].sum())

@asset_check(asset="numbers")
def y_is_small(numbers: pd.DataFrame) -> bool:
    return bool((numbers["y"] < 100).all())

project = Project.from_module(__name__)
"""


class Lab:
    """One project whose text can be changed, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = Environment.in_folder(folder / "store", durability="os")
        self.text = SOURCE
        self.count = 0

    def open(self, **config: int) -> Session:
        self.count += 1
        file = self.folder / f"lab_{self.count}.py"
        file.write_text(self.text)
        module = self._import(file)
        project: Project = module.project
        return Session.open(project, self.environment, config={"numbers": dict(config)} if config else {})

    def _import(self, file: Path) -> ModuleType:
        spec = importlib.util.spec_from_file_location("explained_lab", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["explained_lab"] = module
        spec.loader.exec_module(module)
        return module


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.chdir(tmp_path)
    yield Lab(tmp_path)
    sys.modules.pop("explained_lab", None)


def test_a_missing_partition_was_never_materialized(lab: Lab) -> None:
    with lab.open() as session:
        found = session.why("numbers", "a")
    assert (found.state, found.reason) == ("missing", "missing")
    assert found.sentence == "numbers[a] is missing: never materialized."


def test_a_fresh_partition_names_its_version_and_why_it_ran(lab: Lab) -> None:
    with lab.open() as session:
        result = session.materialize()
        found = session.why("total", "b")
    assert (found.state, found.reason) == ("fresh", "")
    assert found.evidence["version"] == "v1"
    assert found.evidence["run_id"] == result.run_id
    assert found.evidence["last_reason"] == "missing"


def test_a_changed_helper_is_named_and_shown_as_a_diff(lab: Lab) -> None:
    with lab.open() as session:
        session.materialize()
    lab.text = SOURCE.replace("value * 2", "value * 3")
    with lab.open() as session:
        found = session.why("numbers", "a")
    assert (found.state, found.reason) == ("stale", "code_changed")
    assert found.evidence["changed"] == ["explained_lab:double"]
    assert "-    return value * 2" in found.evidence["diff"]
    assert "+    return value * 3" in found.evidence["diff"]
    assert "explained_lab:double changed since v1" in found.sentence


def test_a_changed_configuration_is_a_reason_of_its_own(lab: Lab) -> None:
    with lab.open() as session:
        session.materialize()
    with lab.open(step=2) as session:
        found = session.why("numbers", "a")
    assert (found.state, found.reason) == ("stale", "config_changed")
    assert found.evidence["recorded"] != found.evidence["current"]


def test_a_changed_input_is_named_to_partition_and_column(lab: Lab) -> None:
    with lab.open() as session:
        session.materialize()
    with lab.open(step=2) as session:
        session.materialize(["numbers"], "b")
        found = session.why("total", "b")
        untouched = session.why("total", "a")
    assert (found.state, found.reason) == ("stale", "input_changed")
    assert found.evidence["inputs"] == [
        {
            "parameter": "numbers",
            "asset": "numbers",
            "partitions": [{"partition": "b", "recorded": "v1", "current": "v2", "columns": ["y"]}],
        }
    ]
    assert found.sentence == "total[b] is stale: numbers[b] changed in y from v1 to v2."
    assert untouched.sentence == "total[a] is stale: numbers will be recomputed."


def test_a_blocked_partition_names_the_check_and_what_waits_names_the_gate(lab: Lab) -> None:
    with lab.open(step=60) as session:
        assert session.materialize().status == "blocked"
        found, below = session.why("numbers", "a"), session.why("total", "a")
    assert found.state == "blocked"
    assert [check["check"] for check in found.evidence["checks"]] == ["y_is_small"]
    assert "'y_is_small'" in found.sentence
    assert below.state == "blocked"
    assert below.sentence == "total[a] waits for numbers[a], which a quality gate holds back."
    assert below.evidence["lacking"] == ["numbers[a]"]


def test_a_failed_partition_shows_the_error_of_its_last_try(lab: Lab) -> None:
    lab.text = SOURCE.replace('int(numbers["y"].sum())', "1 // 0")
    with lab.open() as session:
        result = session.materialize(keep_going=True)
        found = session.why("total", "a")
    assert (found.state, found.reason) == ("failed", "failed")
    assert found.evidence["run_id"] == result.run_id
    assert "ZeroDivisionError" in found.sentence


def test_without_a_partition_the_first_one_in_need_is_explained(lab: Lab) -> None:
    with lab.open() as session:
        session.materialize()
        assert session.why("numbers").partition == "b"
    with lab.open(step=2) as session:
        assert session.why("numbers").partition == "a"


def test_a_state_database_made_anew_neither_repeats_nor_forgets_what_a_gate_blocked(lab: Lab) -> None:
    with lab.open(step=60) as session:
        session.materialize()
    for file in (lab.folder / "store").glob("state.db*"):
        file.unlink()
    with lab.open(step=60) as session:
        plan = session.plan()
        found = session.why("numbers", "a")
    assert plan.n_steps == 0
    assert (plan.n_blocked, plan.n_waiting) == (2, 2)
    assert [check["check"] for check in found.evidence["checks"]] == ["y_is_small"]
    with lab.open(step=2) as session:
        assert session.materialize().status == "succeeded"
    for file in (lab.folder / "store").glob("state.db*"):
        file.unlink()
    with lab.open(step=2) as session:
        assert session.plan().n_blocked == 0
