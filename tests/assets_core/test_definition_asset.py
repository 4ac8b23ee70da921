"""What `@asset` makes of a function, and what it finds wrong with it."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from assets_core.definition.asset import Asset, In, asset, external_asset
from assets_core.definition.checks import asset_check
from assets_core.definition.context import Context
from assets_core.definition.contract import Table
from assets_core.definition.partitions.base import UNPARTITIONED
from assets_core.definition.policies import NO_RETRY, Freshness, Retry
from assets_core.definition.resource import Resource
from assets_core.errors import DefinitionError
from io_managers.formats.registry import io_manager_name_for

if TYPE_CHECKING:
    from decimal import Decimal


class Settings(BaseModel):
    limit: int = 3


class Api(Resource):
    url: str = ""


def codes(item: Asset) -> list[str]:
    return [error.code for error in item.problems]


def test_bare_decorator_takes_key_and_description_from_the_function() -> None:
    @asset
    def flights() -> int:
        """Departures.

        By day.
        """
        return 4

    assert (flights.key, flights.kind, flights.description) == ("flights", "python", "Departures.\n\nBy day.")
    assert flights.partition_space is UNPARTITIONED
    assert flights.retries is NO_RETRY
    assert flights.problems == ()


def test_an_asset_is_called_as_the_plain_function() -> None:
    @asset(key="raw/sum")
    def total(left: int, right: int = 2) -> int:
        return left + right

    assert total(1) == 3
    assert total(1, right=5) == 6
    assert total.function is not None
    assert total.function(4) == 6


def test_options_are_kept_as_given() -> None:
    retry, fresh = Retry(2), Freshness("1h")
    made = asset(
        key="a/b",
        group="g",
        tags={"tier": "1"},
        owner="me",
        retries=retry,
        timeout="2m",
        freshness=fresh,
        io_manager="json",
        code_version="7",
        distributions=["numpy"],
        description="text",
        deps=["raw/x"],
    )(lambda: 1)
    assert (made.key, made.group, dict(made.tags), made.owner) == ("a/b", "g", {"tier": "1"}, "me")
    assert (made.retries, made.timeout_s, made.freshness, made.io_manager) == (retry, 120.0, fresh, "json")
    assert (made.code_version, made.distributions, made.description) == ("7", ("numpy",), "text")
    assert (made.deps, made.problems) == (("raw/x",), ())


def test_an_asset_cannot_be_changed() -> None:
    made = asset(lambda: 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.key = "other"  # type: ignore[misc]


def test_two_declarations_are_different_assets_even_of_one_function() -> None:
    def f() -> int:
        return 1

    first, second = asset(f), asset(f)
    assert first == first
    assert first != second
    assert {first: 1}[first.resolved((), (), ())] == 1
    assert repr(first) == "<Asset f>"


def test_source_is_the_line_where_the_decorated_function_begins() -> None:
    @asset(key="x")
    def f() -> int:
        return 1

    def g() -> int:
        return 1

    assert f.function is not None
    assert (f.source.file, f.source.line) == (__file__, f.function.__code__.co_firstlineno)  # type: ignore[attr-defined]
    assert asset(g).source.line == g.__code__.co_firstlineno
    assert external_asset("e", path="e.json").source.file == __file__


def test_source_is_shown_relative_to_the_working_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    source = dataclasses.replace(asset(lambda: 1)).source._replace(file=f"{tmp_path}/pkg/a.py", line=4)
    assert str(source) == f"{tmp_path}/pkg/a.py:4"
    monkeypatch.chdir(tmp_path)
    assert str(source) == "pkg/a.py:4"


def test_parameters_get_their_roles_from_their_annotations() -> None:
    @asset(ins={"renamed": "raw/orders", "wide": In("raw/w", missing="skip", columns=["a", "b"])})
    def mart(
        orders: list[int],
        renamed: int,
        wide: int,
        me: Context,
        api: Api,
        config: Settings,
        threshold: int = 15,
        maybe: Context | None = None,
    ) -> int:
        return 0

    assert [(item.parameter, item.asset) for item in mart.inputs] == [
        ("orders", "orders"),
        ("renamed", "raw/orders"),
        ("wide", "raw/w"),
    ]
    assert mart.inputs[0].annotation == list[int]
    assert (mart.inputs[2].missing, mart.inputs[2].columns) == ("skip", ("a", "b"))
    assert (mart.context_parameter, mart.has_context) == ("me", True)
    assert mart.config_model is Settings
    assert dict(mart.resources) == {"api": Api}
    assert mart.constants == ("threshold",)
    assert codes(mart) == ["parameter-unsupported"]  # two contexts


def test_a_default_is_no_dependency_unless_ins_names_it() -> None:
    def f(a: int = 1, b: int = 2) -> int:
        return a + b

    assert asset(f).inputs == ()
    assert [item.asset for item in asset(ins={"b": "x"})(f).inputs] == ["x"]


def test_optional_context_config_and_resource_are_recognised() -> None:
    @asset
    def f(context: Context | None = None, config: Settings | None = None, api: Api | None = None) -> int:
        return 1

    assert (f.context_parameter, f.config_model, dict(f.resources)) == ("context", Settings, {"api": Api})


@pytest.mark.parametrize("annotation", [int, dict, None])
def test_a_config_parameter_without_a_model_is_a_problem(annotation: Any) -> None:
    def f(config: Any) -> int:
        return 1

    f.__annotations__["config"] = annotation
    assert codes(asset(f)) == ["config-model-bad"]


def test_ins_accepts_assets_and_can_name_an_asset_config() -> None:
    source = external_asset("raw/config", path="c.json")

    @asset(ins={"config": source}, deps=[source, "other"])
    def f(config: dict[str, int]) -> int:
        return 1

    assert [item.asset for item in f.inputs] == ["raw/config"]
    assert f.deps == ("raw/config", "other")
    assert f.problems == ()


def test_ins_for_no_parameter_is_a_problem_with_the_nearest_name() -> None:
    @asset(ins={"fligths": "raw/flights"})
    def f(flights: int) -> int:
        return 1

    assert codes(f) == ["ins-unknown-parameter"]
    assert "'flights'" in f.problems[0].why


def test_annotations_as_text_are_resolved_late() -> None:
    @asset
    def f(x: "list[LaterDefined]", context: "Context") -> "LaterDefined":  # type: ignore[empty-body]
        ...

    assert f.inputs[0].annotation == list[LaterDefined]
    assert (f.output, f.has_context) == (LaterDefined, True)


class LaterDefined:
    pass


def test_nested_functions_find_the_names_around_them() -> None:
    class Local(BaseModel):
        n: int = 0

    def build() -> Asset:
        @asset
        def f(config: "Local") -> "list[Local]":
            return [config]

        return f

    Local.__module__ = "gone"

    @asset
    def g(config: "Local") -> "list[Local]":
        return [config]

    assert g.config_model is Local
    assert g.output == list[Local]
    assert codes(build()) == ["annotation-bad", "annotation-bad", "config-model-bad"]


def test_a_name_imported_for_type_checking_only_is_a_problem_not_a_crash() -> None:
    @asset
    def f(price: "Decimal") -> "Decimal":
        return price

    assert codes(f) == ["annotation-bad", "annotation-bad"]
    assert "parameter 'price' as 'Decimal'" in f.problems[0].what
    assert "TYPE_CHECKING" in f.problems[0].do
    assert __file__.rpartition("/")[2] in f.problems[0].what
    assert f(3) == 3  # type: ignore[arg-type, comparison-overlap]


def test_an_annotation_that_is_no_type_is_a_problem() -> None:
    @asset
    def f(x: "1 +") -> int:  # type: ignore[syntax]  # noqa: F722
        return 1

    assert codes(f) == ["annotation-bad"]


async def coroutine() -> int:
    return 1


async def async_generator() -> Any:
    yield 1


class Holder:
    def method(self, x: int) -> int:
        return x

    def __call__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (coroutine, "async"),
        (async_generator, "async"),
        (Holder.method, "method"),
        (Holder().method, "method"),
        (Holder(), "Holder"),
        (len, "builtin"),
    ],
)
def test_what_is_no_plain_function_is_a_problem(function: Callable[..., Any], says: str) -> None:
    made = asset(key="a")(function)
    assert codes(made) == ["function-unsupported"]
    assert says in made.problems[0].what


def test_star_parameters_are_problems() -> None:
    @asset
    def f(*rows: int, **others: int) -> int:
        return 1

    assert codes(f) == ["parameter-unsupported", "parameter-unsupported"]
    assert "*rows" in f.problems[0].what
    assert "**others" in f.problems[1].what


def test_a_generator_function_is_an_asset() -> None:
    @asset
    def f() -> Iterator[bytes]:
        yield b""

    assert (f.problems, f.output) == ((), Iterator[bytes])


def test_positional_only_parameters_are_inputs_and_can_be_invoked_by_name() -> None:
    @asset
    def f(a: str, /, b: str, *, c: str) -> str:
        return a + b + c

    assert [item.parameter for item in f.inputs] == ["a", "b", "c"]
    assert f.invoke({"c": "3", "a": "1", "b": "2"}) == "123"


def test_a_partial_leaves_out_what_it_fixes() -> None:
    def f(orders: int, region: str, day: str) -> int:
        return 1

    made = asset(key="east")(functools.partial(f, region="east"))
    assert made.source.line == f.__code__.co_firstlineno
    assert [item.parameter for item in made.inputs] == ["orders", "day"]
    assert codes(asset(functools.partial(f, region="x"))) == ["key-invalid"]


def test_a_wrapped_function_keeps_its_signature_and_place() -> None:
    def f(orders: int) -> int:
        return orders

    @functools.wraps(f)
    def wrapper(*args: Any, **kwargs: Any) -> int:
        return f(*args, **kwargs)

    made = asset(wrapper)
    assert (made.key, [item.parameter for item in made.inputs]) == ("f", ["orders"])
    assert (made.problems, made.source.line) == ((), f.__code__.co_firstlineno)


def test_a_lambda_needs_a_key() -> None:
    assert codes(asset(lambda: 1)) == ["key-invalid"]
    assert codes(asset(key="one")(lambda: 1)) == []


@pytest.mark.parametrize("key", ["", "a b", "/a", "a//b", "a/", "ä", "x" * 201])
def test_an_invalid_key_is_a_problem_not_a_crash(key: str) -> None:
    assert codes(asset(key=key)(lambda: 1)) == ["key-invalid"]


@pytest.mark.parametrize(
    "option",
    [
        {"retries": 3},
        {"timeout": "five"},
        {"timeout": -1},
        {"freshness": "1h"},
        {"partitions": ["a"]},
        {"checks": [lambda x: True]},
        {"tags": {"a": 1}},
        {"tags": ["a"]},
        {"group": 1},
        {"owner": 1},
        {"code_version": 3},
        {"ins": {"a": In(missing="ignore")}},  # type: ignore[arg-type]
    ],
)
def test_an_argument_of_the_wrong_type_is_a_problem_that_names_the_value(option: dict[str, Any]) -> None:
    @asset(**option)
    def f(a: int) -> int:
        return a

    assert codes(f) == ["argument-bad"]
    assert f.problems[0].do


@pytest.mark.parametrize("thing", ["flights", 3, int, asset(lambda: 1)])
def test_decorating_no_function_is_refused_at_once(thing: Any) -> None:
    with pytest.raises(DefinitionError, match="asset-misuse"):
        asset(thing)


def test_every_problem_says_where_and_what_to_do() -> None:
    @asset(ins={"no": "x"}, retries=1)  # type: ignore[arg-type]
    def f(config: int, *a: int) -> "Missing":  # type: ignore[name-defined]  # noqa: F821
        return 1

    assert len(f.problems) == 5
    for error in f.problems:
        assert f"test_definition_asset.py:{f.source.line}" in error.what
        assert error.why
        assert error.do


def test_external_asset_has_a_path_and_the_io_manager_of_its_suffix() -> None:
    made = external_asset("raw/x", path="s3://in/x.PARQUET", group="raw", description="d")
    assert (made.kind, made.function, made.path, made.io_manager) == (
        "external",
        None,
        "s3://in/x.PARQUET",
        "parquet",
    )
    assert (made.inputs, made.group, made.description, made.problems) == ((), "raw", "d", ())
    assert made.contract is None


def test_external_asset_of_unknown_format_needs_an_io_manager() -> None:
    assert codes(external_asset("x", path="x.xyz")) == ["external-format-unknown"]
    assert codes(external_asset("x", path="x.xyz", io_manager="bytes")) == []


def test_partitioned_external_asset_needs_the_partition_in_its_path() -> None:
    assert codes(external_asset("x", path="{partition}.json")) == ["external-path-bad"]
    assert codes(external_asset("x", path="x.json", partitions=UNPARTITIONED)) == ["external-path-bad"]
    assert codes(external_asset("x", path="{partition}.json", partitions=UNPARTITIONED)) == []


def test_calling_an_external_asset_says_how_to_read_it() -> None:
    with pytest.raises(DefinitionError, match="load\\('x'\\)"):
        external_asset("x", path="x.json")()


def test_checks_can_be_listed() -> None:
    @asset_check
    def ok(value: int) -> bool:
        return True

    assert asset(checks=[ok])(lambda: 1).checks == (ok,)


class Row(BaseModel):
    n: int


def test_table_of_a_model_is_a_contract_stored_and_read_as_a_frame() -> None:
    @asset
    def rows(
        one: Table[Row], each: Iterator[Table[Row]], by_key: dict[str, Table[Row]], maybe: Table[Row] | None
    ) -> Table[Row]:
        raise AssertionError

    assert rows.contract is not None
    assert rows.contract.model is Row
    assert io_manager_name_for(rows.output) == "parquet"
    kinds = [item.annotation for item in rows.inputs]
    assert io_manager_name_for(kinds[0]) == "parquet"
    assert kinds[1:] == [Iterator[kinds[0]], dict[str, kinds[0]], kinds[0] | None]
    assert rows.problems == ()


def test_a_bad_contract_is_a_problem() -> None:
    @asset
    def bare() -> Table:  # type: ignore[type-arg]
        raise AssertionError

    @asset
    def number() -> Table[int]:  # type: ignore[type-var]
        raise AssertionError

    assert codes(bare) == codes(number) == ["contract-model-bad"]
    assert bare.contract is None
