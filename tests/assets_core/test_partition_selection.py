import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from assets_core.definition.partitions.base import UNPARTITIONED, PartitionSet
from assets_core.definition.partitions.static import StaticPartitions
from assets_core.definition.partitions.time import (
    CronPartitions,
    DailyPartitions,
    HourlyPartitions,
    MonthlyPartitions,
    WeeklyPartitions,
)
from assets_core.errors import SelectionError
from assets_core.project.partition_selection import parse_partitions
from tests.support.profiles import scale

NEW_YORK = "America/New_York"
DAYS = DailyPartitions("2013-01-01", "2014-01-01", NEW_YORK)
HOURS = HourlyPartitions("2013-01-01", "2014-01-01", NEW_YORK)
WEEKS = WeeklyPartitions("2013-01-01", "2014-01-01", NEW_YORK)
MONTHS = MonthlyPartitions("2013-01-01", "2014-01-01", NEW_YORK)
QUARTERS = CronPartitions("*/15 * * * *", "2013-11-03", "2013-11-04", NEW_YORK)
AIRPORTS = StaticPartitions(["EWR", "JFK", "LGA", "BOS"])
ODD = StaticPartitions(
    ["a", "b", "c", "a,b", "b..c", "all", "latest:2", "back\\slash", " x ", ".", "..", "\n", ","]
)


@pytest.mark.parametrize(
    ("text", "definition", "picked"),
    [
        ("2013-01-01", DAYS, "2013-01-01"),
        (" 2013-01-01 .. 2013-01-03 , 2013-02-01,", DAYS, "2013-01-01..2013-01-03,2013-02-01"),
        ("2013-02", DAYS, "2013-02-01..2013-02-28"),
        ("2013-01-30..2013-02", DAYS, "2013-01-30..2013-02-28"),
        ("2013-01..2013-02-02", DAYS, "2013-01-01..2013-02-02"),
        ("2013-06-01", HOURS, "2013-06-01T00:00-0400..2013-06-01T23:00-0400"),
        ("2013-11-03T01:00-0500", HOURS, "2013-11-03T01:00-0500"),
        ("2013-11-03T01:00", HOURS, "2013-11-03T01:00-0400..2013-11-03T01:00-0500"),
        ("2013-11-03T06:30Z", HOURS, "2013-11-03T01:00-0500"),
        (
            "2013-06-01T01:00-0400..2013-06-01T03:00-0400",
            HOURS,
            "2013-06-01T01:00-0400..2013-06-01T03:00-0400",
        ),
        ("2013-11-03T01:15-0500", QUARTERS, "2013-11-03T01:15-0500"),
        ("2013-05-15", MONTHS, "2013-05"),
        ("2013-05-31..2013-06-01", MONTHS, "2013-05..2013-06"),
        ("2013-05-15T07:00", DAYS, "2013-05-15"),
        ("2013-05-15T02:00+0000", DAYS, "2013-05-14"),
        ("2013-01-30", WEEKS, "2013-01-28"),
        ("2013-02", WEEKS, "2013-01-28..2013-02-25"),
        ("2012-12-01..2013-01-02", DAYS, "2013-01-01..2013-01-02"),
        ("2000-01..2030-01", MONTHS, "2013-01..2013-12"),
        ("latest", DAYS, "2013-12-31"),
        ("latest:7", DAYS, "2013-12-25..2013-12-31"),
        ("latest:1000", MONTHS, "2013-01..2013-12"),
        ("all", MONTHS, "2013-01..2013-12"),
        ("2013-01,latest,2013-01", MONTHS, "2013-01,2013-12"),
        ("JFK", AIRPORTS, "JFK"),
        ("JFK..BOS", AIRPORTS, "JFK..BOS"),
        ("BOS, EWR", AIRPORTS, "EWR,BOS"),
        ("latest:2", AIRPORTS, "LGA..BOS"),
        ("all", UNPARTITIONED, "all"),
        ("latest", UNPARTITIONED, "all"),
    ],
)
def test_a_text_picks_the_windows_that_overlap_or_the_keys_named(text, definition, picked) -> None:
    assert str(parse_partitions(text, definition, None)) == picked


