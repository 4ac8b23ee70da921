"""What went wrong in a step, in the words of the user who has to mend it."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from assets_core.engine.executor import StepError
from assets_core.errors import AssetlineError, CheckFailedError, FormatError, StorageError, UserCodeError
from io_managers.keys import format_asset_partition

if TYPE_CHECKING:
    from assets_core.definition.asset import Input
    from assets_core.definition.check_outcome import CheckOutcome
    from assets_core.engine.executor import StepTask
    from io_managers.versions.publication import Publication
    from io_managers.versions.staging import Staging

_NOTHING_LEFT = "nothing: no version was published."


@contextlib.contextmanager
def storing(task: StepTask) -> Iterator[None]:
    """Say whose value cannot be stored. One that an asset yields is computed now: what raises there is the user's."""
    try:
        yield
    except FormatError as error:
        name = format_asset_partition(task.asset, task.partition)
        raise _format_error(f"{name} cannot be stored", error, left=_NOTHING_LEFT) from error
    except AssetlineError:
        raise
    except (Exception, SystemExit) as error:
        if _user_frames(error):
            raise user_error(task, error) from error
        raise _write_error(task, error) from error


@contextlib.contextmanager
def loading(task: StepTask, item: Input) -> Iterator[None]:
    """Say which input of which asset partition cannot be loaded."""
    subject = f"{format_asset_partition(task.asset, task.partition)} cannot load its input {item.parameter!r}"
    try:
        yield
    except FormatError as error:
        raise _format_error(subject, error) from error
    except AssetlineError:
        raise
    except Exception as error:
        failure = UserCodeError(
            "input-not-readable",
            f"{subject}.",
            why=f"{type(error).__name__}: {text_of(error)}",
            do=f"look at the files of {item.asset} and at what reads them; "
            f"`assetline runs logs {task.run_id}` has the traceback.",
        )
        raise failure from error


def _write_error(task: StepTask, error: BaseException) -> AssetlineError:
    return UserCodeError(
        "value-not-writable",
        f"the value of {format_asset_partition(task.asset, task.partition)} cannot be stored.",
        why=f"{type(error).__name__}: {text_of(error)}",
        do="return a value of the annotated type that its format can hold.",
        left=_NOTHING_LEFT,
    )


def _format_error(subject: str, error: FormatError, *, left: str = "") -> FormatError:
    """What a format says of a value, with the asset partition it belongs to."""
    return FormatError(error.code, f"{subject}: {error.what}", why=error.why, do=error.do, left=left)


def resource_error(task: StepTask, parameter: str, error: BaseException) -> UserCodeError:
    """A resource could not be opened for the step."""
    name = format_asset_partition(task.asset, task.partition)
    failure = UserCodeError(
        "resource-not-opened",
        f"the resource {parameter!r} of {name} could not be opened.",
        why=f"{type(error).__name__}: {text_of(error)}",
        do=f"look at its settings; `assetline runs logs {task.run_id}` has the traceback.",
        left=_NOTHING_LEFT,
    )
    failure.__cause__ = error
    return failure


def user_error(task: StepTask, error: BaseException) -> UserCodeError:
    """The function of the step's asset raised, or called `sys.exit`."""
    name = format_asset_partition(task.asset, task.partition)
    frames = _user_frames(error)
    at = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    failure = UserCodeError(
        "asset-called-exit" if isinstance(error, SystemExit) else "asset-raised",
        f"the function of {name} "
        + ("called sys.exit" if isinstance(error, SystemExit) else f"raised {type(error).__name__}")
        + f"{at}.",
        why=text_of(error),
        do=f"mend the function; `assetline runs logs {task.run_id}` has the traceback.",
        left=_NOTHING_LEFT,
    )
    failure.__cause__ = error
    return failure


def text_of(error: BaseException) -> str:
    """What an exception says, or its type; one of the user's may not even be able to say it."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the user's code
        text = ""
    if isinstance(error, SystemExit):
        return f"sys.exit({error.code!r})"
    return text or type(error).__name__


_OWN_FOLDERS = tuple(
    __file__.replace("\\", "/").rsplit("/", 3)[0] + f"/{name}/" for name in ("assets_core", "io_managers")
)


def _user_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """Frames of the traceback from the first one outside this framework on."""
    frames = list(traceback.extract_tb(error.__traceback__))
    for index, frame in enumerate(frames):
        if not frame.filename.replace("\\", "/").startswith(_OWN_FOLDERS):
            return frames[index:]
    return []


def describe_error(error: AssetlineError) -> StepError:
    """An error as it travels to the coordinator."""
    cause = error.__cause__
    text = ""
    if isinstance(error, UserCodeError) and cause is not None:
        frames = _user_frames(cause)
        text = "".join(traceback.format_list(frames) + traceback.format_exception_only(cause))
    return StepError(
        type(error).__name__,
        error.code,
        str(error),
        text,
        error.retryable if isinstance(error, StorageError) else isinstance(error, UserCodeError),
    )


def blocked_error(task: StepTask, blocking: Sequence[CheckOutcome], staging: Staging) -> StepError:
    """Checks kept the staged data from being published; `blocking` has at least one."""
    name = format_asset_partition(task.asset, task.partition)
    first = blocking[0]
    more = f" and {len(blocking) - 1} more" if len(blocking) > 1 else ""
    left = f"staged data kept at {staging.folder}; " if staging.files else ""
    error = CheckFailedError(
        "blocking-check",
        f"{name} was not published: check '{first.check}'{more} failed: {first.observed}.",
        why=f"expected {first.expected}.",
        do=f"mend the code, the check or the inputs and run `assetline materialize {task.asset}`; after mending data "
        "that assetline does not see, add --force.",
        left=f"{left}readers still see "
        + (f"version v{task.base}." if task.base else "nothing: there is no earlier version."),
    )
    return StepError(type(error).__name__, error.code, str(error), retryable=False)


def superseded_error(task: StepTask, winner: Publication) -> StepError:
    """Somebody else published something else while the step computed."""
    name = format_asset_partition(task.asset, task.partition)
    return StepError(
        "ConflictError",
        "superseded",
        f"ConflictError[superseded]: {name} was published by somebody else first.\n"
        f"  why: run {winner.run_id} published v{winner.seq} while this step computed, from other code or inputs.\n"
        "  do:  run the command again; it plans on the new version.",
        retryable=False,
    )
