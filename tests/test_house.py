"""The rules of the house, on the files themselves: floors, sizes, names, errors, and what an import may do."""

import ast
import importlib
import inspect
import json
import pickle
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from assets_core.errors import AssetlineError, DefinitionError, DefinitionErrors

ROOT = Path(__file__).parents[1]
PRODUCT = ("assets_core", "io_managers", "lineage", "ui", "example_project")
SOURCES = sorted(path for name in PRODUCT for path in (ROOT / name).rglob("*.py"))
MAX_LINES = 500
NO_SUBJECT = {"utils", "util", "helpers", "helper", "common", "misc"}
TOP_LEVEL = {
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "assets_core",
    "docs",
    "example_project",
    "io_managers",
    "lineage",
    "pyproject.toml",
    "requirements.lock",
    "tests",
    "ui",
}
HEAVY = (
    "great_expectations",
    "networkx",
    "numpy",
    "pandas",
    "pyarrow",
    "sqlalchemy",
    "sqlglot",
    "streamlit",
)
CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)+")


def title_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def repository_files() -> tuple[str, ...]:
    """The files that are, or would be, in the repository."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return tuple(sorted(name for name in done.stdout.split("\0") if (ROOT / name).is_file()))


def run_python(program: str) -> str:
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- modules ---------------------------------------------------------------------------------------------------------


def test_imports_go_down_only() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"]
    done = subprocess.run([*command, "--no-logo"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


def test_no_module_is_longer_than_one_can_read() -> None:
    lines = {title_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {name: n for name, n in lines.items() if n > MAX_LINES} == {}


def test_every_module_is_named_after_its_subject() -> None:
    parts = {
        (title_of(path), part) for path in SOURCES for part in Path(title_of(path)).with_suffix("").parts
    }
    assert [name for name, part in parts if part.strip("_") in NO_SUBJECT] == []


def test_every_package_and_module_says_what_it_is() -> None:
    assert [title_of(path) for path in SOURCES if not ast.get_docstring(tree_of(path))] == []
    folders = {path.parent for path in SOURCES}
    assert [title_of(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


# -- files -----------------------------------------------------------------------------------------------------------


def test_nothing_else_lies_at_the_top_of_the_repository() -> None:
    entries = {name.partition("/")[0] for name in repository_files()}
    assert {entry for entry in entries - TOP_LEVEL if not entry.startswith(".")} == set()
    assert TOP_LEVEL - entries == set()


def registry_names() -> list[str]:
    """The hosts of the package registry, as the installer knows them; this file must not hold them either."""
    try:
        from pip._internal.models.index import PyPI, TestPyPI
    except ImportError:
        return [".".join(("pypi", "org")), ".".join(("pythonhosted", "org"))]
    return [
        name
        for index in (PyPI, TestPyPI)
        for name in (index.netloc, index.file_storage_domain.partition(".")[2])
    ]


def test_no_file_names_a_package_registry_or_the_place_of_this_checkout() -> None:
    hosts = "|".join(map(re.escape, registry_names()))
    here = rf"(?<![\w./-]){re.escape(str(ROOT))}(?![\w-])"
    wrong = re.compile(f"{hosts}|{here}".encode())
    assert wrong.search(str(ROOT).encode()) and wrong.search(registry_names()[0].encode())
    found = [name for name in repository_files() if wrong.search((ROOT / name).read_bytes())]
    assert found == []


def test_the_lock_holds_names_and_versions_only() -> None:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*==[\w.!+-]+", line)] == []


# -- imports ---------------------------------------------------------------------------------------------------------

IMPORT_ALL = """
import importlib, json, logging, os, pkgutil, signal, sys, threading

def state():
    root = logging.getLogger()
    return {
        "handlers": [repr(handler) for handler in root.handlers],
        "level": root.level,
        "disabled": logging.root.manager.disable,
        "folder": os.getcwd(),
        "path": list(sys.path),
        "environment": dict(os.environ),
        "threads": threading.active_count(),
        "signals": [repr(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)],
        "hooks": [repr(hook) for hook in (sys.excepthook, threading.excepthook, sys.stdout, sys.stderr)],
    }

