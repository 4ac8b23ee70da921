import datetime as dt

import pytest

from assets_core.definition.partitions.base import UNPARTITIONED
from assets_core.definition.partitions.mapping import (
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
    DailyPartitions,
    HourlyPartitions,
    MonthlyPartitions,
    WeeklyPartitions,
)
from assets_core.errors import DefinitionError

NEW_YORK = "America/New_York"
JANUARY = DailyPartitions("2013-01-01", "2013-02-01")
YEAR = DailyPartitions("2013-01-01", "2014-01-01")
NY_DAYS = DailyPartitions("2013-01-01", "2014-01-01", NEW_YORK)
NY_HOURS = HourlyPartitions("2013-01-01", "2014-01-01", NEW_YORK)


def upstream(mapping, down, up, key) -> str:
    return str(mapping.spans(down, up).upstream(down.subset([key])))


def downstream(mapping, down, up, key) -> str:
    return str(mapping.spans(down, up).downstream(up.subset([key])))


def test_identity_is_by_key_also_when_the_bounds_differ() -> None:
    assert upstream(identity(), YEAR, JANUARY, "2013-01-05") == "2013-01-05"
    assert upstream(identity(), YEAR, JANUARY, "2013-03-05") == ""
    assert downstream(identity(), YEAR, JANUARY, "2013-01-31") == "2013-01-31"
    later = DailyPartitions("2013-01-20", "2013-03-01")
    spans = identity().spans(JANUARY, later)
    assert str(spans.upstream(JANUARY.all())) == "2013-01-20..2013-01-31"
    assert str(spans.downstream(later.all())) == "2013-01-20..2013-01-31"


def test_identity_of_static_keys_is_by_key_in_any_order() -> None:
    down, up = StaticPartitions(["a", "b", "c"]), StaticPartitions(["c", "x", "a", "b"])
    spans = identity().spans(down, up)
    assert spans.upstream(down.subset(["a", "b"])).keys() == ["a", "b"]
    assert spans.downstream(up.subset(["c", "x"])).keys() == ["c"]
    assert spans.downstream(up.subset(["x"])).keys() == []


def test_upstream_partitions_between_those_needed_are_left_out() -> None:
    down, up = StaticPartitions(["a", "c"]), StaticPartitions(["a", "b", "c"])
    spans = identity().spans(down, up)
    assert spans.upstream(down.all()).keys() == ["a", "c"]
    assert spans.downstream(up.subset(["b"])).keys() == []
    assert spans.downstream(up.all()).keys() == ["a", "c"]


def test_identity_of_static_keys_that_upstream_lacks_is_a_problem() -> None:
    problem = identity().problem(StaticPartitions(["a", "b"]), StaticPartitions(["b"]))
    assert problem is not None
    assert "'a'" in problem
    assert "In(partitions=" in problem


def test_a_day_overlaps_its_hours_whatever_the_clock_does() -> None:
    spans = overlap().spans(NY_DAYS, NY_HOURS)
    counts = (spans.last - spans.first).tolist()
    by_key = dict(zip(NY_DAYS.keys(), counts, strict=True))
    assert (by_key["2013-03-10"], by_key["2013-03-11"], by_key["2013-11-03"]) == (23, 24, 25)
    assert sum(counts) == len(NY_HOURS)
    assert downstream(overlap(), NY_DAYS, NY_HOURS, "2013-11-03T01:00-0500") == "2013-11-03"


def test_windows_of_different_zones_and_grains_overlap_in_time() -> None:
    assert upstream(overlap(), NY_DAYS, YEAR, "2013-06-01") == "2013-06-01..2013-06-02"
    weeks = WeeklyPartitions("2013-01-01", "2014-01-01")
    months = MonthlyPartitions("2013-01-01", "2014-01-01")
    assert upstream(overlap(), weeks, months, "2013-01-28") == "2013-01..2013-02"
    assert upstream(overlap(), months, weeks, "2013-02") == "2013-01-28..2013-02-25"


def test_what_lies_outside_of_upstream_is_left_out() -> None:
    spans = overlap().spans(YEAR, JANUARY)
    assert upstream(overlap(), YEAR, JANUARY, "2013-02-01") == ""
    assert int(spans.first[-1]) == int(spans.last[-1]) == 31
    early = DailyPartitions("2012-12-30", "2013-01-03")
    assert overlap().spans(early, JANUARY).last.tolist() == [0, 0, 1, 2]


def test_trailing_is_the_window_and_those_before_it() -> None:
    assert upstream(trailing(7), YEAR, YEAR, "2013-03-07") == "2013-03-01..2013-03-07"
    assert upstream(trailing(7), YEAR, YEAR, "2013-01-02") == "2013-01-01..2013-01-02"
    assert upstream(trailing(1), YEAR, YEAR, "2013-01-02") == "2013-01-02"
    assert downstream(trailing(7), YEAR, YEAR, "2013-12-30") == "2013-12-30..2013-12-31"
    assert downstream(trailing(3), YEAR, YEAR, "2013-01-31") == "2013-01-31..2013-02-02"


def test_trailing_reaches_before_the_first_downstream_window_where_upstream_has_them() -> None:
    february = DailyPartitions("2013-02-01", "2013-03-01")
    assert upstream(trailing(3), february, YEAR, "2013-02-01") == "2013-01-30..2013-02-01"
    assert upstream(trailing(1000), february, YEAR, "2013-02-01") == "2013-01-01..2013-02-01"
    assert downstream(trailing(3), february, YEAR, "2013-01-31") == "2013-02-01..2013-02-02"


