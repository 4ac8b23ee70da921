from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from assets_core.definition.partitions.base import UNPARTITIONED, PartitionSet
from assets_core.definition.partitions.static import StaticPartitions
from assets_core.definition.partitions.time import DailyPartitions
from assets_core.errors import NotFoundError
from tests.support.profiles import scale

DAYS = DailyPartitions("2013-01-01", "2013-04-01")
members = st.sets(st.integers(0, len(DAYS) - 1))


@given(members)
def test_spans_are_the_maximal_runs_in_order(ordinals: set[int]) -> None:
    chosen = PartitionSet(DAYS, BitMap(ordinals))
    spans = chosen.spans()
    assert [ordinal for first, last in spans for ordinal in range(first, last)] == sorted(ordinals)
    assert all(first < last for first, last in spans)
    assert all(left[1] < right[0] for left, right in pairwise(spans))
    firsts, lasts = chosen.run_bounds()
    assert list(zip(firsts.tolist(), lasts.tolist(), strict=True)) == spans


@given(members, members)
def test_sets_combine_as_sets_do(left: set[int], right: set[int]) -> None:
    a, b = PartitionSet(DAYS, BitMap(left)), PartitionSet(DAYS, BitMap(right))
    assert set((a | b).ordinals()) == left | right
    assert set((a & b).ordinals()) == left & right
    assert set((a - b).ordinals()) == left - right
    assert (a == b) == (left == right)
    assert (a | b).to_array().tolist() == sorted(left | right)
    assert len(a) == len(left)
    assert bool(a) == bool(left)


def test_text_shows_ranges_with_both_ends_in() -> None:
    chosen = DAYS.subset(["2013-02-03", "2013-01-01", "2013-01-02", "2013-01-03"])
    assert str(chosen) == "2013-01-01..2013-01-03,2013-02-03"
    assert chosen.keys() == ["2013-01-01", "2013-01-02", "2013-01-03", "2013-02-03"]
    assert "4 of 90 daily" in repr(chosen)


def test_sets_of_different_definitions_do_not_combine() -> None:
    with pytest.raises(ValueError, match="different"):
        DAYS.all() | DailyPartitions("2013-01-01", "2013-04-02").all()
    assert DAYS.all() | DailyPartitions("2013-01", "2013-04").all() == DAYS.all()


def test_a_subset_with_an_unknown_key_is_refused() -> None:
    with pytest.raises(NotFoundError):
        DAYS.subset(["2013-01-01", "2014-01-01"])


def test_an_asset_without_partitions_has_one_without_a_key() -> None:
    assert (len(UNPARTITIONED), UNPARTITIONED.key(0), UNPARTITIONED.ordinal(None)) == (1, None, 0)
    assert UNPARTITIONED.all().keys() == [None]
    assert (str(UNPARTITIONED.all()), str(UNPARTITIONED.none())) == ("all", "")
    with pytest.raises(NotFoundError, match="no partitions"):
        UNPARTITIONED.ordinal("2013-01-01")


@settings(max_examples=scale(50))
@given(st.sets(st.text(min_size=1, max_size=3), min_size=1), st.data())
def test_sets_of_static_keys_hold_what_was_put_in(keys: set[str], data) -> None:
    partitions = StaticPartitions(sorted(keys))
    chosen = data.draw(st.sets(st.sampled_from(sorted(keys))))
    assert partitions.subset(chosen).keys() == sorted(chosen)
