"""Mappings by dimension and by keys, and relations of both shapes, against a model that looks at single pairs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from assets_core.definition.partitions.base import UNPARTITIONED, PartitionsDefinition, PartitionSet
from assets_core.definition.partitions.dynamic import DynamicPartitions
from assets_core.definition.partitions.mapping import (
    KeyMapping,
    PartitionMapping,
    all_partitions,
    default_mapping,
    dimension,
    dimensions,
    identity,
    last,
    mapped,
    shift,
    trailing,
)
from assets_core.definition.partitions.multi import MultiPartitions
from assets_core.definition.partitions.relation import Relation, Scattered, Spans
from assets_core.definition.partitions.static import StaticPartitions
from assets_core.definition.partitions.time import DailyPartitions, MonthlyPartitions
from assets_core.errors import DefinitionError

DAYS = DailyPartitions("2013-01-28", "2013-02-04")
REGIONS = StaticPartitions(["EWR", "JFK", "LGA"])
DAY_REGION = MultiPartitions(day=DAYS, region=REGIONS)
REGION_FIRST = MultiPartitions(a_region=REGIONS, day=DAYS)

days = st.sampled_from(
    [DAYS, DailyPartitions("2013-01-30", "2013-02-02"), MonthlyPartitions("2013-01", "2013-03")]
)
letters = st.sampled_from([REGIONS, StaticPartitions(["LGA", "EWR"]), StaticPartitions(["EWR"])])


@st.composite
def multi_definitions(draw: st.DrawFn) -> MultiPartitions:
    found: dict[str, PartitionsDefinition] = {}
    if draw(st.booleans()):
        found["a"] = REGIONS
    found["day"] = draw(days)
    if draw(st.booleans()):
        found["region"] = REGIONS
    if draw(st.booleans()):
        found["z"] = draw(letters)
    return MultiPartitions(**found)


def sets_of(definition: PartitionsDefinition) -> st.SearchStrategy[PartitionSet]:
    ordinals = st.sets(st.integers(0, len(definition) - 1)) if len(definition) else st.just(set())
    return ordinals.map(lambda bits: PartitionSet(definition, BitMap(bits)))


def pairs_of(relation: Relation) -> set[tuple[int, int]]:
    return {(down, up) for down in range(len(relation.down)) for up in relation.members(down)}


def check_all_answers(relation: Relation, data: st.DataObject) -> None:
    """Every question to a relation against the list of its pairs."""
    n, m = len(relation.down), len(relation.up)
    pairs = pairs_of(relation)
    members = [sorted(up for down, up in pairs if down == at) for at in range(n)]
    chosen_down, chosen_up = data.draw(sets_of(relation.down)), data.draw(sets_of(relation.up))

    assert [list(relation.members(at)) for at in range(n)] == members
    assert relation.counts.tolist() == [len(names) for names in members]
    values = np.array(data.draw(st.lists(st.integers(0, 2**64 - 1), min_size=m, max_size=m)), np.uint64)
    assert relation.sum_over(values).tolist() == [
        sum(int(values[up]) for up in names) % 2**64 for names in members
    ]
    assert [values[relation.index(at)].tolist() for at in range(n)] == [
        values[names].tolist() for names in members
    ]
    mask = np.zeros(m, np.bool_)
    mask[list(chosen_up.ordinals())] = True
    assert relation.any_over(mask).tolist() == [any(up in chosen_up for up in names) for names in members]
    up, down = relation.upstream(chosen_down), relation.downstream(chosen_up)
    assert set(up.ordinals()) == {a for b, a in pairs if b in chosen_down}
    assert set(down.ordinals()) == {b for b, a in pairs if a in chosen_up}
    assert bool(up & chosen_up) == bool(chosen_down & down)
    downs, ups = chosen_down.to_array(), chosen_up.to_array()
    counts, places = relation.links(downs, ups)
    assert counts.tolist() == [sum(a in chosen_up for a in members[at]) for at in downs.tolist()]
    assert ups[places].tolist() == [a for at in downs.tolist() for a in members[at] if a in chosen_up]
    assert relation.pairs(downs)[1].tolist() == [a for at in downs.tolist() for a in members[at]]


def expected_pairs(
    rules: dict[str, PartitionMapping], down: MultiPartitions, up: MultiPartitions
) -> set[tuple[int, int]]:
    """Pairs of keys of which every shared dimension is a pair of its own mapping."""
    single = {
        name: pairs_of(
            (rules.get(name) or default_mapping(down.dimension(name), item)).spans(down.dimension(name), item)
        )
        for name, item in up.dimensions.items()
        if name in down.dimensions
    }

    def at(definition: MultiPartitions, ordinal: int, name: str) -> int:
        return definition.dimension(name).ordinal(definition.key_parts(ordinal)[name])

    return {
        (b, a)
        for b in range(len(down))
        for a in range(len(up))
        if all((at(down, b, name), at(up, a, name)) in pairs for name, pairs in single.items())
    }


@settings(max_examples=40, deadline=None)
@given(
    multi_definitions(),
    multi_definitions(),
    st.sampled_from([None, trailing(2), shift(-1), all_partitions(), last()]),
    st.data(),
)
def test_dimensions_of_the_same_name_are_mapped_one_by_one(down, up, rule, data) -> None:
    z = {"z": all_partitions()} if "z" in down.dimensions and "z" in up.dimensions else {}
    rules = z if rule is None else {**z, "day": rule}
    relation = dimensions(**rules).spans(down, up)
    assert pairs_of(relation) == expected_pairs(rules, down, up)
    check_all_answers(relation, data)


@settings(max_examples=40, deadline=None)
@given(
    multi_definitions(),
    days,
    st.sampled_from([None, trailing(2), shift(-1), last()]),
    st.booleans(),
    st.data(),
)
def test_one_dimension_stands_for_the_whole_in_both_directions(multi, single, rule, downstream, data) -> None:
    down, up = (multi, single) if downstream else (single, multi)
    relation = dimension("day", rule).spans(down, up)
    alone = MultiPartitions(day=single)
    rules = {} if rule is None else {"day": rule}
    assert pairs_of(relation) == expected_pairs(rules, *((multi, alone) if downstream else (alone, multi)))
    check_all_answers(relation, data)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sets(st.integers(0, 9)), min_size=1, max_size=12), st.data())
def test_any_members_are_translated_as_the_model_does(members: list[set[int]], data) -> None:
    down, up = (StaticPartitions([f"k{n}" for n in range(size)]) for size in (len(members), 10))
    table = {f"k{at}": [f"k{n}" for n in names] for at, names in enumerate(members)}
    relation = mapped(table).spans(down, up)
    assert pairs_of(relation) == {(at, n) for at, names in enumerate(members) for n in names}
    check_all_answers(relation, data)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 4)), min_size=1, max_size=12), st.data())
def test_both_shapes_of_a_relation_answer_alike(spans, data) -> None:
    down, up = (StaticPartitions([f"k{n}" for n in range(size)]) for size in (len(spans), 12))
    first = np.array([start for start, _ in spans], np.int64)
    last = first + np.array([length for _, length in spans])
    near = Spans(down, up, first, last)
    counts, members = near.pairs(np.arange(len(spans)))
    far = Scattered(down, up, np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]), members)
    assert pairs_of(far) == pairs_of(near)
    check_all_answers(near, data)
    check_all_answers(far, data)
    bounds = far.bounds()
    assert bounds is not None
    assert (bounds[1] - bounds[0]).tolist() == counts.tolist()


def test_the_common_cases_stay_runs_of_neighbours() -> None:
    by_day = MultiPartitions(day=DAYS, region=REGIONS, z=StaticPartitions(["x", "y"]))
    for mapping, down, up in [
        (dimension("day"), DAYS, DAY_REGION),
        (dimension("day", trailing(3)), DAYS, DAY_REGION),
        (dimension("day"), DAY_REGION, DAYS),
        (dimension("day", trailing(3)), DAY_REGION, DAYS),
        (dimensions(), DAY_REGION, by_day),
        (dimensions(), by_day, DAY_REGION),
        (all_partitions(), DAY_REGION, by_day),
        (dimension("a_region"), REGIONS, REGION_FIRST),
    ]:
        assert isinstance(mapping.spans(down, up), Spans), mapping
    assert isinstance(dimension("region").spans(REGIONS, DAY_REGION), Scattered)
    assert isinstance(dimension("day", trailing(2)).spans(DAY_REGION, DAY_REGION), Scattered)


def test_a_million_partitions_are_related_without_one_object_each() -> None:
    wide = MultiPartitions(
        day=DailyPartitions("2000-01-01", "2010-01-01"), region=StaticPartitions(map(str, range(280)))
    )
    relation = dimension("day").spans(wide, wide.dimension("day"))
    assert len(wide) > 1_000_000
    assert int(relation.counts.sum()) == len(wide)
    assert relation.members(281) == range(1, 2)


def test_what_may_be_several_is_read_by_partition() -> None:
    assert not dimension("day").reads_many(DAY_REGION, DAYS)
    assert dimension("day").reads_many(DAYS, DAY_REGION)
    assert dimension("day", trailing(2)).reads_many(DAY_REGION, DAYS)
    assert not dimensions().reads_many(DAY_REGION, MultiPartitions(day=DAYS))
    assert dimensions().reads_many(MultiPartitions(day=DAYS), DAY_REGION)
    assert not mapped({"EWR": "JFK"}).reads_many(REGIONS, REGIONS)
    assert mapped({"EWR": ["JFK"]}).reads_many(REGIONS, REGIONS)


@pytest.mark.parametrize(
    ("mapping", "down", "up", "sentence"),
    [
        (dimension("dya"), DAYS, DAY_REGION, "have no dimension 'dya'; write one of day, region"),
        (dimension("day"), DAYS, REGIONS, "neither .* have dimensions"),
        (dimension("region"), DAYS, DAY_REGION, "of dimension 'region': .* no keys in common"),
        (dimensions(), DAYS, DAY_REGION, r"In\(partitions=dimension\(NAME\)\)"),
        (dimensions(), MultiPartitions(x=DAYS), DAY_REGION, "no dimension in common"),
        (dimensions(q=identity()), DAY_REGION, DAY_REGION, "no dimension 'q'"),
        (identity(), DAYS, DAY_REGION, r"In\(partitions=dimension\('day'\)\)"),
        (trailing(7), DAY_REGION, DAY_REGION, r"dimension\('day', trailing\(7\)\)"),
        (mapped({"EWR": "nowhere"}), REGIONS, REGIONS, "names 'nowhere', and upstream has no such partition"),
        (mapped({"nowhere": "EWR"}), REGIONS, REGIONS, "downstream has no such partition"),
        (mapped({"EWR": "2013-03-01"}), REGIONS, DAYS, "'2013-03-01'"),
        (mapped({"EWR": "x"}), UNPARTITIONED, REGIONS, "downstream"),
    ],
)
def test_a_mapping_that_cannot_be_applied_says_what_to_write(mapping, down, up, sentence) -> None:
    with pytest.raises(DefinitionError, match=sentence) as raised:
        mapping.spans(down, up)
    assert raised.value.code == "mapping-impossible"


def test_keys_that_may_still_come_are_no_mistake_and_left_out() -> None:
    customers = DynamicPartitions("customers")
    open_ended = DailyPartitions("2013-01-01")
    mapping = mapped({"EWR": ["a", "b"], "JFK": "c"})
    assert mapping.problem(REGIONS, customers) is None
    relation = mapping.spans(REGIONS, customers.with_keys(["b", "c"]))
    assert [list(relation.members(at)) for at in range(3)] == [[0], [1], []]
    assert mapped({"EWR": "2400-01-01"}).problem(REGIONS, open_ended) is None
    assert mapped({"EWR": "2012-01-01"}).problem(REGIONS, open_ended) is not None


@pytest.mark.parametrize("table", [{1: "a"}, {"a": [1]}, {"a": [None]}])
def test_keys_that_are_no_texts_are_refused(table) -> None:
    with pytest.raises(DefinitionError, match="mapping-invalid"):
        mapped(table)
    with pytest.raises(DefinitionError, match="mapping-invalid"):
        dimension("day", "trailing")


def test_mappings_are_values_that_show_how_they_are_written() -> None:
    for mapping in (
        dimension("day"),
        dimension("day", trailing(7)),
        dimensions(day=trailing(7), region=identity()),
        mapped({"b": ["x", "y"], "a": "z"}),
    ):
        assert eval(repr(mapping)) == mapping
        assert hash(eval(repr(mapping))) == hash(mapping)
    assert repr(mapped({"b": "x", "a": ["y"]})) == "mapped({'a': ['y'], 'b': 'x'})"


@dataclass(frozen=True)
class Neighbours(KeyMapping):
    """The regions that stand next to one."""

    distance: int

    def members(self, key: str | None, up: PartitionsDefinition) -> Iterable[str | None]:
        at = up.ordinal(key)
        return [up.key(near) for near in (at - self.distance, at + self.distance) if 0 <= near < len(up)]


def test_a_rule_of_ones_own_names_keys() -> None:
    relation = Neighbours(1).spans(REGIONS, REGIONS)
    assert [list(relation.members(at)) for at in range(3)] == [[1], [0, 2], [1]]
    assert "distance=1" in repr(Neighbours(1))


def test_a_rule_that_raises_is_named() -> None:
    with pytest.raises(
        DefinitionError, match=r"Neighbours\(distance=1\) raised NotFoundError for the partition 'LGA'"
    ):
        Neighbours(1).spans(REGIONS, StaticPartitions(["EWR", "JFK"]))


def test_empty_sides_need_nothing() -> None:
    nobody = MultiPartitions(customer=DynamicPartitions("c"), day=DAYS)
    for mapping, down, up in [
        (dimension("day"), DAYS, nobody),
        (dimension("day"), nobody, DAYS),
        (dimensions(), nobody, nobody),
        (dimensions(), DAY_REGION, nobody),
        (all_partitions(), DAY_REGION, nobody),
    ]:
        relation = mapping.spans(down, up)
        assert not relation.counts.sum()
        assert not relation.upstream(down.all())
        assert not relation.downstream(up.all())
