"""`plan`, `materialize` and `status`: what would run, running it, and where things stand."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from ui.cli.options import (
    AssetlineCommand,
    current_options,
    format_command,
    parse_run_config,
    partitions_option,
    select_argument,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet

    from assets_core.planning.plan import Plan, PlannedGroup
    from assets_core.status import AssetStatus

#: On a terminal a run of more steps is asked for first.
ASK_ABOVE_STEPS = 100

_config_option: Callable[[Any], Any] = click.option(
    "--config",
    "config",
    multiple=True,
    metavar="KEY.FIELD=VALUE",
    help="Configuration of one asset for this run; the value is JSON or text. Repeatable.",
)
_force_option: Callable[[Any], Any] = click.option(
    "--force", is_flag=True, help="Run what SELECT names even when it is fresh; not what a graph step adds."
)


@click.command(cls=AssetlineCommand)
@select_argument
@partitions_option
@_force_option
@_config_option
def plan(select: tuple[str, ...], partitions: str | None, force: bool, config: tuple[str, ...]) -> None:
    """Show what would run, each step with its reason; nothing is written.

    Without SELECT all assets are planned, without --partitions everything missing or stale.
    """
    from ui.cli.opening import open_session
    from ui.cli.output import write_json
    from ui.read import build_plan

    options = current_options()
    with open_session(options, config=parse_run_config(config)) as session:
        found = session.plan(select, partitions, force=force)
    if options.json:
        write_json(build_plan(found))
    else:
        words = ["materialize", *select, *(["-p", partitions] if partitions else [])]
        words += [*(["--force"] if force else []), *(word for text in config for word in ("--config", text))]
        _print_plan(found, format_command(*words))


@click.command(cls=AssetlineCommand)
@select_argument
@partitions_option
@_force_option
@_config_option
@click.option("--executor", metavar="K", help="Where steps run: inline, threads, processes or dask.")
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Steps that run at the same time.")
@click.option("--keep-going", is_flag=True, help="After a failure run everything that does not depend on it.")
@click.option("-y", "--yes", is_flag=True, help=f"Do not ask before more than {ASK_ABOVE_STEPS} steps.")
def materialize(
    select: tuple[str, ...],
    partitions: str | None,
    force: bool,
    config: tuple[str, ...],
    executor: str | None,
    workers: int | None,
    keep_going: bool,
    yes: bool,
) -> int:
    """Compute, check and publish what is missing or stale, like make; or exactly the partitions asked for.

    Exit code 1 when a step failed, 3 when a check blocked data and nothing failed otherwise.
    """
    from ui.cli.failures import RUN_EXIT_CODES
    from ui.cli.opening import open_session
    from ui.cli.output import write_json
    from ui.cli.progress import build_progress
    from ui.cli.summary import print_run_summary
    from ui.read import build_run_result

    options = current_options()
    progress = build_progress()
    with open_session(options, config=parse_run_config(config), read_only=False) as session:
        if not yes and partitions is None and _can_ask():
            _ask(session.plan(select, partitions, force=force))
        try:
            result = session.materialize(
                select,
                partitions,
                force=force,
                executor=executor,
                workers=workers,
                keep_going=keep_going,
                observer=progress,
            )
        finally:
            progress.close()
    if options.json:
        write_json(build_run_result(result))
    else:
        print_run_summary(result, progress.plan)
    return RUN_EXIT_CODES[result.status]


def _can_ask() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _ask(plan: Plan) -> None:
    if plan.n_steps <= ASK_ABOVE_STEPS:
        return
    assets = list(dict.fromkeys(group.asset for group in plan.groups))
    named = ", ".join(assets[:5]) + (f" and {len(assets) - 5} more" if len(assets) > 5 else "")
    click.confirm(f"{plan.n_steps:,} steps would run ({named}). Run them?", abort=True, err=True)


def _print_plan(plan: Plan, command: str) -> None:
    from ui.cli.output import print_line, print_next, print_table
    from ui.cli.summary import format_held_back
    from ui.cli.table import Styled
    from ui.cli.text import format_count, format_partitions

    groups: list[tuple[str, PlannedGroup]] = [(group.reason, group) for group in plan.groups]
    groups += [("blocked", group) for group in plan.blocked]
    groups += [("waiting", group) for group in plan.waiting]
    rows = []
    previous = ""
    for reason, group in groups:
        rows.append(
            (
                Styled(group.asset if group.asset != previous else "", "bold"),
                f"{len(group.partitions):,}",
                format_partitions(group.partitions),
                Styled(reason, "magenta" if reason in ("blocked", "waiting") else "yellow"),
                group.detail,
            )
        )
        previous = group.asset
    if rows:
        print_table(
            ["asset", "steps", "partitions", "reason", "detail"],
            rows,
            right=["steps"],
            fixed=["asset", "reason"],
        )
        print_line()
    tail = format_held_back(plan)
    if not plan.n_steps:
        print_line(f"nothing to do: {format_count(plan.fresh)} fresh{tail}.")
        return
    assets = len({group.asset for group in plan.groups})
    print_line(
        f"{format_count(plan.n_steps, 'step')} in {format_count(assets, 'asset')} would run, "
        f"{format_count(plan.fresh)} fresh{tail}."
    )
    print_next(command)


@click.command(cls=AssetlineCommand)
@select_argument
def status(select: tuple[str, ...]) -> None:
    """Show how many partitions of each asset are fresh, stale (and why), missing, failed and blocked."""
    from ui.cli.opening import open_session
    from ui.cli.output import write_json
    from ui.read import build_status

    options = current_options()
    with open_session(options) as session:
        found = session.status(select)
        assets = session.project.assets
    if options.json:
        write_json([build_status(row) for row in found])
    else:
        _print_status(found, {row.asset for row in found if assets[row.asset].partitions is None})


def _print_status(rows: Sequence[AssetStatus], unpartitioned: AbstractSet[str]) -> None:
    from ui.cli.output import STATE_STYLES, print_line, print_next, print_table
    from ui.cli.table import Styled
    from ui.cli.text import format_count, format_duration, format_time

    states = ("fresh", "stale", "missing", "failed", "blocked")
    print_table(
        ["asset", *states, "latest", "lag", "reasons"],
        [
            (
                row.asset,
                *(
                    Styled(
                        f"{getattr(row, state):,}",
                        STATE_STYLES[state] if getattr(row, state) else "bright_black",
                    )
                    for state in states
                ),
                format_time(row.latest) if row.latest and row.asset in unpartitioned else row.latest or "",
                format_duration(row.lag_s) if row.lag_s is not None else "",
                ", ".join(f"{count:,} {reason}" for reason, count in row.reasons.items()),
            )
            for row in rows
        ],
        right=[*states, "lag"],
        fixed=["asset", "latest"],
    )
    totals = {state: sum(getattr(row, state) for row in rows) for state in states}
    print_line(
        f"{format_count(len(rows), 'asset')}: "
        + ", ".join(f"{totals[state]:,} {state}" for state in states if totals[state] or state == "fresh")
    )
    if sum(totals.values()) > totals["fresh"]:
        print_next(format_command("plan"))
