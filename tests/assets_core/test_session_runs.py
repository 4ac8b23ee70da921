"""Runs on every executor: what ends how, what is tried again, what is recorded, and what functions are given."""

from __future__ import annotations

import datetime as dt
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from assets_core import (
    Environment,
    NotFoundError,
    PlanError,
    Project,
    Session,
    StorageError,
    asset,
    asset_check,
    load,
    materialize,
)
from assets_core.engine.executor import Report, StepOutcome, StepStarted
from assets_core.errors import ConfigError
from assets_core.planning.plan import Plan, PlannedStep
from assets_core.running import RunResult
from io_managers.versions.store import VersionStore
from tests.support.projects import open_session
from tests.support.run_project import project

EXECUTORS = ("inline", "threads", pytest.param("processes", marks=pytest.mark.slow))


@dataclass
class Runs:
    """A session on a folder, on one kind of executor."""

    session: Session
    executor: str
    notes: Path

    def __call__(self, *select: str, **options: Any) -> RunResult:
        return self.session.materialize(select, executor=self.executor, workers=2, **options)

    def noted(self, name: str) -> list[str]:
        path = self.notes / name
        return path.read_text().splitlines() if path.exists() else []

    def published(self, key: str) -> int:
        return len(self.session.history(key))


@pytest.fixture(autouse=True)
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    monkeypatch.setenv("ASSETLINE_TEST_NOTES", str(folder))
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Environment]:
    with Environment.ephemeral(tmp_path) as opened:
        yield opened


@pytest.fixture(params=EXECUTORS)
def runs(request: pytest.FixtureRequest, environment: Environment, notes: Path) -> Iterator[Runs]:
    with open_session(project, environment) as session:
        yield Runs(session, request.param, notes)


@pytest.fixture
def inline(environment: Environment, notes: Path) -> Iterator[Runs]:
    """For what does not depend on the executor."""
    with open_session(project, environment) as session:
        yield Runs(session, "inline", notes)


def counts(result: RunResult) -> dict[str, int]:
    return {state: count for state, count in result.steps.items() if count}


class Observer:
    def __init__(self) -> None:
        self.started: list[tuple[str, Plan]] = []
        self.reports: list[tuple[PlannedStep, Report]] = []
        self.finished: list[RunResult] = []

    def run_started(self, run_id: str, plan: Plan) -> None:
        self.started.append((run_id, plan))

    def report(self, step: PlannedStep, report: Report) -> None:
        self.reports.append((step, report))

    def run_finished(self, result: RunResult) -> None:
        self.finished.append(result)


def test_a_graph_runs_in_order_and_every_step_once(runs: Runs) -> None:
    result = runs("+report")

    assert counts(result) == {"succeeded": 8}
    calls = runs.noted("calls")
    assert Counter(calls) == Counter(dict.fromkeys(calls, 1))
    for letter in "abc":
        assert calls.index(f"numbers[{letter}]") < calls.index(f"doubled[{letter}]") < calls.index("total")
    assert runs.session.load("total") == sum(2 * (4 + ord(letter)) for letter in "abc")
    assert runs.session.load("report") == "done"


def test_what_is_recorded_adds_up(runs: Runs) -> None:
    observer = Observer()
    result = runs("+report", observer=observer)
    row = runs.session.run(result.run_id)
    steps = runs.session.steps(result.run_id)

    assert (row.status, row.n_steps, row.counts) == ("succeeded", 8, result.steps)
    assert row.ended_at is not None
    assert row.executor == runs.executor
    assert sorted(
        (step.asset, step.partition, step.state, step.attempt, step.reason) for step in steps
    ) == sorted(
        (planned.asset, planned.partition, "succeeded", 1, "missing")
        for planned in observer.started[0][1].steps()
    )
    assert observer.finished == [result]
    kinds = Counter(type(report) for _, report in observer.reports)
    assert (kinds[StepStarted], kinds[StepOutcome]) == (8, 8)
    assert all(step.duration_s > 0 for step in steps)


