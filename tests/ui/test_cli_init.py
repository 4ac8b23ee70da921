"""`init` writes a project that works, and overwrites nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ui.cli.main import cli

FILES = ["pyproject.toml", "definitions.py", "tests/test_definitions.py", ".gitignore"]


def test_init_writes_the_files_and_names_the_next_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    result = CliRunner().invoke(cli, ["init", "My Shop"])

    assert result.exit_code == 0
    assert all((tmp_path / "My Shop" / name).is_file() for name in FILES)
    assert "cd 'My Shop'" in result.stdout
    assert "assetline materialize" in result.stdout
    assert 'name = "my-shop"' in (tmp_path / "My Shop" / "pyproject.toml").read_text()
    assert not any("{{" in (tmp_path / "My Shop" / name).read_text() for name in FILES)


def test_init_with_json_lists_the_files(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["init", str(tmp_path / "x"), "--json"])

    assert json.loads(result.stdout) == {"folder": str(tmp_path / "x"), "files": FILES}


def test_init_overwrites_nothing_and_writes_nothing_then(tmp_path: Path) -> None:
    (tmp_path / "definitions.py").write_text("mine")

    result = CliRunner().invoke(cli, ["init", str(tmp_path)])

    assert result.exit_code == 2
    assert "definitions.py is there" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["definitions.py"]
    assert (tmp_path / "definitions.py").read_text() == "mine"


def test_init_leaves_a_gitignore_as_it_is(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("mine\n")

    assert CliRunner().invoke(cli, ["init", str(tmp_path)]).exit_code == 0
    assert (tmp_path / ".gitignore").read_text() == "mine\n"


@pytest.mark.slow
def test_the_new_project_builds_loads_and_passes_its_own_tests(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ASSETLINE_")}

    def run(*arguments: str, program: str = "from ui.cli.main import run; run()") -> str:
        command = [sys.executable, "-c", program, *arguments]
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    folder = tmp_path
    run("init", "shop")
    folder = tmp_path / "shop"
    assert {row["key"] for row in json.loads(run("list", "--json"))} == {
        "customers",
        "orders",
        "revenue",
        "weekly_revenue",
    }
    assert json.loads(run("materialize", "--json"))["steps"]["succeeded"] == 43
    assert json.loads(run("plan", "--json"))["steps"] == []
    assert {
        row["country"] for row in json.loads(run("load", "weekly_revenue", "-p", "latest", "--json"))
    } == {
        "DE",
        "FR",
        "IT",
    }
    assert "2 passed" in run("-q", program="import pytest, sys; sys.exit(pytest.main())")
