"""What a project makes of declarations, and that it finds everything wrong with them at once."""

import types
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from assets_core.definition.asset import Asset, In, asset, external_asset
from assets_core.definition.checks import AssetCheck, asset_check
from assets_core.definition.contract import Table
from assets_core.definition.partitions.static import StaticPartitions
from assets_core.definition.resource import Resource
from assets_core.errors import DefinitionError, DefinitionErrors
from assets_core.project.project import Project
from io_managers.formats.registry import io_manager_name_for

if TYPE_CHECKING:
    from fractions import Fraction

REGIONS = StaticPartitions(["EWR", "JFK"])


def source(key: str, **options: Any) -> Asset:
    return asset(key=key, io_manager="json", **options)(lambda: 1)


def errors_of(assets: Iterable[Any], checks: Iterable[Any] = ()) -> list[DefinitionError]:
    try:
        Project(assets, checks)
    except DefinitionErrors as several:
        return list(several.errors)
    except DefinitionError as one:
        return [one]
    return []


def codes_of(assets: Iterable[Any], checks: Iterable[Any] = ()) -> list[str]:
    return [error.code for error in errors_of(assets, checks)]


@asset
def flights() -> list[int]:
    return [1]


@asset(key="mart/late")
def late(flights: list[int]) -> list[int]:
    return flights


@asset(key="mart/ranking", deps=["late"])
def ranking(flights: list[int]) -> list[int]:
    return flights


@asset_check(asset="late")
def not_empty(late: list[int]) -> bool:
    return bool(late)


def test_assets_are_sorted_by_key_and_ordered_in_the_graph() -> None:
    project = Project([ranking, late, flights])
    assert list(project.assets) == ["flights", "mart/late", "mart/ranking"]
    assert project.graph.order == ("flights", "mart/late", "mart/ranking")
    assert project.assets["flights"] == flights
    assert project.assets["mart/ranking"].deps == ("mart/late",)


def test_a_validated_asset_equals_the_declared_one_which_stays_as_it_was() -> None:
    @asset
    def top(late: list[int]) -> int:
        return 1

    project = Project([flights, late, top])
    assert project.assets["top"] == top
    assert project.assets["top"].inputs[0].asset == "mart/late"
    assert top.inputs[0].asset == "late"
    assert project.assets["top"]([1]) == 1


def test_the_mapping_of_assets_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        Project([flights]).assets["x"] = flights  # type: ignore[index]


def test_the_same_asset_may_come_several_times() -> None:
    project = Project([flights, flights])
    assert list(Project([flights, *project.assets.values()]).assets) == ["flights"]


def test_validating_validated_assets_again_changes_nothing() -> None:
    first = Project([flights, late, ranking], [not_empty])
    again = Project(first.assets.values())
    assert [item.inputs for item in again.assets.values()] == [item.inputs for item in first.assets.values()]
    assert again.checks_for("mart/late") == first.checks_for("mart/late")


def test_a_parameter_means_the_key_before_the_last_segment() -> None:
    @asset
    def user(x: int) -> int:
        return x

    assert Project([user, source("x"), source("raw/x")]).assets["user"].inputs[0].asset == "x"
    assert Project([user, source("raw/x")]).assets["user"].inputs[0].asset == "raw/x"


def test_an_asset_may_be_named_like_the_one_it_reads() -> None:
    @asset(key="staging/x")
    def x(x: int) -> int:
        return x

    assert Project([x, source("raw/x")]).assets["staging/x"].inputs[0].asset == "raw/x"


def test_an_ambiguous_parameter_names_the_candidates() -> None:
    @asset
    def user(x: int) -> int:
        return x

    (error,) = errors_of([user, source("b/x"), source("a/x")])
    assert error.code == "dependency-ambiguous"
    assert "a/x, b/x" in error.why
    assert codes_of([asset(ins={"x": "a/x"})(user.function), source("b/x"), source("a/x")]) == []  # type: ignore[arg-type]


def test_an_unknown_dependency_names_the_nearest() -> None:
    @asset(deps=["mart/lat"])
    def user(fligths: list[int]) -> int:
        return 1

    first, second = errors_of([user, flights, late])
    assert (first.code, second.code) == ("dependency-unknown", "dependency-unknown")
    assert "'fligths'" in first.what
    assert "flights" in first.why
    assert "mart/late" in second.why
    assert f"test_project.py:{user.source.line}" in first.what


def test_a_parameter_that_looks_like_a_resource_is_told_how_to_become_one() -> None:
    @asset
    def user(client: types.SimpleNamespace) -> int:
        return 1

    (error,) = errors_of([user])
    assert "assets_core.Resource" in error.do


def test_a_default_that_hides_an_asset_is_refused() -> None:
    @asset
    def user(flights: int = 3) -> int:
        return 1

    (error,) = errors_of([user, flights])
    assert error.code == "dependency-ambiguous"
    assert "default" in error.what