@pytest.mark.parametrize(("day", "count"), [("2013-03-10", 23), ("2013-06-01", 24), ("2013-11-03", 25)])
def test_a_day_picks_all_of_its_hours(day, count) -> None:
    assert len(parse_partitions(day, HOURS, None)) == count


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("a,b", ["a,b"]),
        ("b..c", ["b..c"]),
        (r"\a,b", ["a", "b"]),
        (r"\b..c", ["b", "c"]),
        (r"a\,b,c", ["c", "a,b"]),
        ("all", list(ODD.keys())),
        (r"\all", ["all"]),
        ("latest:2", ["\n", ","]),
        (r"\latest:2", ["latest:2"]),
        ("back\\slash", ["back\\slash"]),
        (r"back\\slash,a", ["a", "back\\slash"]),
        (r"\ x\ ,a", ["a", " x "]),
        (".", ["."]),
        (r"a..\.", ["a", "b", "c", "a,b", "b..c", "all", "latest:2", "back\\slash", " x ", "."]),
        (",", [","]),
    ],
)
def test_a_static_key_is_taken_as_it_stands_or_with_backslashes(text, keys) -> None:
    assert parse_partitions(text, ODD, None).keys() == keys


def test_words_about_state_are_answered_by_the_caller() -> None:
    asked = []

    def resolve(word):
        asked.append(word)
        return DAYS.subset(["2013-01-05"])

    assert str(parse_partitions("missing,2013-01-04", DAYS, resolve)) == "2013-01-04..2013-01-05"
    assert str(parse_partitions("stale,failed", DAYS, resolve)) == "2013-01-05"
    assert asked == ["missing", "stale", "failed"]
    with pytest.raises(SelectionError, match="partitions-unresolved"):
        parse_partitions("missing", DAYS, None)
    one = parse_partitions("stale", UNPARTITIONED, lambda word: UNPARTITIONED.all())
    assert one == UNPARTITIONED.all()


@pytest.mark.parametrize(
    ("text", "definition", "code", "says"),
    [
        ("2013-02-01..2013-01-01", DAYS, "partitions-backwards", "turn it around: 2013-01-01..2013-02-01"),
        ("LGA..EWR", AIRPORTS, "partitions-backwards", "turn it around: EWR..LGA"),
        ("2014-01-01", DAYS, "partitions-outside", "from '2013-01-01' to '2013-12-31'"),
        ("2010-01..2012-12", MONTHS, "partitions-outside", "12 monthly partitions"),
        ("2013-01-01,2015-01-01", DAYS, "partitions-outside", "2015-01-01"),
        ("2013-03-10T02:30", HOURS, "partitions-outside", "never showed it"),
        ("lates", DAYS, "partitions-invalid", "nearest: 'latest'"),
        ("mising", DAYS, "partitions-invalid", "nearest: 'missing'"),
        ("2013-02-30", DAYS, "partitions-invalid", "day is out of range"),
        ("2013-13", DAYS, "partitions-invalid", "month must be in 1..12"),
        ("2013-01-01..", DAYS, "partitions-invalid", "2013-01-01.."),
        ("2013-01-01..2013-01-02..2013-01-03", DAYS, "partitions-invalid", "2013-01-02..2013-01-03"),
        ("2013-01-01T99:00", HOURS, "partitions-invalid", "hour must be in 0..23"),
        ("2013/01/01", DAYS, "partitions-invalid", "write dates like 2013-01-31"),
        ("", DAYS, "partitions-invalid", "is empty"),
        (" , ", DAYS, "partitions-invalid", "is empty"),
        ("latest:0", DAYS, "partitions-invalid", "at least 1"),
        ("latest:", DAYS, "partitions-invalid", "latest:7"),
        ("latest:x", DAYS, "partitions-invalid", "latest:7"),
        ("EWQ", AIRPORTS, "partitions-outside", "nearest: 'EWR'"),
        ("EWR..LGB", AIRPORTS, "partitions-outside", "nearest: 'LGA'"),
        ("lates", AIRPORTS, "partitions-outside", "the word 'latest'"),
        ("2013-01-01", UNPARTITIONED, "partitions-none", "leave --partitions out"),
        ("0001-01-01..0001-01-05", DAYS, "partitions-invalid", "years 2 to 9998"),
        ("9999-12-31", DAYS, "partitions-invalid", "years 2 to 9998"),
    ],
)
def test_what_cannot_be_picked_is_refused_with_the_way_out(text, definition, code, says) -> None:
    with pytest.raises(SelectionError) as raised:
        parse_partitions(text, definition, None)
    assert raised.value.code == code
    assert says in str(raised.value)
    assert raised.value.do
    assert len(str(raised.value).splitlines()) <= 4


