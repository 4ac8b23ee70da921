"""Laws of windows of time, in every zone and over every change of its clock."""

import datetime as dt
import zoneinfo

import pytest
from cronsim import CronSim
from hypothesis import example, given, settings
from hypothesis import strategies as st

from assets_core.definition.partitions.time import (
    CronPartitions,
    DailyPartitions,
    HourlyPartitions,
    MonthlyPartitions,
    TimePartitions,
    WeeklyPartitions,
)
from assets_core.definition.partitions.zone import LocalTime
from tests.support.profiles import scale

ZONES = sorted(zoneinfo.available_timezones())
LOW, HIGH = dt.datetime(1970, 1, 3), dt.datetime(2040, 1, 1)
CRONS = (
    "0 * * * *",
    "*/20 * * * *",
    "30 2 * * *",
    "0 0 * * *",
    "15,45 0-3 * * *",
    "0 0 1 * *",
    "*/40 1,2 * * SUN",
)

zones = st.sampled_from(ZONES)
moments = st.datetimes(LOW, HIGH)


@st.composite
def definitions(draw: st.DrawFn) -> TimePartitions:
    zone, start = draw(zones), draw(moments)
    kind = draw(
        st.sampled_from([HourlyPartitions, DailyPartitions, WeeklyPartitions, MonthlyPartitions, "cron"])
    )
    days = draw(st.integers(70, 400))
    if draw(st.booleans()):
        start = start.replace(hour=0, minute=0, second=0, microsecond=0)
    end = start + dt.timedelta(days=days)
    if kind == "cron":
        return CronPartitions(draw(st.sampled_from(CRONS)), start, end, zone)
    return kind(start, end, zone)


