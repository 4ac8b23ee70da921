import datetime as dt
import pickle
import subprocess
import sys

import pytest

from assets_core.definition.partitions.time import (
    CronPartitions,
    DailyPartitions,
    HourlyPartitions,
    MonthlyPartitions,
    WeeklyPartitions,
    Window,
)
from assets_core.errors import DefinitionError, NotFoundError

NEW_YORK = "America/New_York"


def utc(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def test_defining_partitions_and_their_keys_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from assets_core.definition.partitions.time import DailyPartitions, HourlyPartitions\n"
        "from assets_core.definition.partitions.static import StaticPartitions\n"
        "import assets_core.definition.partitions.mapping\n"
        "for d in (DailyPartitions('2013-01-01', '2014-01-01', 'America/New_York'),\n"
        "          HourlyPartitions('2013-01-01'), StaticPartitions(['a'])):\n"
        "    len(d), d.key(0), d.ordinal(d.key(0)), d.signature(), list(d.keys()), d.all().spans()\n"
        "print([m for m in ('numpy', 'pandas', 'xxhash', 'cronsim', 'pyarrow', 'asyncio') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )


@pytest.mark.parametrize(
    ("definition", "count", "first", "last"),
    [
        (DailyPartitions("2013-01-01", "2014-01-01", NEW_YORK), 365, "2013-01-01", "2013-12-31"),
        (DailyPartitions("2012-01-01", "2013-01-01"), 366, "2012-01-01", "2012-12-31"),
        (WeeklyPartitions("2013-01-01", "2013-03-01"), 7, "2013-01-07", "2013-02-18"),
        (WeeklyPartitions("2013-01-01", "2013-03-01", week_start="sunday"), 7, "2013-01-06", "2013-02-17"),
        (MonthlyPartitions("2013-01-15", "2013-06-15"), 4, "2013-02", "2013-05"),
        (MonthlyPartitions("2013-01", "2014-01"), 12, "2013-01", "2013-12"),
        (
            HourlyPartitions("2013-11-03", "2013-11-04", NEW_YORK),
            25,
            "2013-11-03T00:00-0400",
            "2013-11-03T23:00-0500",
        ),
        (
            HourlyPartitions("2013-03-10", "2013-03-11", NEW_YORK),
            23,
            "2013-03-10T00:00-0500",
            "2013-03-10T23:00-0400",
        ),
        (
            CronPartitions("0 6 * * 1", "2013-01-01", "2013-02-01"),
            3,
            "2013-01-07T06:00+0000",
            "2013-01-21T06:00+0000",
        ),
        (
            CronPartitions("0 0 29 2 *", "2000-01-01", "2017-01-01"),
            4,
            "2000-02-29T00:00+0000",
            "2012-02-29T00:00+0000",
        ),
        (
            CronPartitions("30 0 12 * * *", "2013-01-01", "2013-01-04"),
            2,
            "2013-01-01T12:00:30+0000",
            "2013-01-02T12:00:30+0000",
        ),
    ],
)
def test_only_whole_windows_between_the_bounds_are_partitions(definition, count, first, last) -> None:
    assert (len(definition), definition.key(0), definition.key(count - 1)) == (count, first, last)
    assert list(definition.keys()) == [definition.key(ordinal) for ordinal in range(count)]


def test_bounds_may_be_text_date_datetime_or_an_instant() -> None:
    same = [
        DailyPartitions("2013-01-01", "2013-02-01", NEW_YORK),
        DailyPartitions("2013-01", "2013-02", NEW_YORK),
        DailyPartitions(dt.date(2013, 1, 1), dt.date(2013, 2, 1), NEW_YORK),
        DailyPartitions(dt.datetime(2013, 1, 1), dt.datetime(2013, 2, 1), NEW_YORK),
        DailyPartitions("2013-01-01T00:00-05:00", utc("2013-02-01T05:00"), NEW_YORK),
        DailyPartitions("2012-12-31T12:00", "2013-02-01T12:00", NEW_YORK),
    ]
    assert len({*same}) == 1
    assert same[0] != DailyPartitions("2013-01-01", "2013-02-01")
    assert same[0] != DailyPartitions("2013-01-02", "2013-02-01", NEW_YORK)
    assert same[0] != DailyPartitions("2013-01-01", None, NEW_YORK)


@pytest.mark.parametrize("start", ["2013-13-01", "yesterday", 7, None, "9999-01-01", "2013-1"])
def test_bounds_that_are_no_time_are_refused(start) -> None:
    with pytest.raises(DefinitionError, match="partition-bounds-invalid"):
        DailyPartitions(start, "2014-01-01")


def test_a_closed_definition_without_a_whole_window_is_refused() -> None:
    with pytest.raises(DefinitionError, match="not after the start"):
        DailyPartitions("2014-01-01", "2013-01-01")
    with pytest.raises(DefinitionError, match="no whole monthly window"):
        MonthlyPartitions("2013-01-02", "2013-02-15")


def test_an_unknown_zone_weekday_or_expression_is_refused_with_the_nearest() -> None:
    with pytest.raises(DefinitionError, match="America/New_York"):
        DailyPartitions("2013-01-01", timezone="America/NewYork")
    for zone in ("America", "../etc/passwd", ""):
        with pytest.raises(DefinitionError, match="timezone-unknown"):
            DailyPartitions("2013-01-01", timezone=zone)
    with pytest.raises(DefinitionError, match="nearest: 'tuesday'"):
        WeeklyPartitions("2013-01-01", week_start="tusday")
    for cron in ("* * * *", "61 * * * *", "0 0 31 2 *", ""):
        with pytest.raises(DefinitionError, match="cron-invalid"):
            CronPartitions(cron, "2013-01-01")


def test_both_hours_of_a_fall_back_night_have_their_own_key_and_window() -> None:
    hours = HourlyPartitions("2013-11-03", "2013-11-04", NEW_YORK)
    first, second = hours.ordinal("2013-11-03T01:00-0400"), hours.ordinal("2013-11-03T01:00-0500")
    assert second == first + 1
    assert hours.window(first).end == hours.window(second).start == utc("2013-11-03T06:00")


def test_a_windows_length_is_the_time_that_passes() -> None:
    days = DailyPartitions("2013-01-01", "2014-01-01", NEW_YORK)
    hours = {key: days.window(days.ordinal(key)) for key in ("2013-03-10", "2013-06-01", "2013-11-03")}
    assert [(w.end - w.start) / dt.timedelta(hours=1) for w in hours.values()] == [23, 24, 25]
    window = hours["2013-03-10"]
    assert (window.start.isoformat(), window.end.isoformat()) == (
        "2013-03-10T00:00:00-05:00",
        "2013-03-11T00:00:00-04:00",
    )
    assert window.start in window
    assert window.end not in window
    assert Window(window.start, window.end) == window


@pytest.mark.parametrize(
    ("zone", "date", "begins"),
    [
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00"),
        ("Asia/Beirut", "2021-03-28", "2021-03-27T22:00"),
        ("America/Havana", "2020-11-01", "2020-11-01T04:00"),  # 00:00 is shown twice
        ("America/St_Johns", "2008-11-02", "2008-11-02T02:30"),  # set back over midnight at 00:01
    ],
)
def test_a_day_begins_when_the_clock_first_shows_it(zone, date, begins) -> None:
    days = DailyPartitions("2005-01-01", "2022-01-01", zone)
    ordinal = days.ordinal(date)
    assert days.window(ordinal).start == utc(begins)
    assert days.window(ordinal - 1).end == utc(begins)
    assert days.overlapping(utc(begins), utc(begins) + dt.timedelta(seconds=1)) == range(ordinal, ordinal + 1)


def test_a_civil_day_that_a_zone_left_out_has_no_window() -> None:
    days = DailyPartitions("2011-12-29", "2012-01-01", "Pacific/Apia")
    assert list(days.keys()) == ["2011-12-29", "2011-12-31"]
    with pytest.raises(NotFoundError, match="nearest: '2011-12-31'"):
        days.ordinal("2011-12-30")


def test_an_hour_begins_where_the_clock_shows_a_full_hour_whatever_the_offset() -> None:
    autumn = HourlyPartitions("2013-04-07", "2013-04-08", "Australia/Lord_Howe")
    assert [autumn.key(i)[11:] for i in range(4)] == ["00:00+1100", "01:00+1100", "02:00+1030", "03:00+1030"]
    assert autumn.window(1).end - autumn.window(1).start == dt.timedelta(minutes=90)
    kathmandu = HourlyPartitions("2013-04-07", "2013-04-08", "Asia/Kathmandu")
    assert (len(kathmandu), kathmandu.key(0)) == (24, "2013-04-07T00:00+0545")
    assert kathmandu.window(0).start == utc("2013-04-06T18:15")


def test_an_offset_with_seconds_enters_the_key() -> None:
    hours = HourlyPartitions("1971-01-01", "1971-01-02", "Africa/Monrovia")
    assert hours.key(0) == "1971-01-01T00:00-004430"
    assert hours.ordinal("1971-01-01T05:00-004430") == 5


def test_a_daily_cron_cuts_once_a_night_and_an_hourly_one_at_every_showing() -> None:
    def cuts(cron: str, day: str, following: str) -> list[str]:
        return [key[11:] for key in CronPartitions(cron, day, following, NEW_YORK).keys()]

    assert cuts("30 1 * * *", "2013-11-02", "2013-11-05") == ["01:30-0400", "01:30-0400"]
    assert cuts("30 2 * * *", "2013-03-09", "2013-03-12") == ["02:30-0500", "03:00-0400"]
    assert cuts("30,45 2 * * *", "2013-03-10", "2013-03-12") == ["03:00-0400", "02:30-0400"]
    assert cuts("30 * * * *", "2013-11-03", "2013-11-03T04:00") == [
        "00:30-0400",
        "01:30-0400",
        "01:30-0500",
        "02:30-0500",
    ]
    assert cuts("30 * * * *", "2013-03-10", "2013-03-10T05:00") == ["00:30-0500", "01:30-0500", "03:30-0400"]


def test_every_hour_by_cron_is_the_hourly_definition() -> None:
    bounds = ("2013-01-01", "2014-01-01", "Australia/Lord_Howe")
    cron, hours = CronPartitions("0 * * * *", *bounds), HourlyPartitions(*bounds)
    assert list(cron.keys()) == list(hours.keys())
    assert cron.boundaries().tolist() == hours.boundaries().tolist()


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("2013-02-30", "nearest: '2013-02-01'"),
        ("2014-01-01", "nearest: '2013-12-31'"),
        ("1990-05-05", "nearest: '2013-01-01'"),
        ("2013-06-01T00:00", "looks like '2013-01-01'"),
        ("20130601", "nearest: '2013-06-01'"),
        ("2013-W05-1", "run from '2013-01-01' to '2013-12-31'"),
        ("\uff12013-01-01", "looks like"),
        ("", "looks like"),
        (None, "run from"),
        ("x" * 500, "looks like"),
    ],
)
def test_a_key_that_is_not_of_the_definition_is_refused_with_bounds(key, says) -> None:
    with pytest.raises(NotFoundError, match="partition-not-found") as raised:
        DailyPartitions("2013-01-01", "2014-01-01").ordinal(key)
    assert says in str(raised.value)
    assert "365 daily partitions" in str(raised.value)
    assert len(str(raised.value)) < 500


