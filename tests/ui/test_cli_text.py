"""How values are written for people, and what texts the command line takes."""

import datetime as dt

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui.cli.options import parse_run_config
from ui.cli.text import format_bytes, format_count, format_duration, format_time, parse_time


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0 ms"),
        (0.0123, "12 ms"),
        (0.9996, "1.0 s"),
        (4.23, "4.2 s"),
        (59.96, "1 m 0 s"),
        (200, "3 m 20 s"),
        (18_600, "5 h 10 m"),
        (183_600, "2 d 3 h"),
        (-4.23, "-4.2 s"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float | None, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.floats(min_value=0, max_value=1e9))
def test_a_duration_is_always_short(seconds: float) -> None:
    assert 0 < len(format_duration(seconds)) <= 16


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, "-"), (0, "0 B"), (812, "812 B"), (3_400, "3.4 KB"), (999_999, "1.0 MB"), (10**16, "10000.0 TB")],
)
def test_a_size_is_in_steps_of_a_thousand(size: int | None, text: str) -> None:
    assert format_bytes(size) == text


def test_a_count_agrees_with_its_noun() -> None:
    assert [format_count(n, "step") for n in (0, 1, 1234)] == ["0 steps", "1 step", "1,234 steps"]
    assert format_count(1234) == "1,234"
    assert format_count(2, "entry", "entries") == "2 entries"


def test_a_time_is_shown_in_the_local_zone_with_its_offset() -> None:
    shown = format_time("2024-05-01T12:00:00+00:00")

    assert dt.datetime.strptime(shown, "%Y-%m-%d %H:%M:%S %z") == dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)
    assert format_time(None) == "-"


def test_a_time_without_offset_is_local() -> None:
    assert parse_time("2024-05-01T14:00+02:00") == dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)
    assert parse_time("2024-05-01") == dt.datetime(2024, 5, 1).astimezone()
    with pytest.raises(ValueError, match="soon"):
        parse_time("soon")


def test_run_config_takes_json_and_else_text() -> None:
    texts = [
        "raw/orders.limit=3",
        "raw/orders.name=three",
        'raw/orders.quoted="3"',
        "x.flag=true",
        "x.list=[1, 2]",
    ]

    assert parse_run_config(texts) == {
        "raw/orders": {"limit": 3, "name": "three", "quoted": "3"},
        "x": {"flag": True, "list": [1, 2]},
    }


def test_run_config_reaches_fields_of_fields_and_keeps_equals_signs_of_values() -> None:
    assert parse_run_config(["x.a.b=1", "x.a.c=p=q"]) == {"x": {"a": {"b": 1, "c": "p=q"}}}


@pytest.mark.parametrize("text", ["x", "x=1", ".a=1", "x.=1", "x.a", "x.a..b=1"])
def test_run_config_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"KEY\.field=value"):
        parse_run_config([text])


def test_run_config_does_not_set_a_field_of_a_value() -> None:
    with pytest.raises(click.BadParameter, match="field of a value"):
        parse_run_config(["x.a=1", "x.a.b=2"])
