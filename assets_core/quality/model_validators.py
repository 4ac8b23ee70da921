"""The functions of a row model that judge values, run row by row: the one part of a contract that is slow."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, get_args

from assets_core.definition.check_outcome import CheckOutcome
from assets_core.quality.plain_values import SAMPLE_ROWS, plain_row

if TYPE_CHECKING:
    import pyarrow as pa

    from assets_core.definition.contract import Contract

__all__ = ["check_validators"]

_BATCH_ROWS = 4096
#: Kinds of errors that functions of the user raise; all others repeat what the rules of the columns say.
_OWN_KINDS = ("value_error", "assertion_error")


def check_validators(contract: Contract, table: pa.Table) -> CheckOutcome:
    """Validate each row with the model, counting what only its own functions find.

    Costs 2 to 10 microseconds a row and more for slow functions.
    """
    from pydantic import ValidationError

    names = [rule.name for rule in contract.fields]
    n_failing, first, message = 0, 0, ""
    sample: list[dict[str, object]] = []
    row_number = -1
    for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
        for row in batch.to_pylist():
            row_number += 1
            try:
                contract.model.model_validate({name: _missing_as_none(row[name]) for name in names})
            except ValidationError as error:
                own = [item for item in error.errors(include_url=False) if _is_own(item)]
                if not own:
                    continue
                if not n_failing:
                    first, message = row_number, str(own[0]["msg"]).partition("\n")[0]
                n_failing += 1
                if len(sample) < SAMPLE_ROWS:
                    sample.append(plain_row(row, str(own[0]["loc"][0]) if own[0]["loc"] else ""))
            except Exception as error:  # noqa: BLE001 - a validator is the user's code and may raise anything
                text = f"raised {type(error).__name__}: {error} (row {row_number:,})"
                return CheckOutcome("contract:validators", "error", "error", text, _expected(contract))
    if n_failing:
        observed = f"{n_failing:,} of {table.num_rows:,} rows; {message}; first in row {first:,}"
        return CheckOutcome(
            "contract:validators", "failed", "error", observed, _expected(contract), tuple(sample)
        )
    return CheckOutcome(
        "contract:validators", "passed", "error", f"{table.num_rows:,} rows", _expected(contract)
    )


def _expected(contract: Contract) -> str:
    return f"the validators of {contract.name} accept every row"


def _is_own(error: Any) -> bool:
    return error["type"] in _OWN_KINDS or (
        # An error that a validator named itself has no entry in pydantic's own list.
        error["type"] not in _pydantic_kinds()
    )


@functools.cache
def _pydantic_kinds() -> frozenset[str]:
    from pydantic_core import core_schema

    return frozenset(get_args(core_schema.ErrorType))


def _missing_as_none(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