@settings(max_examples=scale(40))
@given(definitions(), st.data())
@example(HourlyPartitions("1986-01-01", "1986-02-01", "Asia/Kathmandu"), None)
@example(DailyPartitions("2011-12-01", "2012-02-01", "Pacific/Apia"), None)
@example(WeeklyPartitions("2011-12-01", "2012-02-01", "Pacific/Apia", week_start="friday"), None)
@example(MonthlyPartitions("1993-01-01", "1996-01-01", "Pacific/Kiritimati"), None)
def test_windows_tile_the_line_and_keys_name_them(definition: TimePartitions, data) -> None:
    edges = definition.boundaries()
    n = len(definition)
    assert len(edges) == n + 1 > 1
    assert (edges[1:] > edges[:-1]).all()
    assert definition.start.timestamp() <= edges[0]
    assert edges[-1] <= definition.end.timestamp()
    keys = list(definition.keys())
    assert len(set(keys)) == n
    sample = (
        range(0, n, max(n // 20, 1))
        if data is None
        else data.draw(st.lists(st.integers(0, n - 1), max_size=8))
    )
    for ordinal in sample:
        assert definition.key(ordinal) == keys[ordinal]
        assert definition.ordinal(keys[ordinal]) == ordinal
        window = definition.window(ordinal)
        assert (window.start.timestamp(), window.end.timestamp()) == (edges[ordinal], edges[ordinal + 1])
        assert definition.overlapping(window.start, window.end) == range(ordinal, ordinal + 1)


@settings(max_examples=scale(40))
@given(definitions(), st.data())
def test_each_instant_is_in_exactly_one_window(definition: TimePartitions, data) -> None:
    edges = definition.boundaries()
    instant = data.draw(st.integers(int(edges[0]), int(edges[-1]) - 1))
    moment = dt.datetime.fromtimestamp(instant, dt.UTC)
    found = definition.overlapping(moment, moment + dt.timedelta(seconds=1))
    assert len(found) == 1
    assert edges[found[0]] <= instant < edges[found[0] + 1]
    assert moment in definition.window(found[0])


@settings(max_examples=scale(40))
@given(zones, moments)
@example("America/St_Johns", dt.datetime(2008, 11, 2, 3, 0))
@example("America/Sao_Paulo", dt.datetime(2018, 11, 4, 3, 0))
@example("Pacific/Apia", dt.datetime(2011, 12, 30, 10, 0))
def test_the_day_of_an_instant_is_the_latest_that_the_clock_has_shown(zone: str, moment: dt.datetime) -> None:
    days = DailyPartitions(moment - dt.timedelta(days=3), moment + dt.timedelta(days=3), zone)
    instant = moment.replace(tzinfo=dt.UTC, microsecond=0)
    (ordinal,) = days.overlapping(instant, instant + dt.timedelta(seconds=1))
    info = zoneinfo.ZoneInfo(zone)
    shown = {(instant - dt.timedelta(minutes=back)).astimezone(info).date() for back in range(181)}
    assert days.key(ordinal) == max(shown).isoformat()


@settings(max_examples=scale(40))
@given(zones, moments)
@example("Australia/Lord_Howe", dt.datetime(2013, 4, 6, 15, 0))
@example("Australia/Lord_Howe", dt.datetime(2013, 10, 5, 15, 30))
@example("Asia/Kathmandu", dt.datetime(1985, 12, 31, 18, 0))
def test_an_hour_begins_at_each_full_hour_of_the_clock_and_nowhere_else(
    zone: str, moment: dt.datetime
) -> None:
    hours = HourlyPartitions(moment - dt.timedelta(days=1), moment + dt.timedelta(days=2), zone)
    info = zoneinfo.ZoneInfo(zone)
    edges = hours.boundaries().tolist()
    full = []
    for quarter in range(edges[0] // 900 * 900, edges[-1] + 1, 900):
        offset = dt.datetime.fromtimestamp(quarter, info).utcoffset() // dt.timedelta(seconds=1)
        instant = quarter - offset % 900  # offsets of whole quarters, and those of Monrovia
        local = dt.datetime.fromtimestamp(instant, info)
        if (local.minute, local.second) == (0, 0) and instant >= edges[0]:
            full.append(instant)
    assert edges == full


#: In zones whose clock jumps over midnight cronsim itself misses times when an hour or minute is a star.
DAILY_CRONS = (
    "30 2 * * *",
    "0 0 * * *",
    "15,45 0-3 * * *",
    "0 2,3 * * *",
    "30,45 2 * * *",
    "0 0 * * 5L",
    "15 0 LW * *",
)
STAR_CRONS = ("0 * * * *", "*/20 * * * *", "*/40 1,2 * * SUN", "10 */3 * * *")


@settings(max_examples=scale(25))
@given(
    st.one_of(
        st.tuples(
            st.sampled_from(["America/Sao_Paulo", "Africa/Cairo", "Asia/Beirut"]),
            st.sampled_from(DAILY_CRONS),
        ),
        st.tuples(
            st.sampled_from(["America/New_York", "Europe/London"]),
            st.sampled_from([*DAILY_CRONS, *STAR_CRONS]),
        ),
    ),
    st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2025, 1, 1)),
)
def test_cron_cuts_where_cron_fires(zone_and_cron: tuple[str, str], start: dt.datetime) -> None:
    zone, cron = zone_and_cron
    start = start.replace(hour=12, minute=0, second=0, microsecond=0)
    partitions = CronPartitions(cron, start, start + dt.timedelta(days=400), zone)
    begin = start.replace(tzinfo=zoneinfo.ZoneInfo(zone)) - dt.timedelta(seconds=1)
    fires = CronSim(cron, begin)
    count = min(len(partitions), 200)
    assert partitions.boundaries()[:count].tolist() == [int(next(fires).timestamp()) for _ in range(count)]


@settings(max_examples=scale(25))
@given(zones, st.sampled_from([*STAR_CRONS, "*/15 0-3 * * *"]), moments)
@example("America/Sao_Paulo", "*/40 1,2 * * SUN", dt.datetime(2000, 10, 8, 3, 0))
@example("Australia/Lord_Howe", "*/15 0-3 * * *", dt.datetime(2013, 4, 6, 15, 0))
@example("Australia/Lord_Howe", "*/15 0-3 * * *", dt.datetime(2013, 10, 5, 15, 30))
def test_a_cron_of_stars_cuts_whenever_the_clock_shows_its_time(
    zone: str, cron: str, moment: dt.datetime
) -> None:
    partitions = CronPartitions(cron, moment - dt.timedelta(days=8), moment + dt.timedelta(days=8), zone)
    info = zoneinfo.ZoneInfo(zone)
    edges = partitions.boundaries().tolist()
    middle = int(moment.replace(tzinfo=dt.UTC, second=0, microsecond=0).timestamp())
    low, high = max(middle - 43_200, edges[0]) // 300 * 300 + 300, min(middle + 43_200, edges[-1])
    shown = []
    for five_minutes in range(low, high, 300):
        offset = dt.datetime.fromtimestamp(five_minutes, info).utcoffset() // dt.timedelta(seconds=1)
        instant = five_minutes - offset % 300
        local = dt.datetime.fromtimestamp(instant, info).replace(tzinfo=None, fold=0)
        if next(CronSim(cron, local - dt.timedelta(seconds=1))) == local:
            shown.append(instant)
    assert [edge for edge in edges if shown and shown[0] <= edge <= shown[-1]] == shown
    assert shown or not [edge for edge in edges if low <= edge < high - 300]


#: One zone in twenty-four (in a soak every one), and those whose clocks were moved in the oddest ways.
ODD_ZONES = (
    "Pacific/Apia",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "Asia/Gaza",
    "Africa/Casablanca",
    "Africa/Monrovia",
)
_EVERY = max(1, len(ZONES) // scale(25))
SOME_ZONES = sorted(
    {*ZONES[::_EVERY], *ODD_ZONES, "Antarctica/Troll", "America/Noronha", "Pacific/Kwajalein"}
)


@pytest.mark.slow
def test_windows_tile_the_line_over_seventy_years() -> None:
    for zone in SOME_ZONES:
        for kind in (HourlyPartitions, DailyPartitions, WeeklyPartitions, MonthlyPartitions):
            definition = kind("1970-01-02", "2040-01-01", zone)
            edges = definition.boundaries()
            assert (edges[1:] > edges[:-1]).all(), (zone, kind)
            assert [definition.ordinal(definition.key(at)) for at in range(0, len(definition), 997)] == [
                *range(0, len(definition), 997)
            ]


@pytest.mark.slow
def test_the_pieces_of_a_zone_are_those_of_the_zone_database() -> None:
    for zone in SOME_ZONES:
        info = zoneinfo.ZoneInfo(zone)
        pieces = LocalTime(info).pieces(0, 2_208_988_800)
        for (since, offset), (end, _) in zip(pieces, [*pieces[1:], (2_208_988_801, 0)], strict=True):
            for instant in {since, end - 1, *range(since, end, 36 * 3600)}:
                assert dt.datetime.fromtimestamp(instant, info).utcoffset() == dt.timedelta(seconds=offset), (
                    zone
                )
