"""The rules of a contract on tables."""

import datetime as dt
import decimal
import enum
import json
import re
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, create_model, field_validator
from pydantic_core import PydanticCustomError

from assets_core.definition.check_outcome import CheckOutcome
from assets_core.definition.contract import Contract
from assets_core.quality.contract_checks import check_contract


def model_of(**fields: Any) -> Contract:
    return Contract.from_model(create_model("Row", **fields))


def check(contract: Contract, table: pa.Table | None = None, /, **columns: Any) -> dict[str, CheckOutcome]:
    """Outcomes by name without the prefix, on columns cast to the contract's types."""
    if table is None:
        schema = contract.arrow_schema
        table = pa.table(
            {name: pa.array(values, schema.field(name).type) for name, values in columns.items()}
        )
    outcomes = check_contract(contract, table)
    assert all(item.check.startswith("contract:") and item.severity == "error" for item in outcomes)
    json.dumps([item.sample for item in outcomes], allow_nan=False)
    return {item.check.removeprefix("contract:"): item for item in outcomes}


def failing(outcomes: dict[str, CheckOutcome]) -> list[str]:
    return [name for name, item in outcomes.items() if item.status == "failed"]


NAN = float("nan")
UTC = dt.UTC
CASES: list[tuple[Any, dict[str, Any], str, list[Any], list[Any]]] = [
    # annotation, field settings, rule, values that keep it, values that violate it
    (int, {"ge": 1}, "ge", [1, 2**63 - 1], [0]),
    (int, {"gt": 0}, "gt", [1], [0]),
    (float | None, {"le": 2}, "le", [2.0, None, NAN, -np.inf], [2.0000001, np.inf]),
    (float, {"lt": 2}, "lt", [1.9], [2.0]),
    (dt.date, {"ge": dt.date(2013, 1, 1)}, "ge", [dt.date(2013, 1, 1)], [dt.date(2012, 12, 31)]),
    (
        dt.datetime,
        {"lt": dt.datetime(2013, 1, 1)},
        "lt",
        [dt.datetime(2012, 1, 1)],
        [dt.datetime(2013, 1, 1)],
    ),
    (dt.timedelta, {"ge": dt.timedelta(0)}, "ge", [dt.timedelta(0)], [dt.timedelta(-1)]),
    (
        decimal.Decimal,
        {"gt": decimal.Decimal("0.1")},
        "gt",
        [decimal.Decimal("0.11")],
        [decimal.Decimal("0.1")],
    ),
    (int, {"multiple_of": 5}, "multiple_of", [0, -10, 15], [7, -1]),
    (float | None, {"multiple_of": 0.1}, "multiple_of", [0.3, 1e6, None, -0.7], [0.25]),
    (
        decimal.Decimal,
        {"multiple_of": decimal.Decimal("0.5")},
        "multiple_of",
        [decimal.Decimal("1.5")],
        [decimal.Decimal("0.7")],
    ),
    (str | None, {"min_length": 2}, "min_length", ["ab", "éé", None], ["a", ""]),
    (str, {"max_length": 2}, "max_length", ["éé"], ["abc"]),
    (bytes, {"max_length": 2}, "max_length", [b"ab"], [b"abc"]),
    (list[int], {"min_length": 1}, "min_length", [[1]], [[]]),
    (dict[str, int], {"max_length": 1}, "max_length", [[("a", 1)]], [[("a", 1), ("b", 2)]]),
    (str | None, {"pattern": "^[A-Z0-9]{2}$"}, "pattern", ["AA", "9E", None], ["AAA", "aa", "AA\n"]),
    (str, {"pattern": "b"}, "pattern", ["abc"], ["ac"]),
    (str, {"pattern": r"^\w+$"}, "pattern", ["é", "a"], ["-"]),
    (str, {"pattern": r"^\D$"}, "pattern", ["a"], ["٣"]),
    (Literal["a", "b"] | None, {}, "enum", ["a", None], ["c"]),
    (enum.Enum("Level", {"LOW": 1, "HIGH": 2}), {}, "enum", [1, 2], [3]),
    (FiniteFloat, {}, "finite", [1.0], [np.inf, -np.inf]),
    (int, {}, "not_null", [1], [None]),
    (float, {}, "not_null", [1.0], [None, NAN]),
    (int | None, {"json_schema_extra": {"unique": True}}, "unique", [1, 2, None, None], [3, 3]),
    (float | None, {"json_schema_extra": {"unique": True}}, "unique", [1.0, NAN, NAN], [3.0, 3.0]),
]


