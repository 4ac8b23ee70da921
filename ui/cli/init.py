"""`init`: a small project that works, to change into one's own."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click

from ui.cli.options import AssetlineCommand, current_options

#: Files of the new project and the templates they come from.
_FILES = {
    "pyproject.toml": "pyproject.toml.txt",
    "definitions.py": "definitions.py.txt",
    "tests/test_definitions.py": "test_definitions.py.txt",
    ".gitignore": "gitignore.txt",
}
#: Files that may be there before: they are left as they are.
_OPTIONAL = frozenset({".gitignore"})


@click.command(cls=AssetlineCommand)
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
def init(folder: Path) -> None:
    """Write a small working project into DIR; nothing that is there is overwritten."""
    from ui.cli.output import print_line, write_json

    options = current_options()
    written = write_project(folder)
    if options.json:
        write_json({"folder": str(folder), "files": written})
        return
    for name in written:
        print_line(f"wrote {folder / name}")
    print_line()
    print_line("next:")
    steps = [] if folder.absolute() == Path.cwd() else [(shlex.join(["cd", str(folder)]), "")]
    steps += [
        ("assetline list", "the assets"),
        ("assetline materialize", "build everything that is missing"),
        ("assetline load weekly_revenue -p latest", "look at the data"),
        ("assetline plan", "after changing definitions.py: what would run again, and why"),
    ]
    for command, what in steps:
        print_line(f"  {command:<42}{what}".rstrip())


def write_project(folder: Path) -> list[str]:
    """Write the files of a new project; returns their names.

    Raises:
        CommandError: `init-would-overwrite`: one of them exists, and nothing was written.
    """
    from ui.cli.failures import CommandError

    there = [name for name in _FILES if (folder / name).exists() and name not in _OPTIONAL]
    if there:
        raise CommandError(
            "init-would-overwrite",
            f"cannot write a project into {folder}: {', '.join(there)} {'is' if len(there) == 1 else 'are'} there.",
            do='assetline init ANOTHER_DIR, or add [tool.assetline] with project = "MODULE" to the project there.',
            left="nothing was written.",
        )
    templates = Path(__file__).parent / "templates"
    name = re.sub(r"[^a-z0-9]+", "-", folder.absolute().name.lower()).strip("-") or "assets"
    written = []
    for target, template in _FILES.items():
        path = folder / target
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        text = (templates / template).read_text(encoding="utf-8")
        with path.open("x", encoding="utf-8") as file:
            file.write(text.replace("{{name}}", name))
        written.append(target)
    return written
