"""The command `assetline`: finds the command that was named, runs it, and turns its end into an exit code.

Only click is imported here. A command's module is imported when the command is called, so that `--help` and a
mistyped name cost next to nothing. The exit codes are in `ui.cli.failures`.
"""

import io
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any, NamedTuple, cast

import click

from io_managers.nearest import nearest_names
from ui.cli.options import GlobalOptions, build_global_options, command_context


class Entry(NamedTuple):
    """Where a command lives, as `module:attribute`, and its line in the help."""

    target: str
    help: str


SECTIONS: dict[str, dict[str, Entry]] = {
    "Define": {
        "init": Entry("ui.cli.init:init", "Write a small working project into a folder."),
        "list": Entry("ui.cli.catalog:list_assets", "List the assets."),
        "show": Entry("ui.cli.catalog:show", "Show one asset in full."),
    },
    "Build": {
        "plan": Entry("ui.cli.build:plan", "Show what would run, and why."),
        "materialize": Entry(
            "ui.cli.build:materialize", "Run everything missing or stale, or what is asked for."
        ),
        "status": Entry("ui.cli.build:status", "Show what is fresh, stale, missing, failed and blocked."),
        "why": Entry("ui.cli.why:why", "Say why something ran, is stale, missing, failed or blocked."),
        "runs": Entry("ui.cli.runs:runs", "List runs, show one, read its logs."),
    },
    "Data": {
        "load": Entry("ui.cli.data:load", "Print the rows of an asset, or write them to a file."),
        "history": Entry("ui.cli.data:history", "List the versions of an asset."),
        "partitions": Entry(
            "ui.cli.partitions:partitions", "List, add and remove keys of dynamic partitions."
        ),
    },
    "Operate": {
        "doctor": Entry("ui.cli.doctor:doctor", "Try storage, state, executor and secrets, and report each."),
        "state": Entry("ui.cli.doctor:state", "Rebuild the state database from the storage's log."),
    },
    "Shell": {
        "completion": Entry("ui.cli.completion:completion", "Print the completion script of a shell."),
    },
}

COMMANDS: dict[str, Entry] = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class RootGroup(click.Group):
    """Knows the commands by name and imports the module of one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command's name, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, its module imported; None when there is none."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        return cast(click.Command, getattr(import_module(module), attribute))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the arguments name; the nearest names are suggested when there is none."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            close = nearest_names(name, COMMANDS, n=3, cutoff=0.5)
            hint = f" Did you mean {' or '.join(repr(match) for match in close)}?" if close else ""
            ctx.fail(f"No such command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by section, from the table alone."""
        width = max(map(len, COMMANDS))
        for title, entries in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), entry.help) for name, entry in entries.items()])

    def main(  # type: ignore[override]  # always exits, like click's standalone mode
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> None:
        """Run a command line and exit with its code; errors are printed here and nowhere else."""
        argv = list(sys.argv[1:] if args is None else args)
        options = extra.setdefault("obj", GlobalOptions())
        with _reserved_for_json(argv):
            try:
                result = super().main(
                    argv,
                    prog_name or "assetline",
                    complete_var,
                    standalone_mode=False,
                    windows_expand_args=windows_expand_args,
                    **extra,
                )
                sys.stdout.flush()
                code = result if isinstance(result, int) else 0
            except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the boundary of the command line
                from ui.cli.failures import report_error

                # A command line that could not be read has not set the options; its intent is still plain.
                options.json = options.json or "--json" in argv
                code = report_error(error, options)
        sys.exit(code)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a reader of our output that left early is no error to speak of."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _ReaderGoneError from error


class _ReaderGoneError(Exception):
    """The program that read our output closed it; click would exit with 1, which means a failed step here."""


def _reserved_for_json(argv: Sequence[str]) -> AbstractContextManager[None]:
    """Keeps what users' code prints out of a JSON document; does nothing for output that people read."""
    if "--json" not in argv or not {"-h", "--help", "--version"}.isdisjoint(argv):
        return nullcontext()
    from ui.cli.output import reserve_stdout

    return reserve_stdout()


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from importlib.metadata import version

    click.echo(f"assetline {version('assetline')}")
    ctx.exit()


cli = RootGroup(
    "assetline",
    help="Typed data assets: planned by what changed, checked before anyone can read them, published atomically.",
    epilog="assetline COMMAND --help explains a command.",
    context_settings=command_context(),
    params=[
        *build_global_options(),
        click.Option(
            ["--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_print_version,
            help="Print the version and exit.",
        ),
    ],
)


def run() -> None:
    """The entry point of the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace"
            )  # a name that the terminal cannot show is no failure
    cli.main()


if __name__ == "__main__":
    run()