@pytest.mark.parametrize(("annotation", "settings", "rule", "kept", "violating"), CASES)
def test_a_rule_fails_exactly_for_the_values_that_violate_it(
    annotation: Any, settings: dict[str, Any], rule: str, kept: list[Any], violating: list[Any]
) -> None:
    contract = model_of(x=(annotation, Field(**settings)))
    assert check(contract, x=kept)[f"x:{rule}"].status == "passed"
    outcome = check(contract, x=[*kept, *violating])[f"x:{rule}"]
    assert outcome.status == "failed"
    n = len(kept) + len(violating)
    assert outcome.observed.startswith(f"{len(violating)} of {n} rows ")
    assert outcome.observed.endswith(f"; first in row {len(kept)}")
    assert len(outcome.sample) == len(violating)
    assert check(contract, x=violating)[f"x:{rule}"].observed.startswith(
        f"{len(violating)} of {len(violating)} rows (all)"
    )
    chunks = pa.table(
        {
            "x": pa.chunked_array(
                [pa.array([value], contract.arrow_schema.types[0]) for value in (*kept, *violating)]
            )
        }
    )
    assert check(contract, chunks)[f"x:{rule}"] == outcome


@pytest.mark.parametrize(("annotation", "settings", "rule", "kept", "violating"), CASES)
def test_every_rule_holds_for_no_rows(
    annotation: Any, settings: dict[str, Any], rule: str, kept: Any, violating: Any
) -> None:
    outcomes = check(model_of(x=(annotation, Field(**settings))), x=[])
    assert outcomes[f"x:{rule}"].status == "passed"
    assert outcomes[f"x:{rule}"].observed == "0 rows"


def test_an_outcome_tells_bounds_counts_and_rows() -> None:
    contract = model_of(carrier=(str, ...), delay=(float | None, Field(None, ge=-120, le=2000)))
    outcomes = check(contract, carrier=["AA", "UA", "B6"], delay=[2001.5, None, -121.0])
    assert outcomes["delay:le"] == CheckOutcome(
        "contract:delay:le",
        "failed",
        "error",
        "1 of 3 rows (33%); min -121.0, max 2001.5; first in row 0",
        "<= 2000",
        ({"delay": 2001.5, "carrier": "AA"},),
    )
    assert outcomes["delay:ge"].observed == "1 of 3 rows (33%); min -121.0, max 2001.5; first in row 2"
    assert outcomes["schema"].status == "passed"
    assert outcomes["carrier:not_null"].observed == "3 rows"
    assert failing(outcomes) == ["delay:ge", "delay:le"]


def test_a_sample_has_ten_rows_of_plain_short_values() -> None:
    class Wide(BaseModel):
        x: int = Field(ge=100)
        raw: bytes
        at: dt.datetime
        money: decimal.Decimal
        inner: dict[str, int]
        text: str

    row = [b"\x01", dt.datetime(2013, 1, 1), decimal.Decimal("1.5"), [("a", 1)], "x" * 999]
    columns = dict(zip(["raw", "at", "money", "inner", "text"], ([value] * 30 for value in row), strict=True))
    outcome = check(Contract.from_model(Wide), x=list(range(30)), **columns)["x:ge"]
    assert [item["x"] for item in outcome.sample] == list(range(10))
    assert outcome.sample[0]["raw"] == "0x01"
    assert outcome.sample[0]["at"] == "2013-01-01T00:00:00"
    assert len(str(outcome.sample[0]["text"])) == 200


class Stop(BaseModel):
    name: str = Field(pattern="^[a-z]+$")
    minutes: float | None = Field(ge=0)


def test_rules_hold_inside_of_nested_columns() -> None:
    class Trip(BaseModel):
        id: int
        first: Stop | None
        stops: list[Stop]
        tags: list[Annotated[str, Field(max_length=2)] | None]
        rates: dict[str, Annotated[float, Field(gt=0)]]

    good = {"id": 1, "first": None, "stops": [], "tags": ["a", None], "rates": [("a", 1.0)]}
    bad = {
        "id": 2,
        "first": {"name": "X", "minutes": 1.0},
        "stops": [
            {"name": "a", "minutes": -1.0},
            {"name": None, "minutes": -2.0},
            {"name": "b", "minutes": None},
        ],
        "tags": ["abc"],
        "rates": [("a", 0.0), ("b", 2.0)],
    }
    contract = Contract.from_model(Trip)
    outcomes = check(contract, pa.Table.from_pylist([good, bad, good], contract.arrow_schema))
    assert failing(outcomes) == [
        "first.name:pattern",
        "stops[].name:not_null",
        "stops[].minutes:ge",
        "tags[]:max_length",
        "rates[]:gt",
    ]
    assert (
        outcomes["stops[].minutes:ge"].observed == "2 of 3 values (67%); min -2.0, max -1.0; first in row 1"
    )
    assert [row["id"] for row in outcomes["stops[].minutes:ge"].sample] == [2]
    sliced = pa.Table.from_pylist([good, bad, good], contract.arrow_schema).slice(1)
    assert failing(check(contract, sliced)) == failing(outcomes)
    assert check(contract, sliced)["rates[]:gt"].observed.endswith("first in row 0")


