"""The end of a run for people: counts, what failed and why, what a check kept from being published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from io_managers.keys import format_asset_partition
from ui.cli.options import format_command

if TYPE_CHECKING:
    from assets_core.definition.check_outcome import CheckOutcome
    from assets_core.engine.runner import StepFailure
    from assets_core.planning.plan import Plan
    from assets_core.running import RunResult

_SHOWN_GROUPS = 10
_SHOWN_PARTITIONS = 3
_SHOWN_SAMPLE = 5
_SHOWN_TRACEBACK_LINES = 12


def format_held_back(plan: Plan) -> str:
    """`, 1 blocked by a quality gate, 2 waiting for an input`; empty when nothing is held back."""
    from ui.cli.text import format_count

    blocked = f", {format_count(plan.n_blocked)} blocked by a quality gate" if plan.n_blocked else ""
    waiting = f", {format_count(plan.n_waiting)} waiting for an input" if plan.n_waiting else ""
    return blocked + waiting


def print_run_summary(result: RunResult, plan: Plan | None) -> None:
    """Print how a run ended and what to do next."""
    from ui.cli.output import print_line, print_next, styled_state
    from ui.cli.text import format_count, format_duration

    if plan is not None and not plan.n_steps:
        print_line(f"nothing to do: {format_count(plan.fresh)} fresh{format_held_back(plan)}.")
        for held in plan.blocked:
            print_line(f"  {held.asset}[{held.partitions}]: {held.detail}; --force tries again")
        return
    groups = list(_group_failures(result.failures).values())
    for group in groups[:_SHOWN_GROUPS]:
        _print_failure(group)
    rest = sum(len(group) for group in groups[_SHOWN_GROUPS:])
    if rest:
        print_line(f"and {rest:,} more that did not succeed")
        print_line()
    print_line(
        f"run {result.run_id} ",
        styled_state(result.status),
        f" in {format_duration(result.duration_s)}: {format_counts(result.steps)}",
    )
    if result.status == "succeeded":
        print_next(format_command("status"))
    elif result.status == "cancelled" and not result.failures:
        print_line(f"next: {format_command('materialize')}   (goes on with what is missing)")
    else:
        print_line(f"next: {format_command('runs', 'show', result.run_id)}   (each step and its error)")
        print_line(f"      {format_command('runs', 'logs', result.run_id)}   (log lines and tracebacks)")


def format_counts(counts: Mapping[str, int]) -> str:
    """`12 succeeded, 1 failed`, leaving out what is 0."""
    return ", ".join(f"{count:,} {state}" for state, count in counts.items() if count) or "no steps"


def _group_failures(failures: Sequence[StepFailure]) -> dict[tuple[object, ...], list[StepFailure]]:
    """Failures of one asset that went wrong in the same way belong together."""
    groups: dict[tuple[object, ...], list[StepFailure]] = {}
    for failure in failures:
        traceback = failure.error.traceback if failure.error is not None else ""
        checks = tuple(outcome.check for outcome in _failing_checks(failure))
        groups.setdefault((failure.asset, failure.state, checks or traceback), []).append(failure)
    return groups


def _failing_checks(failure: StepFailure) -> list[CheckOutcome]:
    return [outcome for outcome in failure.checks if outcome.status in ("failed", "error", "warned")]


def _print_failure(group: Sequence[StepFailure]) -> None:
    """Print the first of some failures of one asset that are alike, and which others there are."""
    from ui.cli.output import print_line, styled_state
    from ui.cli.table import Styled

    failure = group[0]
    name = format_asset_partition(failure.asset, failure.partition)
    print_line(styled_state(failure.state), " ", Styled(name, "bold"))
    failing = _failing_checks(failure)
    for outcome in failing:
        print_line(f"  check {outcome.check} ({outcome.severity}): {outcome.status}")
        print_line("    observed: " + (outcome.observed or "-").replace("\n", "\n      "))
        print_line(f"    expected: {outcome.expected or '-'}")
        _print_sample(outcome.sample)
    if failure.error is not None and (failure.state != "blocked" or not failing):
        _print_indented(failure.error.message)
        traceback = failure.error.traceback.rstrip().splitlines()
        if len(traceback) > _SHOWN_TRACEBACK_LINES:
            traceback = ["...", *traceback[-_SHOWN_TRACEBACK_LINES:]]
        _print_indented("\n".join(traceback))
    if len(group) > 1:
        names = ", ".join(str(other.partition) for other in group[1 : _SHOWN_PARTITIONS + 1])
        more = (
            f" and {len(group) - 1 - _SHOWN_PARTITIONS:,} others"
            if len(group) - 1 > _SHOWN_PARTITIONS
            else ""
        )
        print_line(f"  likewise {len(group) - 1:,} more: {names}{more}")
    print_line()


def _print_sample(sample: Sequence[Mapping[str, Any]]) -> None:
    from ui.cli.output import print_line

    if not sample:
        return
    names = list(dict.fromkeys(name for row in sample[:_SHOWN_SAMPLE] for name in row))
    cells = [names, *([str(row.get(name, "")) for name in names] for row in sample[:_SHOWN_SAMPLE])]
    widths = [max(len(row[index]) for row in cells) for index in range(len(names))]
    for row in cells:
        print_line(
            "    " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    if len(sample) > _SHOWN_SAMPLE:
        print_line(f"    and {len(sample) - _SHOWN_SAMPLE} more rows in the sample")


def _print_indented(text: str) -> None:
    from ui.cli.output import print_line

    for line in text.splitlines():
        print_line(f"  {line}")