def test_an_hour_with_the_wrong_offset_is_refused() -> None:
    hours = HourlyPartitions("2013-01-01", "2014-01-01", NEW_YORK)
    with pytest.raises(NotFoundError, match="nearest: '2013-07-01T06:00-0400'"):
        hours.ordinal("2013-07-01T05:00-0500")
    for key in ("2013-07-01T05:30-0400", "2013-07-01T05:00", "2013-07-01T05:00-04:00", "2013-07-01T09:00Z"):
        with pytest.raises(NotFoundError):
            hours.ordinal(key)


def test_an_ordinal_outside_the_definition_has_no_key() -> None:
    days = DailyPartitions("2013-01-01", "2014-01-01")
    for ordinal in (-1, 365):
        with pytest.raises(IndexError):
            days.key(ordinal)
        with pytest.raises(IndexError):
            days.window(ordinal)


def test_an_open_definition_holds_the_windows_that_have_ended_by_its_clock() -> None:
    now = [utc("2013-01-01T00:00")]
    days = DailyPartitions("2013-01-01", clock=lambda: now[0])
    assert (len(days), list(days.keys()), days.boundaries().tolist()) == (0, [], [1_356_998_400])
    assert days  # present, though empty
    now[0] = utc("2013-01-02T23:59:59")
    assert list(days.keys()) == ["2013-01-01"]
    now[0] = utc("2013-01-03T00:00")
    assert list(days.keys()) == ["2013-01-01", "2013-01-02"]
    with pytest.raises(NotFoundError):
        days.ordinal("2013-01-03")
    now[0] = utc("2020-01-01T00:00")
    assert len(days) == 365 * 7 + 1
    assert len(days.positions()) == len(days)