def test_a_column_that_is_missing_or_of_another_type_fails_alone() -> None:
    contract = model_of(a=(int, Field(ge=1)), b=(str, ...), c=(int, Field(ge=1)))
    outcomes = check(contract, pa.table({"a": pa.array([0], pa.int32()), "c": pa.array([0])}))
    assert failing(outcomes) == ["a:type", "b:present", "c:ge"]
    assert (outcomes["a:type"].observed, outcomes["a:type"].expected) == ("int32", "int64")


def test_further_columns_fail_where_the_model_forbids_them() -> None:
    class Strict(BaseModel):
        model_config = ConfigDict(extra="forbid")
        a: int

    table = pa.table({"a": [1], "z": [1]})
    assert failing(check(Contract.from_model(Strict), table)) == ["z:extra"]
    assert failing(check(model_of(a=(int, ...)), table)) == []


def test_a_pattern_that_re2_cannot_read_is_searched_by_python() -> None:
    class Row(BaseModel):
        model_config = ConfigDict(regex_engine="python-re")
        x: str | None = Field(pattern=r"^(?!ab)\w+$")

    assert failing(check(Contract.from_model(Row), x=["cd", None])) == []
    assert check(Contract.from_model(Row), x=["ab", None, "ab"])["x:pattern"].observed.startswith(
        "2 of 3 rows"
    )


PATTERNS = [
    "^a",
    "b$",
    "^[a-c]+$",
    r"\d",
    r"^\w*$",
    "(?i)^AB",
    "a.c",
    "^(a|bb)*$",
    r"\.",
    "^$",
    r"\bé",
    "[^a]",
]


@given(st.sampled_from(PATTERNS), st.lists(st.text("abcéAB1.\n -٣", max_size=4), min_size=1, max_size=6))
def test_patterns_agree_with_pydantic(pattern: str, texts: list[str]) -> None:
    contract = CONTRACTS[pattern]
    wrong = 0
    for text in texts:
        try:
            contract.model(x=text)
        except ValidationError:
            wrong += 1
    outcome = check(contract, x=texts)["x:pattern"]
    assert outcome.observed.startswith(f"{wrong} of ") if wrong else outcome.status == "passed", (
        pattern,
        texts,
    )


CONTRACTS = {pattern: model_of(x=(str, Field(pattern=pattern))) for pattern in PATTERNS}
MULTIPLES = {factor: model_of(x=(float, Field(multiple_of=factor))) for factor in (0.1, 0.5, 3)}


@given(
    st.sampled_from(sorted(MULTIPLES)),
    st.floats(-1e6, 1e6) | st.integers(-(10**6), 10**6).map(lambda n: n / 10),
)
def test_multiples_agree_with_pydantic(factor: float, value: float) -> None:
    contract = MULTIPLES[factor]
    try:
        contract.model(x=value)
        status = "passed"
    except ValidationError:
        status = "failed"
    assert check(contract, x=[value])["x:multiple_of"].status == status


class Judged(BaseModel):
    start: int
    end: int = Field(ge=0)
    note: str | None = None

    @field_validator("note")
    @classmethod
    def no_shouting(cls, value: str | None) -> str | None:
        if value == "crash":
            raise RuntimeError("broken")
        if value == "own":
            raise PydanticCustomError("shouting", "do not shout")
        assert value is None or not value.isupper(), "do not shout"
        return value


def test_validators_of_the_model_judge_row_by_row() -> None:
    contract = Contract.from_model(Judged)
    kept = check(contract, start=[1], end=[2], note=["a"])
    assert kept["validators"].status == "passed"
    outcomes = check(contract, start=[1, 2, 3], end=[2, -1, 2], note=["a", "b", "LOUD"])
    assert failing(outcomes) == ["end:ge", "validators"]
    assert re.fullmatch(r"1 of 3 rows; .*do not shout; first in row 2", outcomes["validators"].observed)
    assert outcomes["validators"].sample == ({"note": "LOUD", "start": 3, "end": 2},)
    assert failing(check(contract, start=[1], end=[2], note=["own"])) == ["validators"]


def test_a_validator_that_raises_something_else_is_an_error_that_blocks() -> None:
    outcome = check(Contract.from_model(Judged), start=[1], end=[2], note=["crash"])["validators"]
    assert (outcome.status, outcome.is_blocking) == ("error", True)
    assert "RuntimeError: broken (row 0)" in outcome.observed