def test_a_day_that_the_zone_left_out_is_refused() -> None:
    days = DailyPartitions("2011-12-01", "2012-02-01", "Pacific/Apia")
    with pytest.raises(SelectionError, match="never showed it"):
        parse_partitions("2011-12-30", days, None)
    assert str(parse_partitions("2011-12-29..2011-12-30", days, None)) == "2011-12-29"


def test_the_latest_of_a_definition_without_a_window_yet_is_refused() -> None:
    empty = DailyPartitions("2013-01-01").at(dt.datetime(2012, 1, 1, tzinfo=dt.UTC))
    with pytest.raises(SelectionError, match="no daily partitions yet"):
        parse_partitions("latest", empty, None)
    assert not parse_partitions("all", empty, None)


@settings(max_examples=scale(50))
@given(st.sampled_from([DAYS, HOURS, WEEKS, MONTHS, QUARTERS]), st.data())
def test_a_set_of_windows_written_out_reads_back(definition, data) -> None:
    chosen = data.draw(st.sets(st.integers(0, len(definition) - 1), min_size=1))
    partitions = PartitionSet(definition, BitMap(chosen))
    assert parse_partitions(str(partitions), definition, None) == partitions


keys = st.lists(
    st.one_of(
        st.text("ab,.\\ ", min_size=1, max_size=5),
        st.sampled_from(["all", "latest", "latest:1", "missing", "a,b", "a..b", r"\a..b", r"\a,b", " "]),
        st.text(min_size=1, max_size=3),
    ),
    min_size=1,
    max_size=12,
    unique=True,
)


@settings(max_examples=scale(50))
@given(keys, st.data())
def test_a_set_of_static_keys_written_out_reads_back(names: list[str], data) -> None:
    definition = StaticPartitions(names)
    chosen = data.draw(st.sets(st.integers(0, len(names) - 1), min_size=1))
    partitions = PartitionSet(definition, BitMap(chosen))
    assert parse_partitions(str(partitions), definition, None) == partitions


@pytest.mark.parametrize("chosen", [{0}, {1}, {3}, {4}, {5}, {0, 2}, {0, 1, 2}, {3, 4}, {0, 5}, {3, 4, 5, 6}])
def test_keys_that_look_like_lists_ranges_and_escapes_read_back(chosen: set[int]) -> None:
    definition = StaticPartitions(["a", "b", "c", "a..c", r"\a..c", "a,c", r"\a,c"])
    partitions = PartitionSet(definition, BitMap(chosen))
    assert parse_partitions(str(partitions), definition, None) == partitions


@settings(max_examples=scale(50))
@given(
    st.text("0123-.:T+,ales \\", max_size=24),
    st.sampled_from([DAYS, HOURS, MONTHS, AIRPORTS, ODD, UNPARTITIONED]),
)
def test_any_text_is_either_understood_or_refused_as_a_selection(text, definition) -> None:
    try:
        picked = parse_partitions(text, definition, None)
    except SelectionError:
        return
    assert picked.definition == definition
    assert picked