def test_two_assets_of_one_key_are_refused_with_both_places() -> None:
    first, second = source("x"), asset(key="x")(late.function)  # type: ignore[arg-type]
    errors = errors_of([second, first, flights])
    assert [error.code for error in errors] == ["key-duplicate"]
    assert {str(first.source), str(second.source)} == {
        errors[0].what.split("(")[1].split(")")[0],
        errors[0].why.split(" ")[0],
    }


def test_keys_that_differ_only_by_case_are_refused() -> None:
    assert codes_of([source("Raw"), source("raw")]) == ["key-clash"]


def test_an_asset_must_say_what_it_returns_or_who_stores_it() -> None:
    @asset
    def silent():  # type: ignore[no-untyped-def]
        return 1

    @asset
    def odd() -> types.SimpleNamespace:
        return types.SimpleNamespace()

    @asset
    def hidden() -> "Fraction":
        raise AssertionError

    assert codes_of([silent]) == ["annotation-bad"]
    assert codes_of([odd]) == ["annotation-bad"]
    assert codes_of([hidden]) == ["annotation-bad"]
    assert codes_of([asset(io_manager="json")(silent.function), source("x")]) == []  # type: ignore[arg-type]


def test_an_asset_that_reads_itself_is_refused() -> None:
    @asset(ins={"before": In("mine")}, key="mine")
    def mine(before: int) -> int:
        return before

    (error,) = errors_of([mine])
    assert error.code == "dependency-cycle"
    assert "itself" in error.what


def test_a_circle_is_refused_with_path_and_places() -> None:
    a = asset(key="a", deps=["b"], io_manager="json")(lambda: 1)
    b = asset(key="b", deps=["a"], io_manager="json")(lambda: 1)
    (error,) = errors_of([b, a])
    assert error.code == "dependency-cycle"
    assert "a -> b -> a" in error.what
    assert error.why.count("test_project.py:") == 2


class Refusing:
    """A mapping that can never be applied."""

    def problem(self, down: Any, up: Any) -> str | None:
        return f"{down.kind} does not fit {up.kind}"


def test_partitions_that_do_not_fit_are_refused_with_the_mappings_reason() -> None:
    @asset(partitions=REGIONS, ins={"x": In(partitions=Refusing())})  # type: ignore[arg-type]
    def user(x: int) -> int:
        return x

    (error,) = errors_of([user, source("x")])
    assert error.code == "partition-mismatch"
    assert "static does not fit none" in error.why


def test_partitions_of_different_kinds_need_a_mapping() -> None:
    other = StaticPartitions(["NORTH", "SOUTH"])
    up = source("x", partitions=other)

    @asset(partitions=REGIONS)
    def user(x: int) -> int:
        return x

    assert codes_of([user, up]) == ["partition-mismatch"]
    assert codes_of([user, source("x", partitions=REGIONS)]) == []
    assert codes_of([user, source("x")]) == []


def test_one_resource_name_is_one_class() -> None:
    class A(Resource):
        pass

    class B(Resource):
        pass

    @asset
    def one(db: A) -> int:
        return 1

    @asset
    def two(db: B) -> int:
        return 1

    (error,) = errors_of([one, two])
    assert error.code == "resource-clash"
    assert codes_of([one, asset(key="again")(one.function)]) == []  # type: ignore[arg-type]


def test_checks_belong_to_their_assets_listed_ones_first() -> None:
    @asset_check
    def positive(values: list[int]) -> bool:
        return True

    @asset_check(asset="flights", blocking=False)
    def known(flights: list[int], late: list[int]) -> bool:
        return True

    listing = asset(key="flights", checks=[positive])(flights.function)  # type: ignore[arg-type]
    project = Project([listing, late], [known, not_empty, known, positive])
    first, second = project.checks_for("flights")
    assert (first.name, first.asset, first.value.name if first.value else "") == (
        "positive",
        "flights",
        "values",
    )
    assert (second.name, second.value.name if second.value else "") == ("known", "flights")
    assert [(item.parameter, item.asset) for item in second.inputs] == [("late", "mart/late")]
    assert [check.name for check in project.checks_for("mart/late")] == ["not_empty"]
    assert project.checks_for("nothing") == ()


def test_one_listed_check_can_serve_several_assets() -> None:
    @asset_check
    def positive(values: int) -> bool:
        return True

    project = Project([source("a", checks=[positive]), source("b", checks=[positive])])
    assert [project.checks_for(key)[0].asset for key in "ab"] == ["a", "b"]


def check_of(function: Any, **options: Any) -> AssetCheck:
    made: AssetCheck = asset_check(**options)(function)
    return made


