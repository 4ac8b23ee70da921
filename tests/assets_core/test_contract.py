"""Reading a row model, and bringing tables into its schema."""

import datetime as dt
import decimal
import enum
import subprocess
import sys
import typing
import uuid
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Optional

import annotated_types
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    NaiveDatetime,
    PositiveInt,
    condecimal,
    constr,
    field_validator,
)

from assets_core.definition.contract import Contract, Table
from assets_core.definition.contract_casts import build_type
from assets_core.errors import DefinitionError


class Colour(enum.Enum):
    RED = "r"
    BLUE = "b"


class Place(BaseModel):
    name: str = Field(min_length=1)
    height: float | None = None


class Everything(BaseModel):
    """Each kind of column."""

    flag: bool
    n: int = Field(ge=1, description="how many")
    small: Annotated[int, pa.int32()]
    narrow: float = Field(json_schema_extra={"arrow_type": "float32"})
    x: float | None = Field(None, gt=-1.5, lt=2)
    positive: PositiveInt | None
    text: constr(pattern="^a", max_length=3)  # type: ignore[valid-type]
    raw: bytes
    day: dt.date
    clock: dt.time
    span: dt.timedelta
    at: dt.datetime
    naive: NaiveDatetime
    aware: AwareDatetime
    money: condecimal(max_digits=10, decimal_places=2)  # type: ignore[valid-type]
    any_decimal: decimal.Decimal
    id: uuid.UUID
    letter: Literal["a", "b", None]
    level: Literal[1, 2]
    colour: Colour
    tags: list[Annotated[str, Field(min_length=2)]] = Field(max_length=4)
    pair: tuple[int, ...]
    bag: Sequence[float]
    lookup: dict[str, int]
    place: Place
    places: list[Place] | None
    finite: FiniteFloat
    half: Annotated[float, annotated_types.MultipleOf(0.5)]
    key: int = Field(json_schema_extra={"unique": True})
    spaced: str = Field(alias="a name")


TYPES = {
    "flag": "bool",
    "n": "int64",
    "small": "int32",
    "narrow": "float",
    "x": "double",
    "positive": "int64",
    "text": "string",
    "raw": "binary",
    "day": "date32[day]",
    "clock": "time64[us]",
    "span": "duration[us]",
    "at": "timestamp[us]",
    "naive": "timestamp[us]",
    "aware": "timestamp[us, tz=UTC]",
    "money": "decimal128(10, 2)",
    "any_decimal": "decimal128(38, 18)",
    "id": "string",
    "letter": "string",
    "level": "int64",
    "colour": "string",
    "tags": "list<item: string>",
    "pair": "list<item: int64>",
    "bag": "list<item: double>",
    "lookup": "map<string, int64>",
    "place": "struct<name: string, height: double>",
    "places": "list<item: struct<name: string, height: double>>",
    "finite": "double",
    "half": "double",
    "key": "int64",
    "a name": "string",
}


def contract_of(annotation: Any) -> Contract:
    found = Contract.from_annotation(annotation)
    assert found is not None
    return found


def model_of(**fields: Any) -> Contract:
    from pydantic import create_model

    return Contract.from_model(create_model("Row", **fields))


EVERYTHING = contract_of(Table[Everything])  # type: ignore[misc]
RULES = {rule.name: rule for rule in EVERYTHING.fields}


def test_each_annotation_has_its_arrow_type() -> None:
    assert {rule.name: rule.type for rule in EVERYTHING.fields} == TYPES


@pytest.mark.parametrize("name", TYPES)
def test_the_text_of_a_type_is_what_arrow_calls_it(name: str) -> None:
    assert str(build_type(RULES[name])) == TYPES[name]
    assert EVERYTHING.arrow_schema.field(name).type == build_type(RULES[name])


def test_none_makes_a_column_nullable() -> None:
    assert [name for name, rule in RULES.items() if rule.nullable] == ["x", "positive", "letter", "places"]


def test_constraints_become_rules_wherever_they_are_written() -> None:
    assert (RULES["n"].ge, RULES["n"].description) == (1, "how many")
    assert (RULES["x"].gt, RULES["x"].lt, RULES["x"].required, RULES["x"].default) == (-1.5, 2, False, None)
    assert RULES["positive"].gt == 0
    assert (RULES["text"].pattern, RULES["text"].max_length) == ("^a", 3)
    assert RULES["letter"].enum == ("a", "b")
    assert RULES["level"].enum == (1, 2)
    assert RULES["colour"].enum == ("r", "b")
    assert (RULES["tags"].max_length, RULES["tags"].children[0].min_length) == (4, 2)
    assert RULES["place"].children[0].min_length == 1
    assert RULES["places"].children[0].children[0].min_length == 1
    assert RULES["finite"].is_finite
    assert RULES["half"].multiple_of == 0.5
    assert RULES["key"].unique
    assert RULES["a name"].field == "spaced"
    assert not EVERYTHING.has_validators


