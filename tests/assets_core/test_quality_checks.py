"""Running user's checks, and the audit of a staged value."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pydantic import Field, create_model

from assets_core.definition.checks import AssetCheck, CheckResult, asset_check
from assets_core.definition.contract import Contract
from assets_core.definition.inputs import Input
from assets_core.errors import FormatError
from assets_core.quality.asset_checks import run_check
from assets_core.quality.audit import audit

Check = AssetCheck[..., Any]
STAGED = pa.table({"x": [1, 2, 3]})


def read(annotation: Any) -> Any:
    return STAGED if annotation is pa.Table else STAGED.to_pandas()


def load_input(key: str, annotation: Any) -> Any:
    return (key, annotation)


def made(function: Callable[..., Any], **settings: Any) -> Check:
    """A check as a project hands it over: the first parameter gets the value, the others assets of their names."""
    found: Check = asset_check(asset="a", **settings)(function)
    first, *rest = found.signature.parameters
    inputs = [Input(item.name, item.name, annotation=item.annotation) for item in rest]
    return found.resolved("a", first, inputs)


def outcome_of(result: Any, **settings: Any) -> Any:
    def rule(x: pd.DataFrame) -> Any:
        return result

    return run_check(made(rule, **settings), read, load_input)


@pytest.mark.parametrize(
    "value", [True, np.bool_(True), CheckResult(passed=True), CheckResult(passed=np.bool_(True))]
)  # type: ignore[arg-type]
def test_each_form_of_yes_passes(value: Any) -> None:
    assert outcome_of(value).status == "passed"


@pytest.mark.parametrize("value", [False, np.bool_(False), CheckResult(passed=False)])
def test_each_form_of_no_fails_and_blocks(value: Any) -> None:
    assert (outcome_of(value).status, outcome_of(value).is_blocking) == ("failed", True)


@pytest.mark.parametrize("settings", [{"severity": "warn"}, {"blocking": False}])
def test_a_check_that_does_not_block_warns(settings: dict[str, Any]) -> None:
    failed = outcome_of(False, **settings)
    assert (failed.status, failed.severity, failed.is_blocking) == ("warned", "warn", False)
    broken = outcome_of(None, **settings)
    assert (broken.status, broken.is_blocking) == ("error", False)


async def coroutine() -> bool:
    return True


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "returned None; is a return missing?"),
        (1, "returned a int"),
        (np.array([True, True]), "returned a ndarray"),
        (pd.NA, "returned a NAType"),
        (CheckResult(passed="yes"), "returned CheckResult(passed='yes')"),  # type: ignore[arg-type]
    ],
)
def test_any_other_answer_is_an_error_that_blocks(value: Any, said: str) -> None:
    outcome = outcome_of(value)
    assert (outcome.status, outcome.observed, outcome.is_blocking) == ("error", said, True)


def test_a_coroutine_is_an_error_and_leaves_no_warning() -> None:
    assert outcome_of(coroutine()).observed == "returned a coroutine"


class Strange(BaseException):
    def __str__(self) -> str:
        raise ValueError("no text")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ZeroDivisionError("by zero"), "raised ZeroDivisionError: by zero"),
        (SystemExit(3), "raised SystemExit: 3"),
        (AssertionError(), "raised AssertionError"),
        (Strange(), "raised Strange: (its text cannot be shown)"),
    ],
)
def test_whatever_a_check_raises_is_an_error_with_the_users_frames(error: BaseException, said: str) -> None:
    def inner() -> None:
        raise error

    def rule(x: pd.DataFrame) -> bool:
        inner()
        return True

    outcome = run_check(made(rule), read, load_input)
    lines = outcome.observed.splitlines()
    assert (outcome.status, lines[0]) == ("error", said)
    assert [line.rpartition(" ")[2] for line in lines[1:]] == ["rule", "inner"]
    assert all(__file__ in line for line in lines[1:])


def test_an_interrupt_from_the_keyboard_goes_through() -> None:
    def rule(x: pd.DataFrame) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_check(made(rule), read, load_input)


def test_a_value_that_cannot_be_read_is_not_the_checks_failure() -> None:
    def refuse(annotation: Any) -> Any:
        raise FormatError("no", "cannot be read", do="nothing")

    with pytest.raises(FormatError):
        run_check(made(lambda x: True, name="rule"), refuse, load_input)


def test_a_result_is_told_with_ten_plain_rows() -> None:
    result = CheckResult(
        passed=False,
        observed="2 late",
        expected="0 late",
        sample=[{"x": np.int64(1), "y": float("nan")}] * 12,
    )
    outcome = outcome_of(result)
    assert (outcome.observed, outcome.expected) == ("2 late", "0 late")
    assert outcome.sample == ({"x": 1, "y": "nan"},) * 10


def test_a_check_gets_the_value_and_other_assets_by_annotation() -> None:
    seen = []

    def rule(x: pa.Table, other: dict[str, int]) -> bool:
        seen.append((x, other))
        return True

    run_check(made(rule), read, load_input)
    assert seen == [(STAGED, ("other", dict[str, int]))]


def test_what_a_check_does_to_its_frame_is_seen_by_nobody() -> None:
    seen = []

    def spoil(x: pd.DataFrame) -> bool:
        x["x"] = 0
        x["extra"] = 1
        return True

    def look(x: pd.DataFrame) -> bool:
        seen.append(x.to_dict("list"))
        return True

    outcomes = audit(None, [made(spoil), made(look)], read, load_input)
    assert [item.status for item in outcomes] == ["passed", "passed"]
    assert seen == [{"x": [1, 2, 3]}]
    assert STAGED.to_pydict() == {"x": [1, 2, 3]}


def test_the_audit_tells_everything_contract_first() -> None:
    contract = Contract.from_model(create_model("Row", x=(int, Field(le=2))))
    outcomes = audit(
        contract, [made(lambda x: False, name="first"), made(lambda x: True, name="second")], read, load_input
    )
    assert [(item.check, item.status) for item in outcomes] == [
        ("contract:schema", "passed"),
        ("contract:x:not_null", "passed"),
        ("contract:x:le", "failed"),
        ("first", "failed"),
        ("second", "passed"),
    ]


def test_the_audit_reads_nothing_when_there_is_nothing_to_judge() -> None:
    def refuse(*_: Any) -> Any:
        raise AssertionError("read")

    assert audit(None, (), refuse, refuse) == ()
