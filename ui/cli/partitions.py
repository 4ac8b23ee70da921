"""`partitions list`, `partitions add` and `partitions remove`: the keys of dynamic partitions."""

from __future__ import annotations

import click

from ui.cli.options import AssetlineGroup, current_options

_NAME_HELP = "NAME: of the dynamic partitions, or the key of an asset that has them."


@click.group(cls=AssetlineGroup)
def partitions() -> None:
    """List, add and remove the keys of dynamic partitions, which are kept in the storage."""


@partitions.command("list", epilog=_NAME_HELP)
@click.argument("name", metavar="NAME")
def list_keys(name: str) -> None:
    """List the keys in the order in which they were added."""
    from ui.cli.opening import open_session
    from ui.cli.output import write_json
    from ui.cli.text import format_count

    options = current_options()
    with open_session(options) as session:
        keys = session.partition_keys(name)
    if options.json:
        write_json({"name": name, "partitions": list(keys)})
        return
    for key in keys:
        click.echo(key)
    click.echo(format_count(len(keys), "partition"), err=True)


@partitions.command("add", epilog=_NAME_HELP)
@click.argument("name", metavar="NAME")
@click.argument("keys", metavar="PARTITION...", nargs=-1, required=True)
def add_keys(name: str, keys: tuple[str, ...]) -> None:
    """Add keys; those that are there stay as they are."""
    from ui.cli.opening import open_session

    options = current_options()
    with open_session(options, read_only=False) as session:
        added = session.add_partitions(name, keys)
        _report("added", name, added, session.partition_keys(name))


@partitions.command("remove", epilog=_NAME_HELP)
@click.argument("name", metavar="NAME")
@click.argument("keys", metavar="PARTITION...", nargs=-1, required=True)
def remove_keys(name: str, keys: tuple[str, ...]) -> None:
    """Remove keys; `history` still tells what was published for them."""
    from ui.cli.opening import open_session

    options = current_options()
    with open_session(options, read_only=False) as session:
        removed = session.remove_partitions(name, keys)
        _report("removed", name, removed, session.partition_keys(name))


def _report(done: str, name: str, changed: tuple[str, ...], keys: tuple[str, ...]) -> None:
    from ui.cli.output import print_line, write_json
    from ui.cli.text import format_count

    if current_options().json:
        write_json({"name": name, done: list(changed), "partitions": list(keys)})
    else:
        print_line(f"{done} {format_count(len(changed), 'partition')}; {name} has {len(keys):,}")