@pytest.mark.parametrize("annotation", [pd.DataFrame, pa.Table, None, dict[str, int], Any, "Table"])
def test_other_annotations_have_no_contract(annotation: Any) -> None:
    assert Contract.from_annotation(annotation) is None


def test_the_annotation_survives_strings_and_other_generics() -> None:
    def function(row: "Table[Place]") -> "dict[str, Table[Place]]":  # type: ignore[empty-body]
        ...

    hints = typing.get_type_hints(function, globals(), include_extras=True)
    assert contract_of(hints["row"]).model is Place
    assert contract_of(typing.get_args(hints["return"])[1]).model is Place
    assert contract_of(Annotated[Table[Place], "note"]).model is Place  # type: ignore[misc]


class Loop(BaseModel):
    inner: Optional["Loop"] = None


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (object, "Row.field is annotated object"),
        (int | str, "a column has one type"),
        (list[complex], r"Row.field\[\] is annotated complex"),
        (Literal["a", 1], "not of one type"),
        (Loop, "cannot contain itself"),
        (Annotated[int, pa.string()], "arrow_type is 'string'"),
        (Annotated[decimal.Decimal, Field(max_digits=90)], "no decimal of 90 digits"),
        (dict[int, str], "Row.field"),
    ],
)
def test_a_type_without_a_column_is_refused_with_model_and_field(annotation: Any, expected: str) -> None:
    from pydantic import create_model

    row = create_model("Row", __config__=ConfigDict(arbitrary_types_allowed=True), field=(annotation, ...))
    with pytest.raises(DefinitionError, match="contract-type-unknown") as caught:
        Contract.from_annotation(Table[row])  # type: ignore[valid-type]
    assert "Row.field" in caught.value.what
    assert caught.match(expected)


@pytest.mark.parametrize("annotation", [Table, Table[int], Table["Flight"]])  # type: ignore[misc,type-var,name-defined]
def test_a_table_of_something_else_is_refused(annotation: Any) -> None:
    with pytest.raises(DefinitionError, match=r"contract-model-bad(.|\n)*BaseModel"):
        Contract.from_annotation(annotation)


def test_the_text_for_code_versions_leaves_descriptions_out() -> None:
    def text(**settings: Any) -> str:
        return model_of(x=(int, Field(**settings))).schema_text()

    assert text(description="a") == text(description="b")
    assert text(ge=1) != text(ge=2)
    assert EVERYTHING.schema_text() == Contract.from_model(Everything).schema_text()
    assert model_of(x=(Place, ...)).to_dict()["columns"][0]["children"][0] == {
        "name": "name",
        "type": "string",
        "nullable": False,
        "min_length": 1,
    }


def test_validators_of_the_model_are_noticed_at_any_depth() -> None:
    class Checked(BaseModel):
        x: int

        @field_validator("x")
        @classmethod
        def even(cls, value: int) -> int:
            return value

    assert Contract.from_model(Checked).has_validators
    assert model_of(y=(list[Checked], ...)).has_validators
    assert model_of(y=(Annotated[int, AfterValidator(abs)], ...)).has_validators
    assert not model_of(y=(int, Field(strict=True))).has_validators


# conform


def conform(contract: Contract, **columns: Any) -> tuple[pa.Table, list[str]]:
    table, outcomes = contract.conform(pa.table(columns))
    assert all(outcome.is_blocking for outcome in outcomes)
    return table, [f"{outcome.check} {outcome.observed}" for outcome in outcomes]


AWARE = dt.datetime(2013, 1, 1, tzinfo=dt.UTC)
NAIVE = dt.datetime(2013, 1, 1)

