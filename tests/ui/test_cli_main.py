"""The command line itself: laziness, global options, exit codes, errors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from assets_core import errors
from io_managers.keys import InvalidKeyError
from ui.cli import failures
from ui.cli.main import COMMANDS, cli

HEAVY = {
    "numpy",
    "pandas",
    "pyarrow",
    "sqlalchemy",
    "pydantic",
    "rich",
    "fsspec",
    "importlib.metadata",
    "assets_core",
}


def run_python(code: str, *, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=cwd)


def test_help_imports_no_command_and_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from ui.cli.main import cli\n"
        "try:\n    cli.main(['--help'])\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "print('MODULES', *sorted(sys.modules))"
    )
    modules = set(run_python(code).stdout.split("MODULES ")[1].split())

    assert not modules & HEAVY
    assert {name for name in modules if name.startswith("ui.cli.")} == {"ui.cli.main", "ui.cli.options"}


def test_help_names_every_command_with_its_line() -> None:
    text = CliRunner().invoke(cli, ["--help"], terminal_width=200).stdout

    for name, entry in COMMANDS.items():
        assert any(line.split()[:1] == [name] and entry.help in line for line in text.splitlines())


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_exists_and_takes_the_global_options(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"], terminal_width=200)

    assert result.exit_code == 0
    for option in ("--env", "--json", "--branch", "--debug", "--project"):
        assert option in result.stdout


def test_an_unknown_command_is_a_usage_error_that_names_the_nearest() -> None:
    result = CliRunner().invoke(cli, ["materialise"])

    assert result.exit_code == 2
    assert "No such command 'materialise'. Did you mean 'materialize'?" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    "arguments", [["--json", "plna"], ["plan", "--json", "--no-such"], ["runs", "shwo", "--json"]]
)
def test_with_json_a_usage_error_is_one_document_on_stdout(arguments: list[str]) -> None:
    result = CliRunner().invoke(cli, arguments)

    assert result.exit_code == 2
    assert set(json.loads(result.stdout)["error"]) == {"kind", "code", "what", "why", "do", "left"}
    assert json.loads(result.stdout)["error"]["kind"] == "UsageError"


@pytest.mark.parametrize("arguments", [["--json", "completion", "bash"], ["completion", "bash", "--json"]])
def test_a_global_option_counts_before_and_after_the_command(arguments: list[str]) -> None:
    result = CliRunner().invoke(cli, arguments)

    assert result.exit_code == 0
    assert json.loads(result.stdout)["shell"] == "bash"


def test_a_global_option_counts_between_the_names_of_a_group_and_its_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def fail(options: object, **_: object) -> None:
        seen.append(options)
        raise errors.ConfigError("x", "stop here.", do="nothing.")

    monkeypatch.setattr("ui.cli.opening.open_session", fail)

    CliRunner().invoke(cli, ["--env", "a", "runs", "--branch", "b", "list", "--json", "--project", "c"])

    assert (seen[0].env, seen[0].branch, seen[0].json, seen[0].project) == ("a", "b", True, "c")  # type: ignore[attr-defined]


def test_the_version_is_printed() -> None:
    result = CliRunner().invoke(cli, ["--version"])

    assert result.exit_code == 0
    assert result.stdout.startswith("assetline ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(shell: str) -> None:
    result = CliRunner().invoke(cli, ["completion", shell])

    assert result.exit_code == 0
    assert "_ASSETLINE_COMPLETE" in result.stdout


CODES = [
    (errors.DefinitionError, 2),
    (errors.ConfigError, 2),
    (errors.SelectionError, 2),
    (errors.NotFoundError, 2),
    (errors.PlanError, 2),
    (errors.PluginError, 2),
    (errors.FormatError, 2),
    (InvalidKeyError, 2),
    (failures.CommandError, 2),
    (errors.StorageError, 1),
    (errors.StateError, 1),
    (errors.ConflictError, 1),
    (errors.UserCodeError, 1),
    (errors.WorkerLostError, 1),
    (errors.InternalError, 1),
    (errors.CheckFailedError, 3),
]


@pytest.mark.parametrize(("kind", "code"), CODES)
def test_an_error_ends_with_the_exit_code_of_its_kind(
    kind: type[errors.AssetlineError], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(kind("some-code", "it went wrong.", why="because.", do="mend it.", left="a file."), monkeypatch)

    result = CliRunner().invoke(cli, ["list"])

    assert result.exit_code == code
    assert result.stderr.splitlines()[0] == f"{kind.__name__}[some-code]: it went wrong."
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr("ui.cli.opening.open_project", fail)


def test_with_json_an_error_is_on_stdout_and_its_text_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(errors.PlanError("some-code", "it went wrong.", why="because.", do="mend it."), monkeypatch)

    result = CliRunner().invoke(cli, ["list", "--json"])

    assert json.loads(result.stdout) == {
        "error": {
            "kind": "PlanError",
            "code": "some-code",
            "what": "it went wrong.",
            "why": "because.",
            "do": "mend it.",
            "left": "",
        }
    }
    assert "it went wrong." in result.stderr


def test_definition_errors_are_all_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    several = [errors.DefinitionError("a", "first.", do="x"), errors.DefinitionError("b", "second.", do="x")]
    fail_with(errors.DefinitionErrors(several), monkeypatch)

    result = CliRunner().invoke(cli, ["list", "--json"])

    assert [item["code"] for item in json.loads(result.stdout)["error"]["errors"]] == ["a", "b"]
    assert "first." in result.stderr
    assert "second." in result.stderr


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(errors.PlanError("some-code", "it went wrong.", do="mend it."), monkeypatch)

    assert "Traceback" in CliRunner().invoke(cli, ["list", "--debug"]).stderr


def test_an_unforeseen_error_is_a_bug_to_report_without_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(ZeroDivisionError("division by zero"), monkeypatch)

    result = CliRunner().invoke(cli, ["list"])

    assert result.exit_code == 1
    assert result.stderr.startswith(
        "InternalError[unexpected-error]: the command stopped with ZeroDivisionError"
    )
    assert "Traceback" not in result.stderr


def test_a_refusal_of_the_operating_system_names_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(PermissionError(13, "Permission denied", "/some/where"), monkeypatch)

    result = CliRunner().invoke(cli, ["list"])

    assert result.exit_code == 1
    assert "/some/where: Permission denied" in result.stderr


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(KeyboardInterrupt(), monkeypatch)

    result = CliRunner().invoke(cli, ["list"])

    assert result.exit_code == 130
    assert "cancelled" in result.stderr


def test_a_reader_that_left_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-c", "from ui.cli.main import run; run()", "completion", "bash"],
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writer)

    assert done.returncode == failures.READER_GONE
    assert done.stderr == b""