def test_a_second_run_does_nothing(runs: Runs) -> None:
    runs("+report")
    called = runs.noted("calls")
    result = runs("+report")

    assert counts(result) == {}
    assert (result.status, result.ok) == ("succeeded", True)
    assert runs.noted("calls") == called
    assert runs.published("numbers") == 3


def test_a_failed_try_is_repeated_after_growing_waits(runs: Runs) -> None:
    observer = Observer()
    result = runs("flaky", observer=observer)
    times = [float(line) for line in runs.noted("flaky")]
    (step,) = runs.session.steps(result.run_id)

    assert counts(result) == {"succeeded": 1}
    assert runs.session.load("flaky") == 3
    assert times[1] - times[0] >= 0.05
    assert times[2] - times[1] >= 0.1
    assert (step.state, step.attempt) == ("succeeded", 3)
    outcomes = [report for _, report in observer.reports if isinstance(report, StepOutcome)]
    assert [(outcome.attempt, outcome.state) for outcome in outcomes] == [
        (1, "failed"),
        (2, "failed"),
        (3, "succeeded"),
    ]


def test_tries_run_out_and_what_is_below_is_skipped(runs: Runs) -> None:
    result = runs("hopeless+")
    rows = {step.asset: step for step in runs.session.steps(result.run_id)}

    assert result.status == "failed"
    assert counts(result) == {"failed": 1, "skipped": 1}
    assert len(runs.noted("hopeless")) == 2
    (failure,) = result.failures
    assert failure.error is not None
    assert failure.error.code == "asset-raised"
    assert failure.error.traceback.endswith("ValueError: there is no hope\nand a second line\n")
    assert "run_project.py" in failure.error.traceback
    assert "assets_core" not in failure.error.traceback
    assert (rows["hopeless"].state, rows["hopeless"].attempt) == ("failed", 2)
    assert rows["after_hopeless"].state == "skipped"
    assert runs.published("hopeless") == 0
    assert [step.reason for step in runs.session.plan(["hopeless"]).steps()] == ["failed"]


def test_without_keep_going_the_first_failure_stops_the_run(inline: Runs) -> None:
    result = inline("half_broken+")

    assert counts(result) == {"failed": 1, "skipped": 5}
    assert inline.noted("half_broken") == ["a"]
    assert inline.published("half_broken") == 0


def test_keep_going_runs_all_that_does_not_need_the_failed(runs: Runs) -> None:
    result = runs("half_broken+", keep_going=True)

    assert result.status == "failed"
    assert counts(result) == {"failed": 1, "skipped": 1, "succeeded": 4}
    assert [(failure.asset, failure.partition) for failure in result.failures] == [("half_broken", "a")]
    assert runs.published("after_half") == 2


@pytest.mark.parametrize("executor", ["inline", "threads"])
def test_every_step_of_a_failed_run_is_recorded_as_it_ended(inline: Runs, executor: str) -> None:
    inline.executor = executor
    result = inline("half_broken+", "patient", "hopeless+")
    recorded = Counter(step.state for step in inline.session.steps(result.run_id))
    failed = Counter(failure.asset for failure in result.failures)

    assert recorded == Counter(counts(result))
    assert failed.total() == result.steps["failed"]
    assert result.duration_s < 30, "a step that waits for its next try holds a stopped run up"


MISDEEDS = {
    "exits": ("asset-called-exit", "the function of exits called sys.exit"),
    "recurses": ("asset-raised", "the function of recurses raised RecursionError"),
    "exhausts": ("asset-raised", "the function of exhausts raised MemoryError"),
    "returns_none": ("value-is-none", "returns_none cannot be stored: the function returned None"),
    "returns_none_as_json": (
        "value-is-none",
        "returns_none_as_json cannot be stored: the function returned None",
    ),
    "raises_strangely": ("asset-raised", "the function of raises_strangely raised Strange"),
    "broken_pieces": ("asset-raised", "the second piece is broken"),
    "hopeless": ("asset-raised", "the function of hopeless raised ValueError"),
    "stuck": ("step-timeout", "stuck took longer than its timeout of 0.3 s"),
}