KEPT = [
    (int, pa.array([1, None], pa.int8()), [1, None]),
    (int, pa.array([1.0, None, 2.0**53]), [1, None, 2**53]),
    (int, pa.array([1.0, float("nan")]), [1, None]),
    (Annotated[int, pa.int32()], pa.array([1, 2**31 - 1]), [1, 2**31 - 1]),
    (float, pa.array([1, 2**53]), [1.0, 2.0**53]),
    (float, pa.array([0.5], pa.float32()), [0.5]),
    (Annotated[float, pa.float32()], pa.array([0.5, None]), [0.5, None]),
    (str, pa.array(["a", None], pa.large_string()), ["a", None]),
    (str, pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
    (str, pa.nulls(2), [None, None]),
    (dt.datetime, pa.array([NAIVE], pa.timestamp("ns")), [NAIVE]),
    (dt.datetime, pa.array([NAIVE.date()]), [NAIVE]),
    (dt.date, pa.array([NAIVE], pa.timestamp("ns")), [NAIVE.date()]),
    (dt.date, pa.array([NAIVE.date()], pa.date64()), [NAIVE.date()]),
    (AwareDatetime, pa.array([AWARE], pa.timestamp("s", tz="America/New_York")), [AWARE]),
    (dt.timedelta, pa.array([dt.timedelta(1)], pa.duration("ns")), [dt.timedelta(1)]),
    (
        condecimal(max_digits=6, decimal_places=2),
        pa.array([0.1, 12.25]),
        [decimal.Decimal("0.10"), decimal.Decimal("12.25")],
    ),
    (condecimal(max_digits=6, decimal_places=2), pa.array([7]), [decimal.Decimal("7.00")]),
    (int, pa.array([decimal.Decimal("7.00")]), [7]),
    (list[int], pa.array([[1, 2], None], pa.large_list(pa.int16())), [[1, 2], None]),
    (bytes, pa.array([b"ab"], pa.binary(2)), [b"ab"]),
    (Place, pa.array([{"height": 3, "name": "a"}, None]), [{"name": "a", "height": 3.0}, None]),
    (Place, pa.array([{"name": "a"}]), [{"name": "a", "height": None}]),
    (dict[str, int], pa.array([{"a": 1, "b": None}, {"b": 2}]), [[("a", 1)], [("b", 2)]]),
    (dict[str, int], pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int32())), [[("a", 1)]]),
]


@pytest.mark.parametrize(("annotation", "given", "expected"), KEPT)
def test_a_cast_that_keeps_every_value_is_made(annotation: Any, given: Any, expected: list[Any]) -> None:
    contract = model_of(x=(annotation | None, None))
    table, failures = conform(contract, x=given)
    assert failures == []
    assert table.schema.field("x").type == contract.arrow_schema.field("x").type
    assert table.column("x").to_pylist() == expected


LOST = [
    (int, pa.array([1.5]), "double"),
    (int, pa.array([2.0**64]), "double"),
    (int, pa.array([float("inf")]), "double"),
    (int, pa.array(["1"]), "string: text does not become int"),
    (int, pa.array([True]), "bool does not become int"),
    (Annotated[int, pa.int32()], pa.array([2**31]), "not in range"),
    (float, pa.array([2**53 + 1]), "int64"),
    (float, pa.array(["1"]), "string"),
    (Annotated[float, pa.float32()], pa.array([0.1, 0.5]), "1 of 2 values would change, the first is 0.1"),
    (str, pa.array([1]), "int does not become text"),
    (str, pa.array([b"a"]), "binary does not become text"),
    (bool, pa.array([1]), "int does not become bool"),
    (dt.datetime, pa.array([AWARE]), "zone UTC"),
    (AwareDatetime, pa.array([NAIVE]), "no zone"),
    (AwareDatetime, pa.array([NAIVE.date()]), "zone"),
    (dt.date, pa.array([AWARE]), "zone"),
    (dt.date, pa.array([NAIVE + dt.timedelta(hours=1)]), "would change"),
    (dt.datetime, pa.array([1], pa.timestamp("ns")), "lose data"),
    (dt.datetime, pa.array(["2013-01-01"]), "text does not become timestamp"),
    (condecimal(max_digits=6, decimal_places=2), pa.array([0.125]), "double"),
    (condecimal(max_digits=4, decimal_places=2), pa.array([123]), "int64"),
    (list[int], pa.array([["1"]]), "text does not become int"),
    (list[int], pa.array([[1.0]]), "items of type double"),
    (list[int], pa.array([1]), "int does not become list"),
    (Place, pa.array([{"name": "a", "colour": 1}]), "further fields: colour"),
    (Place, pa.array([{"height": 1.0}]), "no field name"),
    (Place, pa.array([{"name": 1}]), "int does not become text"),
    (dict[str, int | None], pa.array([{"a": 1}]), "absent key"),
    (dict[str, int], pa.array([{"a": "1"}]), "text does not become int"),
]