names = [
    module.name
    for package in %r
    for module in pkgutil.walk_packages([package], package + ".")
    if not module.name.endswith("__main__")
]
before, changed = state(), {}
for name in names:
    importlib.import_module(name)
    after = state()
    if after != before:
        changed[name] = [key for key in after if after[key] != before[key]]
        before = after
print(json.dumps([len(names), changed]))
"""


@pytest.mark.slow
def test_importing_changes_nothing_outside_of_the_module() -> None:
    n_modules, changed = json.loads(run_python(IMPORT_ALL % (PRODUCT,)))
    assert changed == {}
    assert n_modules > 100


def test_showing_the_help_imports_nothing_heavy() -> None:
    program = (
        "import contextlib, io, json, sys\n"
        "sys.argv = ['assetline', '--help']\n"
        "from ui.cli.main import run\n"
        "shown = io.StringIO()\n"
        "with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):\n    run()\n"
        "print(json.dumps(['Usage' in shown.getvalue(), sorted(sys.modules)]))"
    )
    is_shown, modules = json.loads(run_python(program))
    assert is_shown
    assert {name.partition(".")[0] for name in modules} & set(HEAVY) == set()


# -- errors ----------------------------------------------------------------------------------------------------------


def import_all() -> None:
    for package in PRODUCT:
        for module in pkgutil.walk_packages([str(ROOT / package)], f"{package}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)


def error_types(base: type[AssetlineError] = AssetlineError) -> Iterator[type[AssetlineError]]:
    """The tree of the product's errors; tests may have made more."""
    if base.__module__.partition(".")[0] in PRODUCT:
        yield base
    for kind in base.__subclasses__():
        yield from error_types(kind)


def built(kind: type[AssetlineError]) -> AssetlineError:
    """One error of the type, with everything that it can say."""
    if kind is DefinitionErrors:
        errors = [DefinitionError(f"some-case-{n}", f"asset {n} is wrong.", do="mend it.") for n in range(2)]
        return DefinitionErrors(errors)
    said = {
        "code": "some-case",
        "what": "raw/orders v7 is wrong.",
        "why": "it has 3 rows.",
        "do": "assetline plan",
        "left": "nothing.",
    }
    positional, named = [], {}
    for name, parameter in inspect.signature(kind).parameters.items():
        value = said.get(name, f"some {name}")
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            positional.append(value)
        elif name in said or parameter.default is parameter.empty:
            named[name] = value
    return kind(*positional, **named)


@pytest.mark.slow
def test_every_error_says_what_and_what_to_do_and_crosses_a_process_border() -> None:
    import_all()
    kinds = list(error_types())
    assert len(kinds) >= 16
    for kind in kinds:
        error = built(kind)
        text = str(error)
        assert error.what in text or kind is DefinitionErrors, kind
        assert re.search(r"^  do:   \S", text, re.MULTILINE), kind
        assert len(text.splitlines()) < 12, kind
        assert CODE.fullmatch(error.code), kind
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again).keys()) == (kind, text, vars(error).keys())


def raised_codes(node: ast.expr) -> list[str] | None:
    """The codes an expression can be, or None when they come from elsewhere."""
    match node:
        case ast.Constant(value=str(code)):
            return [code]
        case ast.IfExp(body=first, orelse=second):
            return [*(raised_codes(first) or []), *(raised_codes(second) or [])]
    return None


def error_calls() -> Iterator[tuple[str, ast.Call]]:
    """Every place of the product's code that builds an error, as file:line and call."""
    names = {kind.__name__ for kind in error_types()} - {DefinitionErrors.__name__}
    for path in SOURCES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                if name in names and node.args:
                    yield f"{title_of(path)}:{node.lineno}", node


def test_every_error_is_raised_with_a_code_and_a_way_out() -> None:
    calls = list(error_calls())
    assert len(calls) > 100
    for place, call in calls:
        for code in raised_codes(call.args[0]) or []:
            assert CODE.fullmatch(code), f"{place}: {code!r} is no code in kebab-case"
        arguments = {keyword.arg: keyword.value for keyword in call.keywords}
        assert "do" in arguments or None in arguments, f"{place} says not what to do"
        assert not (isinstance(arguments.get("do"), ast.Constant) and not arguments["do"].value), place