def test_what_a_function_does_wrong_is_said_and_nothing_is_published(runs: Runs) -> None:
    result = runs(*MISDEEDS, "numbers", keep_going=True)
    errors = {failure.asset: failure.error for failure in result.failures}

    assert counts(result) == {"failed": len(MISDEEDS), "succeeded": 3}
    assert errors.keys() == MISDEEDS.keys()
    for key, (code, text) in MISDEEDS.items():
        error = errors[key]
        assert error is not None
        assert error.code == code
        assert text in error.message
        assert "\n  do: " in error.message
        assert runs.published(key) == 0
        assert runs.session.versions.head(key, None).seq == 0
        assert not list(runs.session.environment.storage.list(f"data/{key}"))


@pytest.mark.slow
def test_a_killed_worker_is_named_and_the_run_goes_on(environment: Environment, notes: Path) -> None:
    with open_session(project, environment) as session:
        runs = Runs(session, "processes", notes)
        result = runs("killed", "killed_once", "numbers", keep_going=True)

        assert counts(result) == {"failed": 1, "succeeded": 4}
        (failure,) = result.failures
        assert failure.asset == "killed"
        assert failure.error is not None
        assert failure.error.kind == "WorkerLostError"
        assert "SIGKILL" in failure.error.message
        assert runs.published("killed") == 0
        assert session.load("killed_once") == 1
        assert [step.reason for step in session.plan(["killed"]).steps()] == ["failed"]


def test_values_that_come_in_pieces_are_one_version(runs: Runs) -> None:
    runs("pieces")

    assert runs.session.load("pieces").to_pydict()["n"] == [0, 0, 1, 1, 2, 2]
    assert runs.session.history("pieces")[0].rows == 6


def test_a_context_says_what_is_computed(runs: Runs) -> None:
    result = runs("contexts", partitions="2024-03-31")

    assert runs.session.load("contexts", "2024-03-31") == {
        "asset": "contexts",
        "partition": "2024-03-31",
        "partitions": ["2024-03-31"],
        "start": "2024-03-31T00:00:00+01:00",
        "end": "2024-04-01T00:00:00+02:00",
        "run_id": result.run_id,
        "attempt": 1,
        "branch": "main",
        "config": None,
    }


def test_log_lines_reach_the_log_of_the_run_in_order(runs: Runs) -> None:
    before = dt.datetime.now(dt.UTC).timestamp()
    result = runs("talks")
    lines = runs.session.logs(result.run_id)
    logged = [(line["level"], line["message"]) for line in lines]

    assert logged[:2] == [("info", "one 1"), ("warning", "zwei äöü \ud83d")]
    assert sorted(logged[2:]) == (
        [("info", "to stdout"), ("warning", "to stderr")] if runs.executor == "processes" else []
    )
    assert {(line["asset"], line["partition"], line["attempt"]) for line in lines} == {("talks", None, 1)}
    assert all(before - 1 <= float(str(line["at"])) <= before + 60 for line in lines)


def test_the_log_of_a_run_holds_each_traceback(runs: Runs) -> None:
    result = runs("hopeless")
    lines = runs.session.logs(result.run_id)

    assert [(line["level"], line["attempt"]) for line in lines] == [("error", 1), ("error", 2)]
    assert all("ValueError: there is no hope\nand a second line" in str(line["message"]) for line in lines)


def test_a_silent_run_writes_no_log(inline: Runs) -> None:
    result = inline("numbers")

    assert inline.session.logs(result.run_id) == []
    assert not list(inline.session.environment.storage.list("runs/logs"))


def test_configuration_reaches_the_function_as_its_model(runs: Runs) -> None:
    runs("limited", config={"limited": {"top": "7"}})

    assert runs.session.load("limited") == {"top": 7, "label": "x", "same": True}


