"""`runs list`, `runs show` and `runs logs`: what ran, and what it said."""

from __future__ import annotations

from typing import Any

import click

from ui.cli.options import AssetlineGroup, current_options


@click.group(cls=AssetlineGroup)
def runs() -> None:
    """List runs, show one, read its logs. A run is named by its id, or `latest`."""


@runs.command("list")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="Newest N runs."
)
def list_runs(limit: int) -> None:
    """List the newest runs."""
    from ui.cli.opening import open_session
    from ui.cli.output import print_line, print_table, styled_state, write_json
    from ui.cli.summary import format_counts
    from ui.cli.text import format_count, format_duration, format_time
    from ui.read import build_run

    options = current_options()
    with open_session(options) as session:
        rows = [build_run(row) for row in session.runs(limit)]
    if options.json:
        write_json(rows)
        return
    if not rows:
        print_line("no runs yet; `assetline materialize` makes the first.")
        return
    print_table(
        ["run", "status", "started", "duration", "steps", "selection"],
        [
            (
                row["run_id"],
                styled_state(row["status"]),
                format_time(row["started_at"]),
                format_duration(row["duration_s"]),
                format_counts(row["steps"]),
                row["selection"],
            )
            for row in rows
        ],
        right=["duration"],
        fixed=["run", "started"],
    )
    print_line(format_count(len(rows), "run"))


@runs.command("show")
@click.argument("run_id", metavar="[RUN]", default="latest")
def show_run(run_id: str) -> None:
    """Show one run with each of its steps; the latest when no RUN is named."""
    from ui.cli.opening import open_session
    from ui.cli.output import write_json
    from ui.read import build_run_detail

    options = current_options()
    with open_session(options) as session:
        run = session.run(run_id)
        row = build_run_detail(run, session.steps(run.run_id))
    if options.json:
        write_json(row)
    else:
        _print_run(row)


@runs.command("logs")
@click.argument("run_id", metavar="[RUN]", default="latest")
@click.option("--asset", metavar="KEY", help="Only the lines of one asset.")
def show_logs(run_id: str, asset: str | None) -> None:
    """Print the log lines of a run with the tracebacks of what failed; the latest when no RUN is named."""
    from io_managers.keys import format_asset_partition
    from ui.cli.opening import open_session
    from ui.cli.output import write_json
    from ui.cli.text import format_time
    from ui.read import build_log_line

    options = current_options()
    with open_session(options) as session:
        lines = [build_log_line(line) for line in session.logs(session.run(run_id).run_id)]
    lines = [line for line in lines if asset is None or line["asset"] == asset]
    if options.json:
        write_json(lines)
        return
    for line in lines:
        name = format_asset_partition(line["asset"], line["partition"])
        click.echo(f"{format_time(line['at'])}  {line['level']:<7}  {name}  {line['message']}")
    if not lines:
        click.echo("the run logged nothing.", err=True)


def _print_run(row: dict[str, Any]) -> None:
    from io_managers.keys import format_asset_partition
    from ui.cli.output import print_fields, print_line, print_table, styled_state
    from ui.cli.summary import format_counts
    from ui.cli.text import format_duration, format_time

    print_fields(
        [
            ("run", row["run_id"]),
            ("status", styled_state(row["status"])),
            ("branch", row["branch"]),
            ("selection", row["selection"]),
            ("started", format_time(row["started_at"])),
            ("ended", format_time(row["ended_at"])),
            ("duration", format_duration(row["duration_s"])),
            ("steps", format_counts(row["counts"])),
            ("executor", row["executor"]),
        ]
    )
    if not row["steps"]:
        return
    print_line()
    print_table(
        ["step", "state", "attempts", "reason", "duration"],
        [
            (
                format_asset_partition(step["asset"], step["partitions"][0] if step["partitions"] else None),
                styled_state(step["state"]),
                str(step["attempts"]),
                step["reason"],
                format_duration(step["duration_s"]),
            )
            for step in row["steps"]
        ],
        right=["attempts", "duration"],
        fixed=["step", "state"],
    )
    for step in row["steps"]:
        if step.get("error"):
            print_line()
            print_line(step["error"])
