"""What type checkers see of assets, checks and resources; checked by mypy, never run."""

from collections.abc import Callable
from typing import Any, assert_type

from assets_core import (
    Asset,
    AssetCheck,
    CheckResult,
    Context,
    In,
    Project,
    Resource,
    Retry,
    asset,
    asset_check,
    external_asset,
)


@asset
def bare(limit: int) -> list[str]:
    return ["a"] * limit


assert_type(bare(3), list[str])
bare("x")  # type: ignore[arg-type]
bare()  # type: ignore[call-arg]
assert_type(bare.key, str)


@asset(key="mart/x", retries=Retry(2), ins={"source": In("raw/x", missing="skip")}, deps=[bare, "raw/y"])
def full(source: list[str], *, context: Context, top: int = 3) -> dict[str, int]:
    return dict.fromkeys(source, top)


assert_type(full(["a"], context=Context.for_test()), dict[str, int])
full(["a"])  # type: ignore[call-arg]


@asset(retries=3)  # type: ignore[call-overload, untyped-decorator]
def wrong_option() -> int:
    return 1


external = external_asset("raw/y", path="y.json")
assert_type(external, Asset[[], Any])


@asset_check(asset=full, severity="warn")
def small(x: dict[str, int]) -> CheckResult:
    return CheckResult(len(x) < 3)


@asset_check
def listed(x: dict[str, int]) -> bool:
    return bool(x)


assert_type(small({}), CheckResult)
assert_type(listed({}), bool)


class Warehouse(Resource):
    url: str
    timeout_s: float = 30.0


assert_type(Warehouse(url="x").timeout_s, float)
Warehouse()  # type: ignore[call-arg]
Warehouse("x")  # type: ignore[call-arg]
with Warehouse(url="x") as warehouse:
    assert_type(warehouse, Warehouse)

anything: Asset = full
any_check: AssetCheck = small
as_function: Callable[[int], list[str]] = bare
project = Project([bare, full, external], [small, listed])
assert_type(project.assets["x"], Asset)