@pytest.mark.parametrize(
    ("check", "code"),
    [
        (check_of(lambda flights: True, asset="fligths", name="c"), "check-unknown-asset"),
        (check_of(lambda flights: True, name="c"), "check-unknown-asset"),
        (check_of(lambda rows: True, asset="flights", name="c"), "check-bad-signature"),
        (check_of(lambda: True, asset="flights", name="c"), "check-bad-signature"),
        (check_of(lambda flights, *a: True, asset="flights", name="c"), "check-bad-signature"),
        (check_of(lambda flights, nothing: True, asset="flights", name="c"), "dependency-unknown"),
        (lambda flights: True, "asset-check-wrong-type"),
    ],
)
def test_a_wrong_check_is_refused(check: Any, code: str) -> None:
    assert codes_of([flights], [check]) == [code]


def test_two_checks_of_one_name_are_refused() -> None:
    twin = check_of(lambda late: True, asset="late", name="not_empty")
    assert codes_of([flights, late], [not_empty, twin]) == ["check-duplicate"]
    other = check_of(lambda flights: True, asset="flights", name="not_empty")
    assert codes_of([flights, late], [not_empty, other]) == []


def test_what_is_no_asset_is_refused_with_the_decorator_it_lacks() -> None:
    def plain() -> int:
        return 1

    (error,) = errors_of([plain])
    assert error.code == "asset-wrong-type"
    assert "@asset" in error.do
    assert "plain" in error.what
    assert codes_of([not_empty, flights]) == ["asset-wrong-type"]


def test_all_errors_come_together_in_the_order_of_the_file() -> None:
    @asset(key="bad key")
    def one() -> int:
        return 1

    @asset
    def two(nothing: int) -> int:
        return 1

    @asset_check(asset="nowhere")
    def three(nowhere: int) -> bool:
        return True

    @asset(retries=2)  # type: ignore[call-overload]
    def four() -> int:
        return 1

    assert codes_of([four, two, one], [three]) == [
        "key-invalid",
        "dependency-unknown",
        "check-unknown-asset",
        "argument-bad",
    ]


def test_a_single_error_comes_as_itself() -> None:
    with pytest.raises(DefinitionError) as caught:
        Project([source("bad key")])
    assert type(caught.value) is DefinitionError
    assert caught.value.code == "key-invalid"


def test_every_error_names_a_place_and_what_to_do() -> None:
    @asset(ins={"no": "x"}, deps=["y"], timeout="?", checks=[check_of(lambda: True)])
    def bad(x: "Nope", config: int, *more: int):  # type: ignore[no-untyped-def, name-defined]  # noqa: F821
        return 1

    errors = errors_of([bad, source("A"), source("a")], [check_of(lambda z: 1, asset="bad", name="b c")])
    assert len(errors) >= 10
    for error in errors:
        assert "test_project.py:" in error.what
        assert error.why
        assert error.do
        assert len(str(error).splitlines()) <= 12


def test_an_empty_project_is_allowed() -> None:
    assert dict(Project().assets) == {}


def test_external_assets_are_read_like_others() -> None:
    @asset
    def user(orders: int) -> int:
        return orders

    project = Project([user, external_asset("raw/orders", path="orders.json")])
    assert project.graph.upstream["user"] == ("raw/orders",)


def test_from_module_takes_assets_and_checks_by_value() -> None:
    module = types.ModuleType("some_definitions")
    vars(module).update(a=flights, b=late, again=flights, check=not_empty, other=3, text="x")
    project = Project.from_module(module)
    assert list(project.assets) == ["flights", "mart/late"]
    assert [check.name for check in project.checks_for("mart/late")] == ["not_empty"]
    assert (project.name, project.reference) == ("some_definitions", "some_definitions")
    assert repr(project) == "<Project some_definitions: 2 assets>"


def test_a_project_has_the_name_it_is_given() -> None:
    assert Project([flights], name="air").name == "air"
    assert Project([flights]).name == __name__


def test_a_check_of_a_contract_reads_frames() -> None:
    class Row(BaseModel):
        n: int

    @asset
    def rows() -> Table[Row]:
        raise AssertionError

    @asset_check(asset="rows")
    def ok(rows: Table[Row], other: Table[Row]) -> bool:
        return True

    @asset
    def other() -> Table[Row]:
        raise AssertionError

    (check,) = Project([rows, other], [ok]).checks_for("rows")
    assert check.value is not None
    assert io_manager_name_for(check.value.annotation) == "parquet"
    assert io_manager_name_for(check.inputs[0].annotation) == "parquet"


def test_pieces_of_a_contract_are_refused_rather_than_left_unchecked() -> None:
    class Row(BaseModel):
        n: int

    @asset
    def rows() -> Iterator[Table[Row]]:
        raise AssertionError

    assert codes_of([rows]) == ["annotation-bad"]
