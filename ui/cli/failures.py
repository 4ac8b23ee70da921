"""From an exception to what the user reads and the exit code of the command.

Exit codes:

- 0: done.
- 1: a step failed, or the environment did: StorageError, StateError, ConflictError, UserCodeError, WorkerLostError,
  InternalError and anything unforeseen.
- 2: bad usage, configuration or definitions: click's usage errors, DefinitionError, ConfigError, SelectionError,
  NotFoundError, PlanError, PluginError, FormatError, InvalidKeyError, CommandError.
- 3: blocked by a quality gate, and nothing failed otherwise.
- 130: cancelled with Ctrl-C, or the answer to a question was no.
- 141: the program that read the output closed it early, as `head` does.
"""

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from io_managers.errors import AssetlineError, ConflictError, StorageError

if TYPE_CHECKING:
    from ui.cli.options import GlobalOptions

DONE, FAILED, USAGE, BLOCKED, CANCELLED, READER_GONE = 0, 1, 2, 3, 130, 141

RUN_EXIT_CODES = {"succeeded": DONE, "failed": FAILED, "blocked": BLOCKED, "cancelled": CANCELLED}


class CommandError(AssetlineError):
    """The command cannot do what its arguments ask for."""


def exit_code_of(error: AssetlineError) -> int:
    """The exit code that an error ends the command with."""
    from assets_core.errors import (
        CheckFailedError,
        InternalError,
        StateError,
        UserCodeError,
        WorkerLostError,
    )

    if isinstance(error, CheckFailedError):
        return BLOCKED
    failures = (StorageError, StateError, ConflictError, UserCodeError, WorkerLostError, InternalError)
    return FAILED if isinstance(error, failures) else USAGE


def report_error(error: BaseException, options: "GlobalOptions") -> int:
    """Print an error where and how the options ask for it; returns the exit code."""
    if _is_reader_gone(error):
        # Python flushes stdout once more when it exits; that must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return READER_GONE
    if options.debug and not isinstance(error, click.ClickException | click.Abort):
        import traceback

        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        _print(
            options, "cancelled.", build_error("Cancelled", "cancelled", "the command was cancelled.", do="")
        )
        return CANCELLED
    if isinstance(error, click.ClickException):
        return _report_click(error, options)
    if isinstance(error, OSError):
        error = _wrap_os_error(error)
    elif not isinstance(error, AssetlineError):
        error = _wrap_unforeseen(error)
    _print(options, str(error), build_error_document(error))
    return exit_code_of(error)


def build_error(kind: str, code: str, what: str, *, why: str = "", do: str, left: str = "") -> dict[str, Any]:
    """The JSON shape of one error."""
    return {"kind": kind, "code": code, "what": what, "why": why, "do": do, "left": left}


def build_error_document(error: AssetlineError) -> dict[str, Any]:
    """The JSON shape of an error; definition errors that came together are listed in `errors`."""
    found = build_error(
        type(error).__name__, error.code, error.what, why=error.why, do=error.do, left=error.left
    )
    several = getattr(error, "errors", ())
    if several:
        found["errors"] = [build_error_document(each) for each in several]
    return found


def _report_click(error: click.ClickException, options: "GlobalOptions") -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "assetline"
    if options.json:
        _print(options, "", build_error("UsageError", "usage", error.format_message(), do=f"{path} --help"))
    else:
        error.show()
    return USAGE


def _wrap_os_error(error: OSError) -> AssetlineError:
    place = f" {error.filename}" if error.filename else ""
    return StorageError(
        "file-access-failed",
        f"the operating system refused access to{place or ' a file'}: {error.strerror or error}.",
        do="look at the path, its permissions and the free space; --debug shows where it happened.",
    )


def _wrap_unforeseen(error: BaseException) -> AssetlineError:
    from assets_core.errors import InternalError

    return InternalError(
        "unexpected-error",
        f"the command stopped with {type(error).__name__}: {str(error) or 'no message'}.",
        why="assetline did not foresee this error.",
        do="run the command again with --debug and report the traceback.",
    )


def _is_reader_gone(error: BaseException) -> bool:
    return isinstance(error, BrokenPipeError) or isinstance(error.__cause__, BrokenPipeError)


def _print(options: "GlobalOptions", text: str, document: dict[str, Any]) -> None:
    if options.json:
        from ui.cli.output import write_json

        write_json({"error": document})
    if text:
        from ui.cli.output import has_colour

        head, newline, tail = text.partition("\n")
        label, colon, rest = head.partition(":")
        if has_colour(sys.stderr) and "[" in label:
            head = click.style(label, fg="red", bold=True) + colon + rest
        click.echo(head + newline + tail, err=True, color=has_colour(sys.stderr))
