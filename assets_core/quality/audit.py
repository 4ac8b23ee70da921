"""The audit between staging and publishing: a value is judged as read back, before anyone can read it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assets_core.definition.check_outcome import CheckOutcome
    from assets_core.definition.checks import AssetCheck
    from assets_core.definition.contract import Contract

__all__ = ["audit"]


def audit(
    contract: Contract | None,
    checks: Sequence[AssetCheck[..., Any]],
    read: Callable[[Any], Any],
    load_input: Callable[[str, Any], Any],
) -> tuple[CheckOutcome, ...]:
    """Judge a staged value by its contract, then by its checks, in their order.

    All of them run, so that one run tells everything that is wrong.

    Args:
        contract: None when the asset has none.
        checks: As the project has validated them.
        read: Reads the staged value anew as an annotation says.
        load_input: Loads another asset that a check reads beside, by key and annotation.

    Raises:
        AssetlineError: A value could not be read.
    """
    outcomes: list[CheckOutcome] = []
    if contract is not None:
        import pyarrow as pa

        from assets_core.quality.contract_checks import check_contract

        outcomes += check_contract(contract, read(pa.Table))
    if checks:
        from assets_core.quality.asset_checks import run_check

        outcomes += [run_check(check, read, load_input) for check in checks]
    return tuple(outcomes)
