"""Running the checks that users write: whatever their code does, there is an outcome."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from assets_core.definition.check_outcome import CheckOutcome
from assets_core.definition.checks import CheckResult
from assets_core.errors import AssetlineError
from assets_core.quality.plain_values import SAMPLE_ROWS, plain_row

if TYPE_CHECKING:
    from assets_core.definition.checks import AssetCheck

__all__ = ["run_check"]

_MAX_FRAMES = 8
_MAX_TEXT = 2000


def run_check(
    check: AssetCheck[..., Any], read: Callable[[Any], Any], load_input: Callable[[str, Any], Any]
) -> CheckOutcome:
    """Run one check on a value.

    Args:
        check: As a project has validated it.
        read: Reads the judged value as an annotation says, anew each time: what a check does to its frame is seen
            by nobody else.
        load_input: Loads another asset by key, as an annotation says.

    Returns:
        `passed`, `failed` (`warned` for a check that does not block), or `error` when the function raised, left
        the process, or returned neither bool nor `CheckResult`.

    Raises:
        AssetlineError: A value could not be read; that is not the check's doing.
    """
    arguments: dict[str, object] = {}
    if check.value is not None:
        arguments[check.value.name] = read(check.value.annotation)
    for item in check.inputs:
        arguments[item.parameter] = load_input(item.asset, item.annotation)
    try:
        result = check.invoke(arguments)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - the user's code may raise anything, SystemExit too
        return _outcome(check, "error", _describe_raised(error), "bool or CheckResult")
    return _judge(check, result)


def _judge(check: AssetCheck[..., Any], result: object) -> CheckOutcome:
    if isinstance(result, CheckResult):
        passed = _as_bool(result.passed)
        if passed is None:
            text = f"returned CheckResult(passed={result.passed!r})"
            return _outcome(check, "error", text[:_MAX_TEXT], "passed is True or False")
        try:
            sample = tuple(_sample_row(row) for row in result.sample[:SAMPLE_ROWS])
        except Exception as error:  # noqa: BLE001 - values of the user's own classes may raise when shown
            return _outcome(check, "error", _describe_raised(error), "a sample of rows")
        return _outcome(check, _status(check, passed=passed), result.observed, result.expected, sample)
    passed = _as_bool(result)
    if passed is not None:
        return _outcome(check, _status(check, passed=passed), "True" if passed else "False", "True")
    if hasattr(result, "close") and hasattr(result, "cr_frame"):
        result.close()  # a coroutine that nobody will await
        return _outcome(
            check, "error", "returned a coroutine", "a plain function that returns bool or CheckResult"
        )
    shown = "None; is a return missing?" if result is None else f"a {type(result).__qualname__}"
    return _outcome(check, "error", f"returned {shown}", "bool or CheckResult")


def _sample_row(row: object) -> dict[str, object]:
    return plain_row(row) if isinstance(row, Mapping) else plain_row({"value": row})


def _as_bool(value: object) -> bool | None:
    """The bool of a bool, numpy's included; None for anything else."""
    if isinstance(value, bool):
        return value
    kind = type(value)
    return bool(value) if kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_") else None


def _status(check: AssetCheck[..., Any], *, passed: bool) -> Literal["passed", "failed", "warned"]:
    if passed:
        return "passed"
    return "failed" if check.is_blocking else "warned"


def _outcome(
    check: AssetCheck[..., Any],
    status: Literal["passed", "failed", "warned", "error"],
    observed: object,
    expected: object,
    sample: tuple[dict[str, object], ...] = (),
) -> CheckOutcome:
    severity: Literal["error", "warn"] = "error" if check.is_blocking else "warn"
    return CheckOutcome(
        check.name, status, severity, str(observed)[:_MAX_TEXT], str(expected)[:_MAX_TEXT], sample
    )


def _describe_raised(error: BaseException) -> str:
    """One line of what was raised, then the frames of the user's code, innermost last."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an exception of the user may not even have a text
        text = "(its text cannot be shown)"
    code = getattr(error, "code", "") if isinstance(error, AssetlineError) else ""
    kind = type(error).__name__ + (f"[{code}]" if code and not text else "")
    lines = [f"raised {kind}: {text}" if text else f"raised {kind}"]
    lines += [f"  {frame}" for frame in _user_frames(error.__traceback__)]
    return "\n".join(lines)


def _user_frames(trace: TracebackType | None) -> list[str]:
    frames = [frame for frame in traceback.extract_tb(trace) if not _is_ours(frame.filename)]
    return [f"{frame.filename}:{frame.lineno} in {frame.name}" for frame in frames[-_MAX_FRAMES:]]


def _is_ours(filename: str) -> bool:
    return filename.startswith(_HOUSE)


_HOUSE = __file__.rpartition("quality")[0]
