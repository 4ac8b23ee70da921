"""Partitions by several dimensions: keys, ordinals, positions, and the texts that pick them."""

import datetime as dt
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from assets_core.definition.partitions.base import UNPARTITIONED, PartitionSet
from assets_core.definition.partitions.multi import MultiPartitions
from assets_core.definition.partitions.static import StaticPartitions
from assets_core.definition.partitions.time import DailyPartitions, HourlyPartitions
from assets_core.errors import DefinitionError, NotFoundError, SelectionError
from assets_core.project.partition_selection import parse_partitions

DAYS = DailyPartitions("2013-01-01", "2013-01-11")
REGIONS = StaticPartitions(["EWR", "JFK", "LGA"])
BOTH = MultiPartitions(region=REGIONS, day=DAYS)

#: What a key can do to the text around it.
HOSTILE = st.text(st.sampled_from("|=\\,.: ab\n") | st.characters(codec="utf-8"), min_size=1, max_size=6)
WORDS = st.sampled_from(
    ["all", "latest", "latest:2", "missing", "day=x", "a|b=c", "..", "a..b", "\\|", "=", "|"]
)
key_lists = st.lists(HOSTILE | WORDS, min_size=1, max_size=5, unique=True)


@st.composite
def definitions(draw: st.DrawFn) -> MultiPartitions:
    names = draw(st.lists(st.sampled_from(["a", "b", "day", "é"]), min_size=1, max_size=3, unique=True))
    kinds = {
        name: draw(
            key_lists.map(StaticPartitions)
            | st.just(HourlyPartitions("2013-11-03T00:00", "2013-11-03T04:00", "America/New_York"))
        )
        for name in names
    }
    return MultiPartitions(**kinds)


def sets_of(definition: MultiPartitions) -> st.SearchStrategy[PartitionSet]:
    return st.sets(st.integers(0, len(definition) - 1)).map(
        lambda bits: PartitionSet(definition, BitMap(bits))
    )


def picked(text: str) -> list[str]:
    return parse_partitions(text, BOTH, None).keys()


def test_ordinals_run_through_the_dimensions_by_name_the_last_fastest() -> None:
    assert list(BOTH.dimensions) == ["day", "region"]
    assert BOTH.shape == (10, 3)
    assert list(BOTH.keys())[2:5] == [
        "day=2013-01-01|region=LGA",
        "day=2013-01-02|region=EWR",
        "day=2013-01-02|region=JFK",
    ]
    assert BOTH.key_parts(3) == {"day": "2013-01-02", "region": "EWR"}
    assert BOTH.coordinates("day")[:5].tolist() == [0, 0, 0, 1, 1]
    assert BOTH.coordinates("region")[:5].tolist() == [0, 1, 2, 0, 1]
    assert BOTH.dimension("region") is REGIONS


@settings(max_examples=40, deadline=None)
@given(definitions())
def test_keys_name_ordinals_whatever_is_in_them(definition: MultiPartitions) -> None:
    keys = list(definition.keys())
    assert len(keys) == len(set(keys)) == len(definition)
    for ordinal, key in enumerate(keys):
        assert definition.key(ordinal) == key
        assert definition.ordinal(key) == ordinal
        assert definition.parts(key) == definition.key_parts(ordinal)
    positions = definition.positions().tolist()
    assert [definition.position_of(key) for key in keys] == positions
    assert len(set(positions)) == len(definition)


@settings(max_examples=40, deadline=None)
@given(definitions(), HOSTILE | WORDS)
def test_a_text_that_is_no_key_is_none(definition: MultiPartitions, text: str) -> None:
    if text in set(definition.keys()):
        return
    with pytest.raises(NotFoundError):
        definition.ordinal(text)
    assert not definition.may_hold(text)


@settings(max_examples=40, deadline=None)
@given(definitions(), st.data())
def test_a_set_written_out_reads_back(definition: MultiPartitions, data: st.DataObject) -> None:
    chosen = data.draw(sets_of(definition))
    if chosen:
        assert parse_partitions(str(chosen), definition, None) == chosen
    for ordinal in chosen.ordinals():
        text = definition.format_key(definition.key(ordinal))
        assert list(parse_partitions(text, definition, None).ordinals()) == [ordinal]


@given(st.integers(0, 29), st.integers(1, 30))
def test_a_run_is_written_as_at_most_three_boxes(first: int, length: int) -> None:
    run = PartitionSet(BOTH, BitMap(range(first, min(first + length, 30))))
    assert str(run).count("day=") <= 3
    assert parse_partitions(str(run), BOTH, None) == run


