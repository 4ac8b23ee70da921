"""`@asset_check`, contexts and resources."""

import pickle
from typing import Any

import pytest
from pydantic import SecretStr

from assets_core.definition.asset import asset, external_asset
from assets_core.definition.checks import AssetCheck, CheckResult, asset_check
from assets_core.definition.context import Context
from assets_core.definition.resource import Resource
from assets_core.errors import ConfigError, DefinitionError


def codes(check: AssetCheck) -> list[str]:
    return [error.code for error in check.problems]


def test_a_check_stays_a_plain_callable() -> None:
    @asset_check(asset="orders", severity="warn", name="few")
    def is_few(orders: list[int]) -> bool:
        return len(orders) < 3

    assert is_few([1]) is True
    assert (is_few.name, is_few.asset, is_few.severity, is_few.blocking) == ("few", "orders", "warn", True)
    assert is_few.problems == ()


def test_a_check_blocks_unless_it_is_told_not_to_or_only_warns() -> None:
    assert asset_check(asset="a")(lambda a: True).is_blocking
    assert not asset_check(asset="a", severity="warn")(lambda a: True).is_blocking
    assert not asset_check(asset="a", blocking=False)(lambda a: True).is_blocking


def test_a_check_names_its_asset_by_key_or_object() -> None:
    source = external_asset("raw/x", path="x.json")
    assert asset_check(asset=source)(lambda x: True).asset == "raw/x"


@pytest.mark.parametrize(
    ("check", "code"),
    [
        (asset_check(asset="a", severity="fatal")(lambda a: True), "argument-bad"),  # type: ignore[call-overload]
        (asset_check(asset="a", name="no spaces")(lambda a: True), "check-name-invalid"),
        (asset_check(asset="a", name="x")(len), "check-bad-signature"),
    ],
)
def test_what_is_wrong_with_a_check_is_kept_as_a_problem(check: AssetCheck, code: str) -> None:
    assert code in codes(check)
    assert "test_definition_checks.py:" in check.problems[0].what


def test_a_check_that_returns_something_else_is_a_problem() -> None:
    @asset_check(asset="a")
    def number(a: int) -> int:
        return a

    @asset_check(asset="a")
    def maybe(a: int) -> "bool | CheckResult":
        return True

    assert codes(number) == ["check-bad-signature"]
    assert codes(maybe) == []


@pytest.mark.parametrize("thing", ["orders", int, asset_check(lambda a: True)])
def test_decorating_no_function_is_refused_at_once(thing: Any) -> None:
    with pytest.raises(DefinitionError, match="check-misuse"):
        asset_check(asset="a")(thing)


def test_check_result_is_true_when_passed_and_keeps_its_sample() -> None:
    result = CheckResult(False, "2 rows", "0 rows", sample=[{"id": 1}])
    assert not result
    assert result.sample == ({"id": 1},)
    assert CheckResult(True)


def test_a_context_for_tests_needs_no_framework() -> None:
    context = Context.for_test("orders", partition="2013-01-01", config={"limit": 3})
    assert (context.asset, context.partition, context.partitions) == ("orders", "2013-01-01", ("2013-01-01",))
    assert (context.attempt, context.branch, context.config) == (1, "main", {"limit": 3})
    context.log.debug("works")
    assert Context.for_test().partitions == (None,)


class Warehouse(Resource):
    url: str
    token: SecretStr = SecretStr("")
    timeout_s: float = 30.0
    schema: str = "public"
    events: list[str] | None = None

    def open(self) -> None:
        (self.events or []).append("open")

    def close(self) -> None:
        (self.events or []).append("close")


def test_a_resource_is_built_from_its_fields_and_opened_as_a_context_manager() -> None:
    events = [""]
    with Warehouse(url="x", events=events) as warehouse:
        assert (warehouse.url, warehouse.timeout_s) == ("x", 30.0)
    assert events == ["", "open", "close"]


def test_a_resource_is_closed_after_a_failure() -> None:
    events = [""]
    with pytest.raises(KeyError), Warehouse(url="x", events=events):
        raise KeyError
    assert events[-1] == "close"


def test_configuration_is_converted_to_the_types_of_the_fields() -> None:
    made = Warehouse.configured("db", {"url": "pg://", "timeout_s": "2.5", "token": "secret"})
    assert (made.timeout_s, made.token.get_secret_value(), made.schema) == (2.5, "secret", "public")


def test_all_faults_of_a_configuration_are_told_without_its_values() -> None:
    with pytest.raises(ConfigError) as caught:
        Warehouse.configured("db", {"urll": "hunter2", "timeout_s": "hunter2"})
    text = str(caught.value)
    assert "resource-config-bad" in text
    assert "'urll' is no field (nearest: 'url')" in text
    assert "'url' is missing" in text
    assert "'timeout_s'" in text
    assert "hunter2" not in text


def test_a_resource_shows_no_values() -> None:
    assert repr(Warehouse(url="pg://user:hunter2@host")) == "<Warehouse>"


def test_a_resource_travels_to_workers() -> None:
    assert pickle.loads(pickle.dumps(Warehouse(url="x"))).url == "x"


def test_resources_inherit_fields() -> None:
    class Api(Warehouse):
        path: str = "/"

    made = Api.configured("api", {"url": "u", "path": "/v1"})
    assert (made.url, made.path) == ("u", "/v1")

    @asset
    def f(api: Api) -> int:
        return 1

    assert dict(f.resources) == {"api": Api}