def test_at_closes_an_open_definition_and_leaves_a_closed_one() -> None:
    days = DailyPartitions("2013-01-01", timezone=NEW_YORK)
    closed = days.at(utc("2013-03-01T04:59"))
    assert closed == DailyPartitions("2013-01-01", "2013-02-28", NEW_YORK)
    assert repr(closed) == "DailyPartitions('2013-01-01', '2013-02-28', timezone='America/New_York')"
    assert closed.at(utc("2020-01-01")) is closed
    assert len(days.at(utc("2010-01-01"))) == 0
    assert days.at(utc("2013-03-01")) == days.at(utc("2013-03-01T01:00"))


def test_an_open_definition_by_default_asks_the_real_clock() -> None:
    days = DailyPartitions("2013-01-01")
    yesterday = (dt.datetime.now(dt.UTC) - dt.timedelta(days=1)).date()
    assert days.key(len(days) - 1) in {yesterday.isoformat(), (yesterday + dt.timedelta(days=1)).isoformat()}


@pytest.mark.parametrize(
    "definition",
    [
        DailyPartitions("2013-01-01", "2014-01-01", NEW_YORK),
        WeeklyPartitions("2013-01-01", None, week_start="friday"),
        CronPartitions("*/15 6-18 * * MON-FRI", "2013-01-01", "2013-06-01", NEW_YORK),
    ],
)
def test_a_definition_survives_pickling_and_its_repr_is_how_it_is_written(definition) -> None:
    definition.boundaries()
    assert pickle.loads(pickle.dumps(definition)) == definition
    assert eval(repr(definition)) == definition


