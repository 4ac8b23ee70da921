"""Everything that a user can name is in the documentation, and what the documentation names exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, anchors, blocks, links, pages, prose, title_of

_HAND_WRITTEN = [page for page in pages() if page.parent.name != "reference"]
_TEXT = {page: page.read_text(encoding="utf-8") for page in pages()}
#: Words of the project's own: what one should not be called.
_NOT_OUR_WORDS = re.compile(r"\b(dagster|airflow|prefect|luigi|dbt|SLA)\b", re.IGNORECASE)
_FOREIGN_PLACE = re.compile(
    r"/(?:home|root|tmp|work|Users|opt)/|localhost|127\.0\.0\.1|\d+\.\d+\.\d+\.\d+|pypi\.|index-url|(?<!file:)//[\w.-]+/simple"
)


@pytest.mark.slow
def test_the_reference_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(DOCS / "generate_reference.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, f"{done.stdout}{done.stderr}\nrun: python docs/generate_reference.py"


def test_every_command_is_documented() -> None:
    from ui.cli.main import COMMANDS

    everything = "\n".join(_TEXT[page] for page in _HAND_WRITTEN)
    for name in COMMANDS:
        if name != "completion":
            assert f"assetline {name}" in everything, f"no page that people wrote shows `assetline {name}`"
        assert f"### assetline {name}\n" in _TEXT[DOCS / "reference" / "commands.md"]


@pytest.mark.parametrize("page", _HAND_WRITTEN, ids=title_of)
def test_pages_speak_of_commands_that_exist(page: Path) -> None:
    from ui.cli.main import COMMANDS

    for match in re.finditer(r"(?:`|\$ )assetline ([a-z][a-z-]*)", _TEXT[page]):
        assert match[1] in COMMANDS, match[0]


def test_errors_advise_commands_that_exist() -> None:
    from ui.cli.main import COMMANDS

    advised = {
        (match[1], f"{path.relative_to(ROOT)}: {text}")
        for package in ("assets_core", "io_managers", "ui")
        for path in (ROOT / package).rglob("*.py")
        for text in re.findall(r'(?:do ?= ?f?"|`)assetline [^"`]*', path.read_text(encoding="utf-8"))
        for match in re.finditer(r"assetline ([a-z][a-z-]*)", text)
    }
    assert advised
    assert not sorted(place for command, place in advised if command not in COMMANDS)


def test_every_public_name_is_documented() -> None:
    import assets_core

    for name in assets_core.__all__:
        assert f"## {name}\n" in _TEXT[DOCS / "reference" / "python.md"]


def test_every_configuration_key_is_documented() -> None:
    from assets_core.project.config_schema import ConfigModel, EnvironmentModel

    text = _TEXT[DOCS / "reference" / "configuration.md"]
    for name in ConfigModel.model_fields:
        assert f"| `{name}` |" in text
    for name in EnvironmentModel.model_fields:
        assert f"| `env.NAME.{name}` |" in text


def test_every_entry_point_group_has_a_page() -> None:
    from assets_core.executors.opening import ENTRY_POINT_GROUP as executors
    from io_managers.formats.registry import ENTRY_POINT_GROUP as managers

    everything = "\n".join(prose(page) for page in (DOCS / "howto").glob("*.md"))
    assert f"`{executors}`" in everything
    assert f"`{managers}`" in everything


def test_the_error_codes_that_pages_show_exist() -> None:
    known = set(re.findall(r"^\| `([a-z0-9-]+)` \|", _TEXT[DOCS / "reference" / "errors.md"], re.MULTILINE))
    shown = {
        match[1] for page in _HAND_WRITTEN for match in re.finditer(r"\w+Error\[([a-z0-9-]+)\]", _TEXT[page])
    }
    assert shown
    assert shown <= known


@pytest.mark.parametrize("page", pages(), ids=title_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page):
        if target.startswith("https://"):
            continue
        name, _, fragment = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{title_of(page)} links to {target}"
        if fragment:
            assert fragment in anchors(path), f"{title_of(page)} links to {target}"


def test_every_page_can_be_reached_from_the_index() -> None:
    linked = {(DOCS / target.partition("#")[0]).resolve() for target in links(DOCS / "index.md")}
    lost = [title_of(page) for page in DOCS.rglob("*.md") if page not in linked | {DOCS / "index.md"}]
    assert not lost


def test_the_tests_that_pages_name_exist() -> None:
    named = {
        (title_of(page), match[0])
        for page in pages()
        for match in re.finditer(r"(?<![\w/])tests/[\w/]+(?:\.py)?", _TEXT[page])
    }
    missing = sorted((page, name) for page, name in named if not (ROOT / name).exists())
    assert not missing


def test_the_benchmarks_of_the_readme_are_those_that_run() -> None:
    table = (
        _TEXT[ROOT / "README.md"]
        .partition("<!-- benchmarks: begin -->")[2]
        .partition("<!-- benchmarks: end -->")[0]
    )
    source = "\n".join(path.read_text() for path in (ROOT / "tests" / "benchmarks").glob("*.py"))
    names = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert names
    for name in names:
        assert f'"{name}"' in source, f"no benchmark gives the figure {name}"


@pytest.mark.parametrize("page", pages(), ids=title_of)
def test_pages_name_no_machine_and_no_other_project(page: Path) -> None:
    text = _TEXT[page]
    assert not (found := _FOREIGN_PLACE.search(text)), found
    assert not (found := _NOT_OUR_WORDS.search(text)), found


@pytest.mark.parametrize("page", _HAND_WRITTEN, ids=title_of)
def test_pages_are_plain(page: Path) -> None:
    text = _TEXT[page]
    assert text.isascii(), sorted({char for char in text if not char.isascii()})
    assert "TODO" not in text
    for line in prose(page).splitlines():
        assert line.startswith("|") or len(line) <= 120, line


def test_every_design_note_has_its_four_parts() -> None:
    notes = sorted((DOCS / "design").glob("*.md"))
    assert [note.name[:4] for note in notes] == [f"{number:04}" for number in range(1, len(notes) + 1)]
    for note in notes:
        headings = re.findall(r"^## (.+)$", _TEXT[note], re.MULTILINE)
        assert [
            name for name in headings if name in ("Problem", "Decision", "Alternatives", "How it is tested")
        ] == [
            "Problem",
            "Decision",
            "Alternatives",
            "How it is tested",
        ], title_of(note)


def test_shown_commands_are_few_enough_to_be_run() -> None:
    shown = sum(
        block.text.count("\n$ ") + 1
        for page in pages()
        for block in blocks(page)
        if block.language == "console"
    )
    assert shown < 130