def test_only_a_changed_configuration_runs_again(inline: Runs) -> None:
    inline("limited", config={"limited": {"top": 7}})
    inline("limited", config={"limited": {"label": "x", "top": 7}})
    assert len(inline.noted("limited")) == 1

    assert [step.reason for step in inline.session.plan(["limited"]).steps()] == ["config_changed"]
    inline("limited", config={"limited": {"top": 8}})
    assert len(inline.noted("limited")) == 2


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"limited": {"topp": 1}}, "run-config-bad"),
        ({"limited": {"top": "many"}}, "run-config-bad"),
        ({"numbers": {"top": 1}}, "run-config-unknown-asset"),
        ({"limitd": {"top": 1}}, "run-config-unknown-asset"),
    ],
)
def test_wrong_configuration_is_refused_before_a_run_begins(
    inline: Runs, config: dict[str, dict[str, object]], code: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        inline("limited", config=config)

    assert caught.value.code == code
    assert inline.session.runs() == []


def test_a_resource_is_opened_once_a_worker_and_closed(runs: Runs) -> None:
    runs("through")
    noted = [line.split() for line in runs.noted("door")]
    workers = {pid for _, _, pid in noted}

    assert len(workers) == (1 if runs.executor != "processes" else len(workers))
    assert Counter((what, pid) for what, _, pid in noted) == Counter(
        {(what, pid): 1 for what in ("open", "close") for pid in workers}
    )
    assert (str(os.getpid()) in workers) == (runs.executor != "processes")


def with_resources(tmp_path: Path, **resources: dict[str, Any]) -> Environment:
    made = Environment.in_folder(tmp_path / "env", durability="os")
    made.settings.resources.update(resources)
    return made


def test_each_parameter_gets_the_resource_of_its_own_name(tmp_path: Path, notes: Path) -> None:
    made = with_resources(tmp_path, door={"name": "oak"}, back={"name": "steel"})
    with open_session(project, made) as session:
        session.materialize(["both"])
        assert session.load("both") == ["oak", "steel"]


def test_a_resource_that_cannot_be_opened_fails_the_step(tmp_path: Path, notes: Path) -> None:
    made = with_resources(tmp_path, door={"fails": "open"})
    with open_session(project, made) as session:
        result = session.materialize(["through"], "0")

    (failure,) = result.failures
    assert failure.error is not None
    assert failure.error.kind == "UserCodeError"
    assert "resource 'door'" in failure.error.message
    assert "the door is stuck" in failure.error.message
    assert "in open" in failure.error.traceback


def test_a_resource_that_does_not_close_does_not_undo_the_run(
    tmp_path: Path, notes: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = with_resources(tmp_path, door={"fails": "close"})
    with open_session(project, made) as session:
        result = session.materialize(["through"])

        assert counts(result) == {"succeeded": 8}
        assert session.run(result.run_id).status == "succeeded"
        assert "a resource did not close: OSError: the door does not close" in caplog.text
        assert not session.plan(["through"]).n_steps


def test_a_resource_with_wrong_settings_is_a_mistake_in_the_configuration(
    tmp_path: Path, notes: Path
) -> None:
    made = with_resources(tmp_path, door={"nme": "oak"})
    with open_session(project, made) as session:
        result = session.materialize(["through"], "0")

    (failure,) = result.failures
    assert failure.error is not None
    assert failure.error.code == "resource-config-bad"
    assert not failure.error.retryable


@pytest.mark.parametrize(
    ("case", "columns"),
    [
        ("good", {"id": [1, 2], "name": ["x", None]}),
        ("extra", {"id": [1], "name": ["x"], "more": [1.5]}),
        ("shuffled", {"id": [1], "name": ["x"]}),
        ("empty", {"id": [], "name": []}),
    ],
)
def test_a_table_is_published_in_the_shape_of_its_contract(
    inline: Runs, case: str, columns: dict[str, list[Any]]
) -> None:
    import pyarrow as pa

    assert inline("kept", partitions=case).status == "succeeded"
    table = inline.session.load("kept", case, as_type=pa.Table)
    assert table.to_pydict() == columns
    assert list(table.column_names) == list(columns)
    assert table.schema.field("id").type == pa.int64()


@pytest.mark.parametrize(
    ("case", "check", "text"),
    [
        ("lacking", "contract:id:present", "no such column"),
        ("mistyped", "contract:id:type", "text does not become int"),
        ("negative", "contract:id:ge", "2 of 3 rows"),
        ("nulls", "contract:id:not_null", "2 of 2 rows"),
    ],
)
def test_a_table_against_its_contract_is_blocked(inline: Runs, case: str, check: str, text: str) -> None:
    result = inline("kept", partitions=case)

    assert result.status == "blocked"
    assert counts(result) == {"blocked": 1}
    (failure,) = result.failures
    assert failure.error is not None
    assert failure.error.kind == "CheckFailedError"
    assert f"kept[{case}] was not published" in failure.error.message
    assert text in failure.error.message
    assert check in [outcome.check for outcome in failure.checks]
    assert inline.published("kept") == 0


@pytest.mark.parametrize("key", ["kept", "free"])
@pytest.mark.parametrize(
    ("case", "code", "text"),
    [("twice", "columns-duplicate", "more than one column named 'id'"), ("none", "value-is-none", "None")],
)
def test_a_value_that_is_no_table_fails_and_names_its_asset_partition(
    inline: Runs, key: str, case: str, code: str, text: str
) -> None:
    result = inline(key, partitions=case)

    assert counts(result) == {"failed": 1}
    (failure,) = result.failures
    assert failure.error is not None
    assert failure.error.code == code
    assert f"{key}[{case}]" in failure.error.message
    assert text in failure.error.message
    assert inline.published(key) == 0


@pytest.mark.parametrize("case", ["empty", "nulls"])
def test_without_a_contract_empty_and_all_null_tables_are_data(inline: Runs, case: str) -> None:
    import pyarrow as pa

    from tests.support.run_project import table_of

    assert inline("free", partitions=case).status == "succeeded"
    assert inline.session.load("free", case, as_type=pa.Table).equals(table_of(case))


@pytest.mark.parametrize(
    ("case", "text"),
    [
        ("fails", "check 'verdict' failed: False"),
        ("raises", "raised KeyError: 'no such column'"),
        ("none", "returned None"),
        ("exits", "raised SystemExit"),
        ("sampled", "check 'sampled' failed: 20 rows"),
    ],
)
def test_a_check_that_does_not_pass_blocks_whatever_it_did(inline: Runs, case: str, text: str) -> None:
    result = inline("judged", partitions=case)

    assert counts(result) == {"blocked": 1}
    (failure,) = result.failures
    assert failure.error is not None
    assert text in failure.error.message
    assert "nothing: there is no earlier version" in failure.error.message
    assert inline.published("judged") == 0


@pytest.mark.parametrize("case", ["passes", "warns", "mutates"])
def test_what_a_check_warns_of_or_does_to_its_frame_changes_nothing(inline: Runs, case: str) -> None:
    import pyarrow as pa

    assert inline("judged", partitions=case).status == "succeeded"
    assert inline.session.load("judged", case, as_type=pa.Table).to_pydict() == {"verdict": [case], "n": [1]}


def test_every_check_is_recorded_with_its_sample(inline: Runs) -> None:
    result = inline("judged", partitions="sampled")
    rows = {row.check: row for row in inline.session.state.check_results(result.run_id)}

    assert {name: row.status for name, row in rows.items()} == {
        "verdict": "passed",
        "sampled": "failed",
        "polite": "passed",
        "vandal": "passed",
    }
    assert rows["sampled"].sample == ({"verdict": "sampled", "n": 1},) * 10
    assert (rows["sampled"].observed, rows["sampled"].expected) == ("20 rows", "0 rows")
    result = inline("judged", partitions="warns")
    rows = {row.check: row for row in inline.session.state.check_results(result.run_id)}
    assert (rows["polite"].status, rows["polite"].severity) == ("warned", "warn")


def test_a_blocked_step_stops_only_what_is_below_it(inline: Runs) -> None:
    result = inline("judged+", "numbers")

    assert result.status == "blocked"
    assert counts(result) == {"succeeded": 6, "blocked": 5, "skipped": 1}


def test_an_unknown_executor_leaves_no_run(inline: Runs) -> None:
    with pytest.raises(ConfigError, match="'threads'"):
        inline.session.materialize(["numbers"], executor="thread")
    with pytest.raises(ConfigError, match="0 workers"):
        inline.session.materialize(["numbers"], executor="threads", workers=0)

    assert inline.session.runs() == []


def test_a_project_that_exists_only_here_cannot_run_in_processes(environment: Environment) -> None:
    from tests.support.projects import Node, World, build_project

    world = World()
    with open_session(build_project(world, {"a": Node()}), environment) as session:
        with pytest.raises(ConfigError) as caught:
            session.materialize(executor="processes")
        assert caught.value.code == "project-not-importable"
        assert "threads" in caught.value.do
        assert session.runs() == []
        assert not world.calls


def test_a_run_that_breaks_off_is_not_left_running(inline: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    class Breaking(Observer):
        def report(self, step: PlannedStep, report: Report) -> None:
            raise OSError("the terminal is gone")

    with pytest.raises(OSError, match="the terminal is gone"):
        inline("numbers", observer=Breaking())

    (row,) = inline.session.runs()
    assert row.status == "failed"
    assert row.ended_at is not None
    assert counts(inline("numbers"))["succeeded"] >= 2
    assert not inline.session.plan(["numbers"]).n_steps


def test_an_input_that_is_nowhere_is_refused_before_a_run_begins(inline: Runs) -> None:
    with pytest.raises(PlanError) as caught:
        inline("doubled")

    assert caught.value.code == "input-not-materialized"
    assert "doubled[a]" in caught.value.what
    assert "numbers[a]" in caught.value.what
    assert "+doubled" in caught.value.do
    assert inline.session.runs() == []


def test_a_try_whose_outcome_is_unknown_counts_by_what_the_log_says(
    inline: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = VersionStore.publish

    def lose_the_answer(self: VersionStore, *arguments: Any) -> Any:
        publish(self, *arguments)
        raise StorageError("outcome-unknown", "the answer was lost.", do="run again.", retryable=True)

    with monkeypatch.context() as patch:
        patch.setattr(VersionStore, "publish", lose_the_answer)
        assert counts(inline("report")) == {"succeeded": 1}

    assert inline.session.versions.head("report", None).seq == 1
    assert counts(inline("report")) == {}
    assert inline.session.load("report") == "done"
    assert inline.noted("calls") == ["report"]
    assert inline.published("report") == 1


def test_a_check_that_reads_what_is_not_there_says_so(environment: Environment) -> None:
    @asset
    def other() -> dict:
        return {}

    @asset
    def judged_with() -> dict:
        return {}

    @asset_check(asset="judged_with")
    def compare(judged_with: dict, other: dict) -> bool:
        return judged_with == other

    with open_session(Project(assets=[other, judged_with], checks=[compare]), environment) as session:
        (failure,) = session.materialize(["judged_with"]).failures
        assert failure.error is not None
        assert failure.error.code == "check-input-missing"
        assert "reads other" in failure.error.message
        session.materialize(["other"])
        assert session.materialize(["judged_with"]).status == "succeeded"


def test_reading_opens_nothing_for_writing(tmp_path: Path) -> None:
    folder = tmp_path / "nothing"
    with Session.open(project, Environment.in_folder(folder), read_only=True) as session:
        assert session.plan(["numbers"]).n_steps == 3
        assert session.status(["numbers"])[0].missing == 3
        assert session.runs() == []

    assert not folder.exists()


def test_the_faces_in_python_do_what_the_session_does(environment: Environment, notes: Path) -> None:
    result = materialize(project, "+total", env=environment)

    assert (result.status, result.steps["succeeded"]) == ("succeeded", 7)
    assert load("total", project=project, env=environment) == sum(2 * (4 + ord(letter)) for letter in "abc")
    assert load("numbers", "b", project=project, env=environment) == [4, ord("b")]
    assert materialize(project, ["total"], env=environment, force=True).steps["succeeded"] == 1
    with pytest.raises(NotFoundError, match="'main' only"):
        materialize(project, env=environment, branch="other")
