"""Mappings against a model that looks at one pair of partitions at a time."""

import datetime as dt

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from assets_core.definition.partitions.base import PartitionsDefinition, PartitionSet
from assets_core.definition.partitions.mapping import (
    PartitionMapping,
    ShiftMapping,
    Spans,
    TrailingMapping,
    all_partitions,
    default_mapping,
    identity,
    last,
    overlap,
    shift,
    trailing,
)
from assets_core.definition.partitions.static import StaticPartitions
from assets_core.definition.partitions.time import (
    CronPartitions,
    DailyPartitions,
    HourlyPartitions,
    MonthlyPartitions,
    TimePartitions,
    WeeklyPartitions,
)
from tests.support.profiles import scale

ZONES = (
    "UTC",
    "America/New_York",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "America/Sao_Paulo",
)


@st.composite
def time_definitions(draw: st.DrawFn) -> TimePartitions:
    start = draw(st.datetimes(dt.datetime(2011, 10, 1), dt.datetime(2012, 2, 1)))
    zone = draw(st.sampled_from(ZONES))
    match draw(st.sampled_from("hdwmc")):
        case "h":
            return HourlyPartitions(start, start + dt.timedelta(days=draw(st.integers(1, 3))), zone)
        case "d":
            return DailyPartitions(start, start + dt.timedelta(days=draw(st.integers(4, 40))), zone)
        case "w":
            return WeeklyPartitions(start, start + dt.timedelta(days=draw(st.integers(15, 90))), zone)
        case "m":
            return MonthlyPartitions(start, start + dt.timedelta(days=draw(st.integers(65, 300))), zone)
        case _:
            return CronPartitions("0 */7 * * MON-FRI", start, start + dt.timedelta(days=9), zone)


def sets_of(definition: PartitionsDefinition) -> st.SearchStrategy[PartitionSet]:
    return st.sets(st.integers(0, len(definition) - 1)).map(
        lambda chosen: PartitionSet(definition, BitMap(chosen))
    )


def shares_an_instant(up: TimePartitions, ordinal: int, start: dt.datetime, end: dt.datetime) -> bool:
    window = up.window(ordinal)
    return window.start < end and start < window.end


def needs(mapping: PartitionMapping, down: TimePartitions, up: TimePartitions, a: int, b: int) -> bool:
    """Whether partition b of `down` needs partition a of `up`, from a longer downstream definition."""
    before = 14
    wide = down.boundaries_beyond(before, before, (-(2**62), 2**62)).tolist()
    match mapping:
        case TrailingMapping(n):
            start, end = wide[before + b - n + 1], wide[before + b + 1]
        case ShiftMapping(n):
            start, end = wide[before + b + n], wide[before + b + n + 1]
        case _:
            start, end = wide[before + b], wide[before + b + 1]
    moments = (dt.datetime.fromtimestamp(instant, dt.UTC) for instant in (start, end))
    return shares_an_instant(up, a, *moments)


mappings = st.one_of(st.just(overlap()), st.integers(1, 14).map(trailing), st.integers(-13, 13).map(shift))


@settings(max_examples=scale(40))
@given(mappings, time_definitions(), time_definitions(), st.data())
def test_spans_of_windows_are_those_of_the_model(mapping, down, up, data) -> None:
    spans = mapping.spans(down, up)
    for b in data.draw(st.lists(st.integers(0, len(down) - 1), min_size=1, max_size=2)):
        expected = [a for a in range(len(up)) if needs(mapping, down, up, a, b)]
        assert list(range(int(spans.first[b]), int(spans.last[b]))) == expected


@settings(max_examples=scale(40))
@given(
    st.one_of(mappings, st.sampled_from([all_partitions(), last()])),
    time_definitions(),
    time_definitions(),
    st.data(),
)
def test_what_a_set_needs_and_what_needs_a_set_meet_alike(mapping, down, up, data) -> None:
    spans = mapping.spans(down, up)
    chosen_down, chosen_up = data.draw(sets_of(down)), data.draw(sets_of(up))
    check_against_model(spans, chosen_down, chosen_up)


@settings(max_examples=scale(40))
@given(st.lists(st.integers(0, 40), min_size=1, max_size=40, unique=True), st.data())
def test_static_keys_in_any_order_meet_alike(numbers: list[int], data) -> None:
    up = StaticPartitions([f"k{number}" for number in numbers])
    down = StaticPartitions(data.draw(st.permutations(list(up.keys()))))
    spans = default_mapping(down, up).spans(down, up)
    assert [up.key(int(at)) for at in spans.first] == list(down.keys())
    check_against_model(spans, data.draw(sets_of(down)), data.draw(sets_of(up)))


@settings(max_examples=scale(50))
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 5)), min_size=1, max_size=20), st.data())
def test_any_spans_translate_sets_as_the_model_does(pairs, data) -> None:
    down = StaticPartitions([f"d{number}" for number in range(len(pairs))])
    up = StaticPartitions([f"u{number}" for number in range(12)])
    first = np.array([start for start, _ in pairs])
    spans = Spans(down, up, first, np.minimum(first + np.array([length for _, length in pairs]), 12))
    check_against_model(spans, data.draw(sets_of(down)), data.draw(sets_of(up)))


@settings(max_examples=scale(40))
@given(time_definitions(), st.integers(0, 20), st.integers(1, 20))
def test_identity_over_different_bounds_is_by_key(definition, skipped, kept) -> None:
    n = len(definition)
    first = min(skipped, n - 1)
    bounds = definition.window(first).start, definition.window(min(first + kept, n) - 1).end
    part = (
        CronPartitions(definition.cron, *bounds, definition.timezone)
        if isinstance(definition, CronPartitions)
        else type(definition)(*bounds, definition.timezone)
    )
    assert identity().spans(part, definition).upstream(part.all()).keys() == list(part.keys())
    spans = identity().spans(definition, part)
    assert spans.downstream(part.all()).keys() == list(part.keys())
    needing = [key for key, a, b in zip(definition.keys(), spans.first, spans.last, strict=True) if a < b]
    assert needing == list(part.keys())


def check_against_model(spans: Spans, chosen_down: PartitionSet, chosen_up: PartitionSet) -> None:
    needed = {a for b in chosen_down.ordinals() for a in range(int(spans.first[b]), int(spans.last[b]))}
    needing = {
        b
        for b in range(len(spans.down))
        if any(a in chosen_up for a in range(int(spans.first[b]), int(spans.last[b])))
    }
    up, down = spans.upstream(chosen_down), spans.downstream(chosen_up)
    assert set(up.ordinals()) == needed
    assert set(down.ordinals()) == needing
    assert bool(up & chosen_up) == bool(chosen_down & down)