def test_a_closed_copy_survives_pickling() -> None:
    closed = HourlyPartitions("2013-01-01", timezone=NEW_YORK).at(utc("2013-11-03T06:30"))
    back = pickle.loads(pickle.dumps(closed))
    assert back == closed
    assert back.key(len(back) - 1) == "2013-11-03T01:00-0400"


def test_the_signature_leaves_the_bounds_out() -> None:
    assert DailyPartitions("2013-01-01", timezone=NEW_YORK).signature() == "daily America/New_York"
    assert (
        WeeklyPartitions("2013-01-01").signature()
        != WeeklyPartitions("2013-01-01", week_start="sunday").signature()
    )
    assert CronPartitions("0  6 * * *", "2013-01-01").signature() == "cron '0 6 * * *' UTC"


def test_overlapping_is_half_open_at_both_ends() -> None:
    days = DailyPartitions("2013-01-01", "2013-01-11")
    assert days.overlapping(utc("2013-01-02"), utc("2013-01-04")) == range(1, 3)
    assert days.overlapping(utc("2013-01-02"), utc("2013-01-02T00:00:00.5")) == range(1, 2)
    assert not days.overlapping(utc("2013-01-02"), utc("2013-01-02"))
    assert not days.overlapping(utc("2012-01-02"), utc("2013-01-01"))
    assert not days.overlapping(utc("2013-01-11"), utc("2014-01-01"))
    assert days.overlapping(utc("2000-01-01"), utc("2030-01-01")) == range(10)


def test_positions_do_not_depend_on_where_the_definition_starts() -> None:
    long, short = (
        DailyPartitions("2013-01-01", "2014-01-01", NEW_YORK),
        DailyPartitions("2013-03-01", "2013-04-01", NEW_YORK),
    )
    at = long.ordinal("2013-03-01")
    assert long.positions()[at : at + 31].tolist() == short.positions().tolist()
    assert not long.positions().flags.writeable


def test_boundaries_beyond_go_on_as_the_definition_would() -> None:
    days = DailyPartitions("2013-03-01", "2013-04-01", NEW_YORK)
    wide = DailyPartitions("2013-02-25", "2013-04-03", NEW_YORK)
    least, greatest = -(2**62), 2**62
    assert days.boundaries_beyond(4, 2, (least, greatest)).tolist() == wide.boundaries().tolist()
    beyond = days.boundaries_beyond(4, 2, (int(days.boundaries()[0]), int(days.boundaries()[-1])))
    assert beyond[4:-2].tolist() == days.boundaries().tolist()
    assert (beyond[:4] < 0).all()
    leap = CronPartitions("0 0 29 2 *", "2012-01-01", "2017-01-01")
    assert len(set(leap.boundaries_beyond(5, 5, (least, greatest)).tolist())) == 12
