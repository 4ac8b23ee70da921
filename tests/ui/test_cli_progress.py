"""What a run shows while it goes on, and at its end."""

import pytest

from assets_core.definition.partitions.base import UNPARTITIONED
from assets_core.engine.executor import CheckOutcome, StepError, StepLog, StepOutcome, StepStarted
from assets_core.engine.runner import StepFailure
from assets_core.planning.plan import Plan, PlannedGroup, PlannedStep
from assets_core.running import RunResult
from ui.cli.progress import LiveProgress, PlainProgress, StepCounter, format_step
from ui.cli.summary import print_run_summary

PLAN = Plan(
    (
        PlannedGroup("a", UNPARTITIONED.all(), "missing", ""),
        PlannedGroup("b", UNPARTITIONED.all(), "missing", ""),
    ),
    3,
)
A = PlannedStep("a", None, "missing", "never materialized")
B = PlannedStep("raw/b", "2024-01-01", "missing", "never materialized")
ERROR = StepError(
    "UserCodeError", "user-code", "UserCodeError[user-code]: b raised.\n  why: no.", "Traceback: line 3"
)


def test_each_step_that_ends_is_a_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    progress = PlainProgress()

    progress.run_started("r1", PLAN)
    progress.report(A, StepStarted(0, 1, 0.0, "inline"))
    progress.report(A, StepLog(0, 1, 0.0, "info", "hello"))
    progress.report(A, StepOutcome(0, 1, "unchanged", 0.012))
    progress.report(B, StepStarted(1, 1, 0.0, "inline"))
    progress.report(B, StepOutcome(1, 1, "failed", 0.5, error=ERROR))

    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "run r1: 2 steps",
        "a info: hello",
        "[1/2] a unchanged  12 ms",
        "[2/2] raw/b[2024-01-01] failed: UserCodeError[user-code]: b raised.",
    ]


def test_a_step_that_is_tried_again_counts_once_as_its_last_try_ended() -> None:
    counter = StepCounter()

    counter.started(0, "a")
    counter.ended(0, "failed")
    counter.started(0, "a")
    assert counter.done == 0
    assert counter.running == {0: "a"}
    counter.ended(0, "succeeded")

    assert counter.done == 1
    assert +counter.counts == {"succeeded": 1}


def test_a_later_attempt_is_named() -> None:
    assert format_step(A, StepOutcome(0, 2, "unchanged", 0.001)) == "a unchanged (attempt 2)  1 ms"


def test_nobody_watching_does_not_stop_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def write(self, _: str) -> None:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stderr", Gone())

    PlainProgress().run_started("r1", PLAN)


def test_the_bar_prints_what_ended_above_itself_and_goes_away(capsys: pytest.CaptureFixture[str]) -> None:
    progress = LiveProgress()

    progress.run_started("r1", PLAN)
    progress.report(A, StepStarted(0, 1, 0.0, "inline"))
    progress.report(A, StepOutcome(0, 1, "unchanged", 0.012))
    progress.close()
    progress.close()

    out, err = capsys.readouterr()
    assert out == ""
    assert "a unchanged  12 ms" in err


def test_a_run_without_steps_draws_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for progress in (LiveProgress(), PlainProgress()):
        progress.run_started("r1", Plan((), 3))
        progress.close()

    assert capsys.readouterr() == ("", "")


def test_the_summary_says_what_a_check_blocked_with_its_sample(capsys: pytest.CaptureFixture[str]) -> None:
    rows = tuple({"id": n, "amount": -n} for n in range(8))
    check = CheckOutcome("positive", "failed", "error", "8 of 10 rows", "0 rows", rows)
    passed = CheckOutcome("other", "passed", "error", "", "")
    failure = StepFailure("raw/b", "2024-01-01", "blocked", ERROR, (passed, check))
    steps = {"succeeded": 1, "unchanged": 0, "failed": 0, "blocked": 1}

    print_run_summary(RunResult("r1", "blocked", steps, 2.5, (failure,)), PLAN)

    lines = capsys.readouterr().out.splitlines()
    assert lines[:7] == [
        "blocked raw/b[2024-01-01]",
        "  check positive (error): failed",
        "    observed: 8 of 10 rows",
        "    expected: 0 rows",
        "    id  amount",
        "    0   0",
        "    1   -1",
    ]
    assert "    and 3 more rows in the sample" in lines
    assert "run r1 blocked in 2.5 s: 1 succeeded, 1 blocked" in lines
    assert any(line.startswith("next: assetline runs show r1") for line in lines)
    assert not any("other" in line for line in lines)


def test_the_summary_shows_a_failure_with_the_end_of_its_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    long = StepError("UserCodeError", "user-code", "it raised.", "\n".join(f"line {n}" for n in range(40)))

    print_run_summary(
        RunResult("r1", "failed", {"failed": 1}, 1.0, (StepFailure("a", "p", "failed", long),)), PLAN
    )

    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["failed a[p]", "  it raised."]
    assert "  line 39" in lines
    assert "  line 20" not in lines


def test_failures_that_are_alike_are_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    failures = tuple(StepFailure("a", f"p{n}", "failed", ERROR) for n in range(12))

    print_run_summary(RunResult("r1", "failed", {"failed": 12}, 1.0, failures), PLAN)

    out = capsys.readouterr().out
    assert out.count("b raised.") == 1
    assert "  likewise 11 more: p1, p2, p3 and 8 others\n" in out


def test_of_failures_that_differ_ten_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    failures = tuple(StepFailure(f"a{n}", None, "failed", ERROR) for n in range(12))

    print_run_summary(RunResult("r1", "failed", {"failed": 12}, 1.0, failures), PLAN)

    out = capsys.readouterr().out
    assert out.count("b raised.") == 10
    assert "and 2 more that did not succeed" in out


def test_the_summary_of_nothing_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    print_run_summary(RunResult("r1", "succeeded", {}, 0.1), Plan((), 3))

    assert capsys.readouterr().out == "nothing to do: 3 fresh.\n"