def test_positions_do_not_depend_on_bounds_or_on_other_keys() -> None:
    wider = MultiPartitions(
        day=DailyPartitions("2012-01-01", "2014-01-01"), region=StaticPartitions(["LGA", "new", "EWR"])
    )
    for key in ("day=2013-01-02|region=EWR", "day=2013-01-10|region=LGA"):
        assert wider.positions()[wider.ordinal(key)] == BOTH.positions()[BOTH.ordinal(key)]
        assert BOTH.position_of(key) == wider.position_of(key)
    outside = "day=2012-01-02|region=new"
    assert BOTH.position_of(outside) == wider.positions()[wider.ordinal(outside)]
    assert BOTH.may_hold("day=2013-01-02|region=EWR")
    assert not BOTH.may_hold(outside)
    assert BOTH.position_of("day=never|region=EWR") is None


def test_dimensions_that_swap_their_keys_have_other_positions() -> None:
    letters = StaticPartitions(["a", "b"])
    both = MultiPartitions(x=letters, y=letters)
    assert len(set(both.positions().tolist())) == 4
    assert both.position_of("x=a|y=b") != both.position_of("x=b|y=a")
    assert both.position_of("x=a|y=b") != MultiPartitions(x=letters, z=letters).position_of("x=a|z=b")


def test_keys_of_equal_hashes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from assets_core.definition.partitions import multi

    definition = MultiPartitions(x=StaticPartitions(["a", "b"]))
    monkeypatch.setattr(multi, "_mix_array", np.zeros_like)
    with pytest.raises(DefinitionError, match="'x=a' and 'x=b' cannot be told apart"):
        definition.positions()


def test_definitions_are_values() -> None:
    same = MultiPartitions(
        day=DailyPartitions("2013-01-01", "2013-01-11"), region=StaticPartitions(REGIONS.keys())
    )
    other = MultiPartitions(day=DAYS, area=REGIONS)
    assert same == BOTH
    assert hash(same) == hash(BOTH)
    assert pickle.loads(pickle.dumps(BOTH)) == BOTH
    assert other != BOTH
    assert len({BOTH.signature(), other.signature(), MultiPartitions(day=DAYS).signature()}) == 3
    assert BOTH.signature() == f"multi (day: daily UTC; region: {REGIONS.signature()})"
    assert "day: the 10 daily partitions run from '2013-01-01'" in BOTH.bounds()


def test_an_open_dimension_is_closed_with_the_whole() -> None:
    open_ended = MultiPartitions(day=DailyPartitions("2013-01-01"), region=REGIONS)
    closed = open_ended.at(dt.datetime(2013, 1, 3, tzinfo=dt.UTC))
    assert closed.shape == (2, 3)
    assert BOTH.at(dt.datetime(2020, 1, 1, tzinfo=dt.UTC)) is BOTH
    assert len(open_ended.at(dt.datetime(2012, 1, 1, tzinfo=dt.UTC))) == 0
    assert open_ended.may_hold("day=2400-01-01|region=EWR")


def test_the_window_is_that_of_the_one_dimension_of_time() -> None:
    window = BOTH.window_of("day=2013-01-02|region=JFK")
    assert window == DAYS.window(1)
    twice = MultiPartitions(day=DAYS, hour=HourlyPartitions("2013-01-01", "2013-01-02"))
    assert twice.window_of(twice.key(0)) is None
    assert MultiPartitions(region=REGIONS).window_of("region=EWR") is None
    assert BOTH.ranks_in_time().tolist()[:4] == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("dimensions", "why"),
    [
        ({}, "no dimensions"),
        ({"a b": REGIONS}, "'a b' cannot name a dimension"),
        ({"x": BOTH}, "dimension 'x'"),
        ({"x": UNPARTITIONED}, "dimension 'x'"),
        ({"x": ["a"]}, "no definition of partitions"),
    ],
)
def test_what_is_no_dimension_is_refused(dimensions: dict, why: str) -> None:
    with pytest.raises(DefinitionError, match=why):
        MultiPartitions(**dimensions)


def test_more_partitions_than_can_be_numbered_are_refused() -> None:
    hours = HourlyPartitions("1900-01-01", "2100-01-01")
    with pytest.raises(DefinitionError, match="partitions-too-many"):
        MultiPartitions(a=hours, b=hours)