@pytest.mark.parametrize(("annotation", "given", "expected"), LOST)
def test_a_cast_that_would_change_a_value_is_an_outcome_and_leaves_the_column(
    annotation: Any, given: Any, expected: str
) -> None:
    table, failures = conform(model_of(x=(annotation, ...), y=(int, ...)), x=given, y=[1] * len(given))
    assert [failure.partition(" ")[0] for failure in failures] == ["contract:x:type"]
    assert expected in failures[0]
    assert table.column("x").type == given.type


WHOLE = model_of(x=(int | None, ...))


@given(st.lists(st.one_of(st.none(), st.floats(), st.integers(-9, 9).map(float)), max_size=8))
def test_floats_become_whole_numbers_only_when_equal(values: list[float | None]) -> None:
    table, failures = conform(WHOLE, x=pa.array(values, pa.float64()))
    if not failures:
        wanted = [None if value is None or np.isnan(value) else value for value in values]
        assert table.column("x").to_pylist() == wanted
    else:
        kept = [value for value in values if value is not None and not np.isnan(value)]
        assert any(not value.is_integer() or abs(value) > 2**53 for value in kept)


def test_columns_come_in_the_order_of_the_model_then_the_others() -> None:
    table, failures = conform(model_of(a=(int, ...), b=(str, ...)), z=[1], b=["x"], y=[2], a=[3])
    assert (table.schema.names, failures) == (["a", "b", "z", "y"], [])


def test_a_table_that_fits_is_returned_as_it_is() -> None:
    table = pa.table({"a": [1], "z": [2]})
    assert model_of(a=(int, ...)).conform(table)[0] is table


def test_a_missing_column_fails_when_required_and_else_gets_its_default() -> None:
    contract = model_of(
        a=(int, ...), b=(int | None, None), c=(float, 1.5), d=(list[str], ["x"]), e=(int | None, ...)
    )
    table, failures = conform(contract, e=[1, 2])
    assert failures == ["contract:a:present no such column"]
    assert table.select(["b", "c", "d"]).to_pylist() == [{"b": None, "c": 1.5, "d": ["x"]}] * 2
    assert table.schema.field("b").type == pa.int64()


def test_extra_columns_follow_the_models_own_setting() -> None:
    class Strict(BaseModel):
        model_config = ConfigDict(extra="forbid")
        a: int

    _, failures = conform(Contract.from_model(Strict), a=[1], z=["x"])
    assert [failure.partition(" ")[0] for failure in failures] == ["contract:z:extra"]
    assert conform(model_of(a=(int, ...)), a=[1], z=["x"])[1] == []


def test_a_column_is_named_by_the_alias_and_by_the_field_where_the_model_says_so() -> None:
    class Named(BaseModel):
        model_config = ConfigDict(populate_by_name=True)
        a: int = Field(alias="A name")

    assert conform(Contract.from_model(Named), **{"A name": [1]})[0].schema.names == ["A name"]
    assert conform(Contract.from_model(Named), a=[1])[0].schema.names == ["A name"]
    assert conform(model_of(a=(int, Field(alias="A"))), a=[1])[1] == ["contract:A:present no such column"]


def test_two_columns_of_one_name_fail() -> None:
    table = pa.table([[1], [2]], names=["a", "a"])
    assert [item.check for item in model_of(a=(int, ...)).conform(table)[1]] == ["contract:a:present"]


def test_frames_of_pandas_and_polars_conform() -> None:
    contract = model_of(n=(int | None, ...), s=(str, ...), at=(dt.datetime, ...))
    frame = pd.DataFrame(
        {"n": [1, None], "s": ["a", "b"], "at": pd.to_datetime(["2013-01-01", "2013-01-02"])}
    )
    for table in (
        pa.Table.from_pandas(frame),
        pl.DataFrame({"at": [NAIVE], "s": ["a"], "n": [1]}).to_arrow(),
    ):
        found, outcomes = contract.conform(table)
        assert (found.schema.types, outcomes) == (contract.arrow_schema.types, [])


@pytest.mark.slow
def test_defining_a_contract_imports_no_frames() -> None:
    script = (
        "import sys\nfrom pydantic import BaseModel\nfrom assets_core.definition.contract import Contract, Table\n"
        "assert 'pydantic' in sys.modules\nclass M(BaseModel):\n    a: list[int]\n    b: float | None = None\n"
        "c = Contract.from_annotation(Table[M])\nc.schema_text(), c.to_dict()\n"
        "from assets_core.quality.audit import audit\nassert audit(None, (), print, print) == ()\n"
        "import assets_core.quality.contract_checks\n"
        "print(sorted({'numpy', 'pandas', 'pyarrow', 'polars'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
    light = "import sys, assets_core.definition.contract\nprint('pydantic' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", light], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
