"""Writes results to stdout: one JSON document, or tables and lines for people."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from typing import IO, TYPE_CHECKING, Any

import click

from ui.cli.table import Cell, Styled, format_table

if TYPE_CHECKING:
    from rich.console import Console

STATE_STYLES = {
    "succeeded": "green",
    "unchanged": "green",
    "fresh": "green",
    "passed": "green",
    "stale": "yellow",
    "missing": "yellow",
    "warned": "yellow",
    "running": "cyan",
    "retrying": "yellow",
    "failed": "red",
    "lost": "red",
    "error": "red",
    "blocked": "magenta",
    "cancelled": "bright_black",
    "skipped": "bright_black",
    "superseded": "bright_black",
}


def styled_state(state: str) -> Styled:
    """A state in its colour."""
    return Styled(state, STATE_STYLES.get(state, ""))


def has_colour(stream: IO[str]) -> bool:
    """Whether colours may be written: to a terminal that knows them, unless NO_COLOR is set."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def terminal_width() -> int | None:
    """Characters in a line of the terminal that stdout is, None when it is none."""
    if not sys.stdout.isatty():
        return None
    import shutil

    return shutil.get_terminal_size().columns


#: Where documents go while stdout is reserved for them.
_documents: list[IO[str]] = []


@contextmanager
def reserve_stdout() -> Iterator[None]:
    """Let nothing but `write_json` reach stdout: what else is printed in the block, by whatever code, goes to stderr."""
    try:
        stdout, stderr = sys.stdout.fileno(), sys.stderr.fileno()
    except (OSError, ValueError):  # a stream that a test or a notebook put there has no file below it
        with _documents_to(sys.stdout):
            yield
        return
    sys.stdout.flush()
    documents = os.fdopen(os.dup(stdout), "w", encoding="utf-8")
    os.dup2(stderr, stdout)
    try:
        with _documents_to(documents):
            yield
    finally:
        os.dup2(documents.fileno(), stdout)
        with suppress(OSError):  # what is left in it after the reader has gone
            documents.close()


@contextmanager
def _documents_to(stream: IO[str]) -> Iterator[None]:
    _documents.append(stream)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _documents.pop()


def write_json(document: Any) -> None:
    """Write the one JSON document of a command to stdout."""
    import json

    stream = _documents[-1] if _documents else sys.stdout
    indent = 2 if stream.isatty() else None
    click.echo(json.dumps(document, indent=indent, allow_nan=False), file=stream)


def print_line(*parts: Cell) -> None:
    """Print one line to stdout."""
    _print([parts])


def print_table(
    headers: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    right: Sequence[str] = (),
    fixed: Sequence[str] = (),
) -> None:
    """Print an aligned table to stdout.

    Args:
        headers: Column titles.
        rows: Cells, one for each header.
        right: Headers of columns that are aligned to the right; these are never broken into lines.
        fixed: Headers of further columns that are never broken into lines.
    """
    _print(
        format_table(
            [[Styled(header, "bold") for header in headers], *rows],
            right=[headers.index(header) for header in right],
            fixed=[headers.index(header) for header in (*fixed, *right)],
            width=terminal_width(),
        )
    )


def print_fields(fields: Iterable[tuple[str, Cell]]) -> None:
    """Print titled values, one a line, the values under one another; fields without a value are left out."""
    rows = [
        (Styled(title, "bold"), value)
        for title, value in fields
        if (value if isinstance(value, str) else value.text)
    ]
    _print(format_table(rows, fixed=[0], width=terminal_width()))


def print_next(command: str) -> None:
    """Print the command that a user is likely to want next, to a terminal only."""
    if sys.stdout.isatty():
        print_line(Styled(f"next: {command}", "bright_black"))


def _print(lines: Iterable[Iterable[Cell]]) -> None:
    colour = has_colour(sys.stdout)
    text = "".join("".join(_paint(piece, colour=colour) for piece in line) + "\n" for line in lines)
    if text:
        click.echo(text, nl=False, color=colour)


def _paint(piece: Cell, *, colour: bool) -> str:
    if isinstance(piece, str):
        return piece
    if not colour or not piece.style:
        return piece.text
    return (
        click.style(piece.text, bold=True)
        if piece.style == "bold"
        else click.style(piece.text, fg=piece.style)
    )


def build_live_console() -> Console:
    """A rich console on stderr that changes nothing in the text it is given: no markup, no highlighting, no emoji."""
    from rich.console import Console

    return Console(
        stderr=True, no_color=not has_colour(sys.stderr), markup=False, highlight=False, emoji=False
    )
