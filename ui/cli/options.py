"""Options that every command takes, before or after its name, and options that several commands share."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

_Function = TypeVar("_Function", bound=Callable[..., Any])


class GlobalOptions:
    """What the global options of one command line said.

    Attributes:
        env: Name of the environment, None for the default one.
        branch: Name of the branch.
        project: `module` or `module:attribute` that overrides the configured project.
        json: Print one JSON document on stdout and nothing else there.
        debug: Show tracebacks.
    """

    __slots__ = ("branch", "debug", "env", "json", "project")

    def __init__(self) -> None:
        self.env: str | None = None
        self.branch = "main"
        self.project: str | None = None
        self.json = False
        self.debug = False


def current_options() -> GlobalOptions:
    """The global options of the command that is running."""
    context = click.get_current_context(silent=True)
    options = context.find_object(GlobalOptions) if context is not None else None
    return options if options is not None else GlobalOptions()


def format_command(*words: str) -> str:
    """A command line to suggest, `assetline` and the words, in the environment, branch and project of this one."""
    import shlex

    options = current_options()
    chosen = [("--project", options.project), ("--env", options.env)]
    if options.branch != "main":
        chosen.append(("--branch", options.branch))
    return shlex.join(
        ["assetline", *words, *(word for name, value in chosen if value for word in (name, value))]
    )


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    options = ctx.find_object(GlobalOptions)
    if options is not None and param.name is not None and value is not None and value is not False:
        setattr(options, param.name, value)


def build_global_options() -> list[click.Parameter]:
    """New `--env`, `--branch`, `--project`, `--json` and `--debug` that report to the `GlobalOptions`."""
    texts = (
        ("--env", "NAME", "Environment to use (default: the configured one)."),
        ("--branch", "NAME", "Branch to read and write (default: main)."),
        ("--project", "MODULE", "Module of the project, instead of the configured one."),
    )
    flags = (
        ("--json", "Print one JSON document on stdout; everything else goes to stderr."),
        ("--debug", "Show tracebacks of errors."),
    )
    return [
        *(
            click.Option(
                [name], metavar=metavar, help=text, expose_value=False, is_eager=True, callback=_remember
            )
            for name, metavar, text in texts
        ),
        *(
            click.Option(
                [name], is_flag=True, help=text, expose_value=False, is_eager=True, callback=_remember
            )
            for name, text in flags
        ),
    ]


def command_context() -> dict[str, Any]:
    """Settings of click that hold for every command."""
    return {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class AssetlineCommand(click.Command):
    """A command that takes the global options after its name, too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", command_context())
        super().__init__(*args, **kwargs)
        self.params.extend(build_global_options())


class AssetlineGroup(click.Group):
    """A group of commands, such as `runs`, whose commands all take the global options."""

    command_class = AssetlineCommand

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("context_settings", command_context())
        super().__init__(*args, **kwargs)
        self.params.extend(build_global_options())


def select_argument(function: _Function) -> _Function:
    """Add `SELECT...`: expressions that pick assets."""
    return click.argument("select", nargs=-1, metavar="[SELECT]...", shell_complete=complete_asset_keys)(
        function
    )


def key_argument(function: _Function) -> _Function:
    """Add `KEY`: one asset."""
    return click.argument("key", metavar="KEY", shell_complete=complete_asset_keys)(function)


def partitions_option(function: _Function) -> _Function:
    """Add `-p/--partitions`, with every spelling that any command takes."""
    return click.option(
        "-p",
        "--partitions",
        "--partition",
        "partitions",
        metavar="P",
        help="Partitions: 2024-01-31, 2024-01-01..2024-01-31 (both ends in), latest, latest:7, all, missing, "
        "stale, failed, or several joined by commas; of several dimensions 'day=2024-01|region=EWR'.",
    )(function)


def complete_asset_keys(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Keys of the project's assets that begin with what was typed; none when the project cannot be loaded."""
    from ui.cli.opening import open_project

    lead = incomplete[: len(incomplete) - len(incomplete.lstrip("+!"))]
    try:
        project = open_project(ctx.find_object(GlobalOptions) or GlobalOptions()).project
    except Exception:  # noqa: BLE001 - the user is still typing: a broken project must not print into the prompt
        return []
    return [lead + key for key in project.assets if key.startswith(incomplete[len(lead) :])]


def parse_run_config(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Run configuration by asset key from texts `KEY.field=value`; `KEY.a.b=1` sets the field `b` of `a`.

    A value is JSON where it can be read as such (`3`, `true`, `[1, 2]`, `"7"`), else the text itself.

    Raises:
        click.BadParameter: A text has another form.
    """
    import json

    config: dict[str, dict[str, Any]] = {}
    for text in texts:
        path, equals, raw = text.partition("=")
        key, *fields = path.strip().split(".")
        if not equals or not key or not fields or not all(fields):
            raise click.BadParameter(f"{text!r} is not of the form KEY.field=value", param_hint="--config")
        try:
            value = json.loads(raw)
        except ValueError:
            value = raw
        place = config.setdefault(key, {})
        for field in fields[:-1]:
            inner = place.setdefault(field, {})
            if not isinstance(inner, dict):
                raise click.BadParameter(f"{text!r} sets a field of a value", param_hint="--config")
            place = inner
        place[fields[-1]] = value
    return config