def test_an_unknown_key_names_the_dimension_that_lacks_it() -> None:
    with pytest.raises(NotFoundError, match=r"of dimension 'region'.*nearest: 'EWR'"):
        BOTH.ordinal("day=2013-01-01|region=EWQ")
    with pytest.raises(NotFoundError, match=r"a key looks like 'day=KEY\|region=KEY'"):
        BOTH.ordinal("2013-01-01")
    with pytest.raises(NotFoundError):
        BOTH.ordinal("region=EWR|day=2013-01-01")
    for ordinal in (-1, 30):
        with pytest.raises(IndexError):
            BOTH.key(ordinal)


@pytest.mark.parametrize(
    ("text", "count", "written"),
    [
        ("day=2013-01-01..2013-01-03|region=EWR", 3, "day=2013-01-01..2013-01-03|region=EWR"),
        ("region=EWR|day=2013-01-01..2013-01-03", 3, "day=2013-01-01..2013-01-03|region=EWR"),
        ("region=EWR,JFK", 20, "region=EWR..JFK"),
        ("day=2013-01-01,2013-01-05 | region = EWR,LGA", 4, None),
        ("day=2013-01-01|region=EWR,day=2013-01-02|region=LGA", 2, None),
        ("day=latest:2", 6, "day=2013-01-09..2013-01-10"),
        ("latest", 3, "day=2013-01-10"),
        ("2013-01-02..2013-01-03", 6, "day=2013-01-02..2013-01-03"),
        ("2013-01", 30, "all"),
        ("region=all|day=2013-01-01", 3, "day=2013-01-01"),
        ("all", 30, "all"),
        ("2013-01-01,region=EWR", 12, None),
    ],
)
def test_dimensions_are_picked_by_name_and_left_out_means_all(
    text: str, count: int, written: str | None
) -> None:
    found = parse_partitions(text, BOTH, None)
    assert len(found) == count
    assert parse_partitions(str(found), BOTH, None) == found
    assert written in (None, str(found))


def test_a_comma_goes_on_with_the_dimension_before_it() -> None:
    assert picked("day=2013-01-01,2013-01-02|region=EWR") == [
        "day=2013-01-01|region=EWR",
        "day=2013-01-02|region=EWR",
    ]
    assert picked("day=2013-01-01|region=EWR,JFK") == [
        "day=2013-01-01|region=EWR",
        "day=2013-01-01|region=JFK",
    ]


def test_words_of_state_are_for_whole_partitions() -> None:
    chosen = BOTH.subset(["day=2013-01-01|region=LGA"])
    found = parse_partitions("missing,region=EWR", BOTH, lambda word: chosen)
    assert len(found) == 11
    assert parse_partitions("region=EWR,missing", BOTH, lambda word: chosen) == found
    with pytest.raises(SelectionError, match="cannot be used for the dimension 'day'"):
        parse_partitions("day=missing", BOTH, lambda word: chosen)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is empty"),
        ("dya=2013-01-01", "nearest: 'day'"),
        ("day=2013-01-01|day=2013-01-02", "twice"),
        ("day=", "nothing is picked of the dimension 'day'"),
        ("day=2013-01-01|EWR", "does not say of which dimension"),
        ("region=nowhere", "there is no partition 'nowhere'"),
        ("day=2012-01-01", "picks no partition"),
        ("day=2013-01-03..2013-01-01", "ends before it begins"),
        ("=x", "there is no dimension ''"),
        ("day=2013-01-01|", "does not say of which dimension"),
    ],
)
def test_a_selection_that_cannot_be_understood_is_refused(text: str, what: str) -> None:
    with pytest.raises(SelectionError, match=what):
        parse_partitions(text, BOTH, None)


def test_without_one_dimension_of_time_a_dimension_must_be_named() -> None:
    definition = MultiPartitions(a=REGIONS, b=StaticPartitions(["x"]))
    with pytest.raises(SelectionError, match="does not say of which dimension"):
        parse_partitions("EWR", definition, None)


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from("day=region|,.\\ 20130-EWR"), max_size=20))
def test_any_text_picks_something_or_is_refused(text: str) -> None:
    try:
        found = parse_partitions(text, BOTH, None)
    except SelectionError:
        return
    assert found
    assert found.definition == BOTH


def test_defining_dimensions_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from assets_core import DailyPartitions, DynamicPartitions, MultiPartitions, StaticPartitions, dimension, mapped\n"
        "d = MultiPartitions(day=DailyPartitions('2013-01-01', '2013-02-01'), r=StaticPartitions(['a']))\n"
        "len(d), d.key(0), d.ordinal(d.key(0)), d.signature(), list(d.keys()), str(d.all())\n"
        "dimension('day'), mapped({'a': 'b'}), DynamicPartitions('x')\n"
        "print([m for m in ('numpy', 'pandas', 'xxhash', 'cronsim', 'pyarrow', 'asyncio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
