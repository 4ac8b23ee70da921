"""`why`: one sentence and one diff."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ui.cli.options import AssetlineCommand, current_options, key_argument, partitions_option

if TYPE_CHECKING:
    from assets_core.planning.explain import Explanation


@click.command(cls=AssetlineCommand)
@key_argument
@partitions_option
def why(key: str, partitions: str | None) -> None:
    """Say why an asset partition is fresh, stale, missing, failed or blocked, with the evidence.

    Without --partitions the first partition that is not fresh is explained, or else the newest.
    """
    from ui.cli.opening import open_session
    from ui.cli.output import write_json
    from ui.read import build_explanation

    options = current_options()
    with open_session(options) as session:
        found = session.why(key, partitions)
    if options.json:
        write_json(build_explanation(found))
    else:
        _print_explanation(found)


def _print_explanation(found: Explanation) -> None:
    import shlex

    from ui.cli.output import print_line, print_next

    print_line(found.sentence)
    if diff := found.evidence.get("diff"):
        print_line()
        print_line(diff)
    for check in found.evidence.get("checks", ()):
        for row in check["sample"][:3]:
            print_line("  " + ", ".join(f"{name} {value}" for name, value in row.items()))
    for item in found.evidence.get("inputs", ()):
        for change in item["partitions"][:10]:
            columns = f" ({', '.join(change['columns'])})" if change["columns"] else ""
            before, after = change["recorded"] or "none", change["current"] or "none"
            print_line(f"  {item['asset']} {change['partition'] or ''}: {before} -> {after}{columns}")
    if found.state in ("stale", "missing", "failed"):
        option = f" -p {shlex.quote(found.partition)}" if found.partition is not None else ""
        print_next(f"assetline materialize {found.asset}{option}")
