"""Tables as text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.profiles import scale
from ui.cli import output
from ui.cli.table import Styled, format_table, text_width


def lines_of(rows: list[list[str]], **options: object) -> list[str]:
    return ["".join(piece.text for piece in line) for line in format_table(rows, **options)]  # type: ignore[arg-type]


def test_columns_stand_under_one_another() -> None:
    rows = [["asset", "n", "why"], ["東京", "1", ""], ["raw/b", "20", "x"]]

    assert lines_of(rows, right=[1]) == ["asset   n  why", "東京    1", "raw/b  20  x"]


def test_a_cell_of_several_lines_takes_several() -> None:
    assert lines_of([["a", "x\ny"], ["b", "z"]]) == ["a  x", "   y", "b  z"]


def test_the_widest_loose_column_is_folded_at_words() -> None:
    rows = [["a-fixed-column-that-stays", "one two three four five six seven", "short"]]

    assert lines_of(rows, fixed=[0], width=52) == [
        "a-fixed-column-that-stays  one two three four  short",
        "                           five six seven",
    ]


def test_what_cannot_be_folded_goes_beyond_the_width() -> None:
    assert lines_of([["a" * 30, "b" * 30]], fixed=[0, 1], width=20) == ["a" * 30 + "  " + "b" * 30]


words = st.text(st.characters(codec="utf-8", categories=["L", "Nd"]), max_size=30)


@settings(max_examples=scale(50))
@given(st.lists(st.tuples(words, words, words), min_size=1, max_size=5), st.integers(40, 80))
def test_folding_keeps_every_character_and_the_width(rows: list[tuple[str, str, str]], width: int) -> None:
    lines = lines_of([list(row) for row in rows], width=width)

    flat = [cell for row in rows for cell in row]
    assert sorted("".join(lines).replace(" ", "")) == sorted("".join(flat).replace(" ", ""))
    assert all(line == line.rstrip() for line in lines)
    if all(cell.isascii() for cell in flat):
        assert max(map(text_width, lines)) <= width


@pytest.mark.parametrize("setting", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_are_for_terminals_that_want_them(
    setting: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert output.has_colour(Terminal())  # type: ignore[arg-type]
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    assert not output.has_colour(Terminal())  # type: ignore[arg-type]


def test_text_in_a_pipe_has_no_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_line("run ", output.styled_state("failed"), Styled(" x", "bold"))

    assert capsys.readouterr().out == "run failed x\n"
