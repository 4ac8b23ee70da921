"""`doctor` and `state`: is everything there that a run needs, and bringing back what can be rebuilt."""

from __future__ import annotations

import sys

import click

from ui.cli.options import AssetlineCommand, AssetlineGroup, current_options


@click.command(cls=AssetlineCommand)
def doctor() -> None:
    """Try storage, state, executor, project and secrets, and report each; exit code 1 when one is not ok.

    The storage is proved: creating what exists is refused, of racing writers one wins, what was written is read.
    """
    from assets_core.doctor import examine
    from assets_core.project.config import load_settings
    from ui.cli.output import print_line, write_json
    from ui.cli.table import Styled

    options = current_options()
    settings = load_settings()
    is_ok = True
    rows = []
    for finding in examine(settings, options.env, options.project or settings.project):
        is_ok = is_ok and finding.ok
        rows.append({"what": finding.what, "ok": finding.ok, "detail": finding.detail, "fix": finding.fix})
        if not options.json:
            mark = Styled("ok  ", "green") if finding.ok else Styled("BAD ", "red")
            print_line(mark, f" {finding.what}: {finding.detail}")
            if finding.fix:
                print_line(f"      do: {finding.fix}")
    if options.json:
        write_json(rows)
    sys.exit(0 if is_ok else 1)


@click.group(cls=AssetlineGroup)
def state() -> None:
    """The state database: a cache of the storage's log, and the record of runs."""


@state.command(cls=AssetlineCommand)
def rebuild() -> None:
    """Read every publication from the storage's log again; runs and their logs are kept."""
    from ui.cli.opening import open_session
    from ui.cli.output import print_line, write_json
    from ui.cli.text import format_count

    options = current_options()
    with open_session(options, read_only=False) as session:
        found = session.rebuild_state()
    if options.json:
        write_json({"publications": found})
    else:
        print_line(f"read {format_count(found, 'publication')} from {session.environment.storage.url}.")