def test_trailing_over_another_grain_needs_what_overlaps_the_downstream_windows() -> None:
    assert (
        upstream(trailing(2), NY_DAYS, NY_HOURS, "2013-03-11")
        == "2013-03-10T00:00-0500..2013-03-11T23:00-0400"
    )
    months = MonthlyPartitions("2013-01-01", "2014-01-01")
    assert upstream(trailing(2), months, YEAR, "2013-03") == "2013-02-01..2013-03-31"
    assert upstream(trailing(2), YEAR, months, "2013-03-01") == "2013-02..2013-03"
    assert upstream(trailing(2), YEAR, months, "2013-03-02") == "2013-03"


def test_shift_is_earlier_for_a_negative_number() -> None:
    assert upstream(shift(-1), YEAR, YEAR, "2013-01-02") == "2013-01-01"
    assert upstream(shift(-1), YEAR, YEAR, "2013-01-01") == ""
    assert upstream(shift(2), YEAR, YEAR, "2013-12-29") == "2013-12-31"
    assert upstream(shift(2), YEAR, YEAR, "2013-12-30") == ""
    assert downstream(shift(-1), YEAR, YEAR, "2013-01-31") == "2013-02-01"
    assert shift(0).spans(YEAR, YEAR).first.tolist() == identity().spans(YEAR, YEAR).first.tolist()
    february = DailyPartitions("2013-02-01", "2013-03-01")
    assert upstream(shift(-3), february, YEAR, "2013-02-01") == "2013-01-29"
    assert (
        upstream(shift(-1), NY_DAYS, NY_HOURS, "2013-11-04") == "2013-11-03T00:00-0400..2013-11-03T23:00-0500"
    )


def test_trailing_and_shift_step_through_one_list_of_static_keys() -> None:
    letters = StaticPartitions(["a", "b", "c"])
    assert upstream(trailing(2), letters, letters, "c") == "b..c"
    assert upstream(shift(-1), letters, letters, "a") == ""
    assert upstream(shift(1), letters, letters, "a") == "b"
    assert trailing(2).problem(letters, StaticPartitions(["c", "b", "a"])) is not None


def test_all_and_last_take_every_and_the_last_upstream_partition() -> None:
    assert upstream(all_partitions(), YEAR, JANUARY, "2013-09-01") == "2013-01-01..2013-01-31"
    assert upstream(last(), YEAR, JANUARY, "2013-01-01") == "2013-01-31"
    assert downstream(last(), UNPARTITIONED, JANUARY, "2013-01-30") == ""
    assert last().spans(UNPARTITIONED, JANUARY).downstream(JANUARY.subset(["2013-01-31"])).keys() == [None]


def test_an_upstream_without_any_partition_yet_gives_nothing() -> None:
    empty = DailyPartitions("2013-01-01").at(dt.datetime(2012, 1, 1, tzinfo=dt.UTC))
    for mapping in (identity(), overlap(), trailing(3), shift(-1), all_partitions(), last()):
        for down, up in ((YEAR, empty), (empty, YEAR), (empty, empty)):
            spans = mapping.spans(down, up)
            assert (spans.first == spans.last).all() or len(up) != 0
            assert len(spans.first) == len(down)
            assert not spans.upstream(down.all()) or len(up)


def test_the_default_mapping_is_the_natural_one() -> None:
    letters = StaticPartitions(["a", "b"])
    assert default_mapping(YEAR, YEAR) == identity()
    assert default_mapping(YEAR, JANUARY) == overlap()
    assert default_mapping(NY_DAYS, NY_HOURS) == overlap()
    assert default_mapping(YEAR, UNPARTITIONED) == all_partitions()
    assert default_mapping(UNPARTITIONED, YEAR) == all_partitions()
    assert default_mapping(UNPARTITIONED, UNPARTITIONED) == identity()
    assert default_mapping(letters, StaticPartitions(["b", "a"])) == identity()
    for down, up in ((YEAR, letters), (letters, YEAR), (letters, StaticPartitions(["x"]))):
        problem = default_mapping(down, up).problem(down, up)
        assert problem is not None
        assert "In(partitions=" in problem


def test_a_mapping_that_cannot_be_applied_says_what_to_write() -> None:
    letters = StaticPartitions(["a", "b"])
    for mapping in (identity(), overlap(), trailing(2), shift(-1)):
        with pytest.raises(DefinitionError, match="mapping-impossible") as raised:
            mapping.spans(YEAR, letters)
        assert "In(partitions=all_partitions())" in str(raised.value)
    assert identity().problem(NY_DAYS, NY_HOURS) is not None
    assert "overlap()" in str(identity().problem(NY_DAYS, NY_HOURS))


@pytest.mark.parametrize("n", [0, -1, 1.5, "7", True, 10**9])
def test_trailing_takes_a_whole_number_of_at_least_one(n) -> None:
    with pytest.raises(DefinitionError, match="mapping-invalid"):
        trailing(n)


@pytest.mark.parametrize("n", [1.5, None, False, 10**9])
def test_shift_takes_a_whole_number(n) -> None:
    with pytest.raises(DefinitionError, match="mapping-invalid"):
        shift(n)


def test_a_mapping_is_a_value_that_shows_how_it_is_written() -> None:
    for text in ("identity()", "overlap()", "trailing(7)", "shift(-1)", "all_partitions()", "last()"):
        mapping = eval(text)
        assert repr(mapping) == text
        assert mapping == eval(text)
        assert hash(mapping) == hash(eval(text))
    assert trailing(7) != trailing(8)
    assert identity() != overlap()


def test_a_set_of_another_definition_is_refused() -> None:
    spans = overlap().spans(YEAR, NY_HOURS)
    with pytest.raises(ValueError, match="not a set"):
        spans.upstream(NY_HOURS.all())
    with pytest.raises(ValueError, match="not a set"):
        spans.downstream(YEAR.all())
