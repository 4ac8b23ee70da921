"""What is seen of a run while it goes on, always on stderr: a bar on a terminal, one line a step elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Literal

from assets_core.engine.executor import StepLog, StepOutcome, StepStarted
from io_managers.keys import format_asset_partition
from ui.cli.text import format_count, format_duration

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from assets_core.engine.executor import Report
    from assets_core.planning.plan import Plan, PlannedStep
    from assets_core.running import RunResult

_GOOD = ("succeeded", "unchanged")
#: Up to so many steps a terminal shows each, beyond only those that went wrong.
_SHOWN_EACH = 100
#: Seconds between two lines of a long run without a terminal.
_EVERY_S = 2.0
_REFRESH_S = 0.1
#: Width of the bar, twice: the numbers beside it take about as much.
_BAR_COLUMNS = 40


class StepCounter:
    """Counts steps by how they ended; a step that is tried again counts once, as its last try ended."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.running: dict[int, str] = {}
        self._unsuccessful: dict[int, str] = {}

    @property
    def done(self) -> int:
        """Steps that have ended."""
        return self.counts.total()

    def started(self, step: int, name: str) -> None:
        """A try of a step began."""
        self.running[step] = name
        earlier = self._unsuccessful.pop(step, None)
        if earlier is not None:
            self.counts[earlier] -= 1

    def ended(self, step: int, state: str) -> None:
        """A try of a step ended."""
        self.running.pop(step, None)
        self.counts[state] += 1
        if state not in _GOOD:
            self._unsuccessful[step] = state


def format_step(step: PlannedStep, outcome: StepOutcome) -> str:
    """`raw/orders[2024-01-01] succeeded  v3  812 rows  0.3 s`, or the first line of what went wrong."""
    name = format_asset_partition(step.asset, step.partition)
    text = f"{name} {outcome.state}"
    if outcome.attempt > 1:
        text += f" (attempt {outcome.attempt})"
    if outcome.state not in _GOOD:
        return f"{text}: {outcome.error.message.partition(chr(10))[0]}" if outcome.error is not None else text
    if outcome.state == "succeeded" and outcome.publication is not None:
        rows = outcome.publication.rows
        text += f"  v{outcome.publication.seq}" + (f"  {rows:,} rows" if rows is not None else "")
    return f"{text}  {format_duration(outcome.duration_s)}"


class PlainProgress:
    """Lines on stderr: each step that ends and each line that one logs.

    Of a long run each step that went wrong, and of the others one every two seconds.

    Attributes:
        plan: What the run carries out; None before it began.
    """

    def __init__(self) -> None:
        self.plan: Plan | None = None
        self._counter = StepCounter()
        self._total = 0
        self._written_at = 0.0

    def run_started(self, run_id: str, plan: Plan) -> None:
        """Say which run began."""
        self.plan = plan
        self._total = plan.n_steps
        if self._total:
            self._write(f"run {run_id}: {format_count(self._total, 'step')}")

    def report(self, step: PlannedStep, report: Report) -> None:
        """Take what happened to one step."""
        match report:
            case StepStarted():
                self._counter.started(report.step, "")
            case StepLog():
                self._write(format_log_line(step, report))
            case StepOutcome():
                self._counter.ended(report.step, report.state)
                now = time.monotonic()
                is_due = self._total <= _SHOWN_EACH or now - self._written_at >= _EVERY_S
                if is_due or report.state not in ("succeeded", "unchanged"):
                    self._written_at = now
                    self._write(f"[{self._counter.done}/{self._total}] {format_step(step, report)}")

    def run_finished(self, result: RunResult) -> None:
        """Nothing: the summary is the command's."""

    def close(self) -> None:
        """Nothing is open."""

    def _write(self, text: str) -> None:
        # A run does not fail because nobody watches it any more.
        with contextlib.suppress(BrokenPipeError):
            sys.stderr.write(text + "\n")
            sys.stderr.flush()


class LiveProgress:
    """A bar with what is running, and above it the steps that ended: all of a small run, else those gone wrong.

    Attributes:
        plan: What the run carries out; None before it began.
    """

    def __init__(self) -> None:
        self.plan: Plan | None = None
        self._counter = StepCounter()
        self._shows_each = True
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._refreshed_at = 0.0
        self._names_width = 0

    def run_started(self, run_id: str, plan: Plan) -> None:
        """Draw the bar."""
        self.plan = plan
        if not plan.n_steps:
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        from ui.cli.output import build_live_console

        self._shows_each = plan.n_steps <= _SHOWN_EACH
        console = build_live_console()
        console.print(f"run {run_id}: {format_count(plan.n_steps, 'step')}", soft_wrap=True)
        self._names_width = max(0, console.width - _BAR_COLUMNS - len(f"{plan.n_steps}") * 2)
        self._progress = Progress(
            BarColumn(bar_width=_BAR_COLUMNS // 2),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False, style="bright_black"),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task("", total=plan.n_steps)
        self._progress.start()

    def report(self, step: PlannedStep, report: Report) -> None:
        """Take what happened to one step."""
        match report:
            case StepStarted():
                self._counter.started(report.step, format_asset_partition(step.asset, step.partition))
            case StepLog():
                self._print(format_log_line(step, report), "bright_black")
            case StepOutcome():
                self._counter.ended(report.step, report.state)
                if self._shows_each or report.state not in _GOOD:
                    from ui.cli.output import STATE_STYLES

                    self._print(format_step(step, report), STATE_STYLES.get(report.state, ""))
        self._refresh()

    def run_finished(self, result: RunResult) -> None:
        """Take the bar away; the summary is the command's."""
        self.close()

    def close(self) -> None:
        """Take the bar away, however the run ended."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _print(self, text: str, style: str) -> None:
        from rich.text import Text

        if self._progress is not None:
            self._progress.console.print(Text(text, style=style), soft_wrap=True)

    def _refresh(self) -> None:
        now = time.monotonic()
        if self._progress is None or self._task is None or now - self._refreshed_at < _REFRESH_S:
            return
        self._refreshed_at = now
        names = list(self._counter.running.values())
        shown = ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")
        counts = self._counter.counts
        bad = [
            f"{counts[state]} {state}"
            for state in ("failed", "lost", "blocked", "superseded")
            if counts[state]
        ]
        text = "  ".join([*bad, shown])
        if len(text) > self._names_width:
            text = text[: max(0, self._names_width - 1)] + "…"
        self._progress.update(self._task, completed=self._counter.done, description=text)


def format_log_line(step: PlannedStep, line: StepLog) -> str:
    """`raw/orders[2024-01-01] info: what it said`."""
    return f"{format_asset_partition(step.asset, step.partition)} {line.level}: {line.message}"


def build_progress(kind: Literal["auto", "plain"] = "auto") -> LiveProgress | PlainProgress:
    """The bar when stderr is a terminal, else lines."""
    return LiveProgress() if kind == "auto" and sys.stderr.isatty() else PlainProgress()
