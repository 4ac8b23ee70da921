"""`load` and `history`: what is published, and what was."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ui.cli.options import AssetlineCommand, current_options, key_argument, partitions_option

if TYPE_CHECKING:
    from assets_core.definition.asset import Asset
    from assets_core.session import Session

#: Rows that are printed unless --limit says otherwise.
_SHOWN_ROWS = 20


@click.command(cls=AssetlineCommand)
@key_argument
@partitions_option
@click.option(
    "--as-of",
    metavar="T",
    help="What was current at this time: 2024-05-01T12:00, local unless it has an offset.",
)
@click.option(
    "--columns", metavar="C", multiple=True, help="Only these columns, joined by commas. Repeatable."
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"At most N rows (default: {_SHOWN_ROWS} in a printed table, else all).",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="F",
    help="Write to a file: .csv, .parquet, .json or .txt; a value of bytes or a file takes any suffix.",
)
def load(
    key: str,
    partitions: str | None,
    as_of: str | None,
    columns: tuple[str, ...],
    limit: int | None,
    out: Path | None,
) -> None:
    """Print the published rows of an asset, or write them to a file.

    Without --partitions all published partitions are read, one after the other in their order.
    """
    from ui.cli.files import require_writable, write_value
    from ui.cli.opening import open_session
    from ui.cli.output import print_line, write_json
    from ui.cli.text import format_count

    options = current_options()
    if out is not None:
        require_writable(out)
    wanted = [name.strip() for part in columns for name in part.split(",") if name.strip()] or None
    with open_session(options) as session:
        value = _load(session, session.project.require(key), partitions, _parse_as_of(as_of), wanted)
    table = as_table(value)
    if table is not None:
        value = first = table if limit is None else table.slice(0, limit)
    if out is not None:
        write_value(value, out)
        rows = first.num_rows if table is not None else None
        if options.json:
            write_json({"asset": key, "partitions": partitions, "out": str(out), "rows": rows})
        else:
            print_line(f"wrote {format_count(rows, 'row') + ' to ' if rows is not None else ''}{out}")
    elif options.json:
        from ui.read import build_json_value, build_table_rows

        write_json(build_table_rows(first) if table is not None else build_json_value(value))
    elif table is not None:
        _print_rows(table, _SHOWN_ROWS if limit is None else limit)
    else:
        _print_value(value)


def _parse_as_of(text: str | None) -> dt.datetime | None:
    from ui.cli.text import parse_time

    if text is None:
        return None
    try:
        return parse_time(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not a time such as 2024-05-01, 2024-05-01T12:00 or 2024-05-01T12:00+02:00",
            param_hint="--as-of",
        ) from None


def _load(
    session: Session,
    asset: Asset,
    partitions: str | None,
    as_of: dt.datetime | None,
    columns: Sequence[str] | None,
) -> Any:
    """A table as Arrow, other values by partition unless one partition was named, else as the asset returned them."""
    from ui.read import name_io_manager

    if name_io_manager(asset) == "parquet":
        import pyarrow as pa

        return session.load(asset.key, partitions, as_type=pa.Table, columns=columns, as_of=as_of)
    if asset.partitions is None:
        return session.load(asset.key, partitions, columns=columns, as_of=as_of)
    by_partition: Any = dict[str, Any]
    values = session.load(asset.key, partitions, as_type=by_partition, columns=columns, as_of=as_of)
    return values.get(partitions, values)


def as_table(value: Any) -> Any:
    """The value as a `pyarrow.Table` when it is a frame of any library, else None."""
    root = type(value).__module__.partition(".")[0]
    if root == "pyarrow" and type(value).__name__ == "Table":
        return value
    if root == "pandas" and type(value).__name__ == "DataFrame":
        import pyarrow as pa

        return pa.Table.from_pandas(value, preserve_index=False)
    if root == "polars" and type(value).__name__ in ("DataFrame", "LazyFrame"):
        return value.lazy().collect().to_arrow()
    return None


def _print_rows(table: Any, limit: int) -> None:
    from ui.cli.output import print_line, terminal_width
    from ui.cli.rows import format_rows
    from ui.cli.table import Styled
    from ui.cli.text import format_count

    header, lines, hidden = format_rows(table, limit, terminal_width())
    for line in header:
        print_line(Styled(line, "bold"))
    for line in lines:
        print_line(line)
    if lines:
        print_line()
    total = table.num_rows
    if limit < total:
        print_line(
            f"{limit:,} of {format_count(total, 'row')}; --limit {total} shows all, --out FILE writes them"
        )
    else:
        print_line(format_count(total, "row"))
    if hidden:
        print_line(f"columns that did not fit: {', '.join(hidden)}; --columns picks")


def _print_value(value: Any) -> None:
    import json
    import sys

    from ui.read import build_json_value

    if isinstance(value, str | Path):
        click.echo(str(value))
    elif isinstance(value, bytes):
        if sys.stdout.isatty():
            click.echo(f"{len(value):,} bytes; --out FILE writes them")
        else:
            sys.stdout.buffer.write(value)
    else:
        click.echo(json.dumps(build_json_value(value), indent=2, ensure_ascii=False))


@click.command(cls=AssetlineCommand)
@key_argument
@partitions_option
def history(key: str, partitions: str | None) -> None:
    """List the versions of an asset, newest first; `*` marks those that readers see."""
    from ui.cli.opening import open_session
    from ui.cli.output import print_line, print_table, write_json
    from ui.cli.text import format_bytes, format_count, format_time
    from ui.read import build_version

    options = current_options()
    with open_session(options) as session:
        rows = [build_version(row) for row in session.history(key, partitions)]
    if options.json:
        write_json(rows)
        return
    print_table(
        ["version", "", "partition", "published", "rows", "size", "run", "code", "data", "kind"],
        [
            (
                str(row["version"]),
                "*" if row["current"] else "",
                row["partition"] or "",
                format_time(row["published_at"]),
                format_count(row["rows"]),
                format_bytes(row["bytes"]),
                row["run_id"],
                row["code_version"][:8],
                row["data_version"][:8],
                row["kind"],
            )
            for row in rows
        ],
        right=["rows", "size"],
        fixed=["version", "partition", "published"],
    )
    print_line(format_count(len(rows), "version"))
