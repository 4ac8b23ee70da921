"""Hash mixing, fingerprints of spans, configuration versions."""

import datetime as dt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from assets_core.definition.partitions.base import UNPARTITIONED
from assets_core.definition.partitions.relation import Spans
from assets_core.errors import ConfigError
from assets_core.planning.fingerprint import (
    config_version,
    fingerprint_of,
    finish_fingerprint,
    finish_fingerprints,
    format_hash,
    mix,
    mix_one,
    name_hash,
    parse_hash,
)

HASHES = st.integers(0, 2**64 - 1)
PAIRS = st.dictionaries(st.integers(-(2**63), 2**63 - 1), HASHES, max_size=40)


def u64(values: object) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    return np.array(list(values), np.uint64)  # type: ignore[call-overload]


def span_fingerprints(first: object, last: object, mixed: object, exists: object) -> "np.ndarray":
    """As the snapshot of a plan takes them, from half-open spans."""
    spans = Spans(UNPARTITIONED, UNPARTITIONED, np.array(first, np.int64), np.array(last, np.int64))
    return finish_fingerprints(spans.sum_over(mixed), spans.sum_over(exists).astype(np.uint64))


@given(PAIRS)
def test_arrays_and_scalars_mix_alike(pairs: dict[int, int]) -> None:
    positions, hashes = np.array(list(pairs), np.int64), u64(pairs.values())
    mixed = mix(positions, hashes)
    assert mixed.tolist() == [mix_one(position, value) for position, value in pairs.items()]
    assert mix(positions.astype(np.uint64), hashes).tolist() == mixed.tolist()


@given(HASHES, st.lists(HASHES, max_size=5))
def test_one_position_for_all_hashes_is_that_position_for_each(position: int, hashes: list[int]) -> None:
    assert mix(position, u64(hashes)).tolist() == [mix_one(position, value) for value in hashes]


@given(st.lists(HASHES, max_size=60), st.data())
def test_the_fingerprint_of_a_span_equals_the_direct_sum(hashes: list[int], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(hashes)))
    last = data.draw(st.integers(first, len(hashes)))
    mixed = mix(np.arange(len(hashes)), u64(hashes))
    found = span_fingerprints([first], [last], mixed, np.ones(len(hashes), np.bool_))
    assert found.tolist() == [fingerprint_of({at: hashes[at] for at in range(first, last)})]


@given(st.lists(st.none() | HASHES, min_size=1, max_size=40))
def test_pairs_that_do_not_exist_do_not_count(hashes: list[int | None]) -> None:
    mixed = u64([0 if value is None else mix_one(at, value) for at, value in enumerate(hashes)])
    exists = np.array([value is not None for value in hashes])
    found = span_fingerprints([0], [len(hashes)], mixed, exists)
    assert found[0] == fingerprint_of({at: value for at, value in enumerate(hashes) if value is not None})


@given(PAIRS, st.randoms())
def test_order_does_not_matter(pairs: dict[int, int], random: object) -> None:
    items = list(pairs.items())
    random.shuffle(items)  # type: ignore[attr-defined]
    assert fingerprint_of(dict(items)) == fingerprint_of(pairs)


@given(PAIRS.filter(bool), HASHES.filter(bool), st.data())
def test_another_hash_gives_another_fingerprint(
    pairs: dict[int, int], change: int, data: st.DataObject
) -> None:
    position = data.draw(st.sampled_from(sorted(pairs)))
    assert fingerprint_of(pairs | {position: pairs[position] ^ change}) != fingerprint_of(pairs)
    assert fingerprint_of({at: value for at, value in pairs.items() if at != position}) != fingerprint_of(
        pairs
    )


@given(HASHES, HASHES, st.integers(0, 100), st.integers(101, 200))
def test_hashes_that_swap_places_or_shift_against_each_other_do_not_cancel(
    a: int, b: int, i: int, j: int
) -> None:
    if a != b:
        assert fingerprint_of({i: a, j: b}) != fingerprint_of({i: b, j: a})
    shifted = {i: (a + 1) % 2**64, j: (b - 1) % 2**64}
    assert fingerprint_of({i: a, j: b}) != fingerprint_of(shifted)


@given(st.lists(st.tuples(HASHES, st.integers(0, 2**40)), max_size=20))
def test_finishing_arrays_and_scalars_agree_and_is_never_zero(pairs: list[tuple[int, int]]) -> None:
    totals, counts = u64(total for total, _ in pairs), u64(count for _, count in pairs)
    found = finish_fingerprints(totals, counts)
    assert found.tolist() == [finish_fingerprint(total, count) for total, count in pairs]
    assert 0 not in found


def test_half_of_all_bits_flip_when_one_bit_of_either_part_does() -> None:
    random = np.random.default_rng(7)
    positions = random.integers(0, 2**20, 2000)
    hashes = random.integers(0, 2**64, 2000, dtype=np.uint64)
    base = mix(positions, hashes)
    for bit in range(64):
        other = mix(positions, hashes ^ np.uint64(1 << bit))
        assert 30 < np.bitwise_count(base ^ other).mean() < 34
    for bit in range(20):
        other = mix(positions ^ (1 << bit), hashes)
        assert 30 < np.bitwise_count(base ^ other).mean() < 34


def test_the_mixing_never_changes_for_it_is_stored() -> None:
    assert format_hash(mix_one(5, 7)) == "acb80f706bef9aa8"
    assert format_hash(fingerprint_of({})) == "bb22f76a257db325"
    assert format_hash(fingerprint_of({0: 1, 1: 2})) == "569840920e87141e"
    assert format_hash(name_hash("flights")) == "6ab0ec1e21a6456d"
    assert config_version({"a": 1}) == "1f8c00645b7df6ce"


@given(HASHES)
def test_text_of_a_hash_goes_both_ways(value: int) -> None:
    assert parse_hash(format_hash(value)) == value
    assert parse_hash(format_hash(value) + "ab") == value
    with pytest.raises(ValueError, match="16 hex digits"):
        parse_hash(format_hash(value)[1:])


class Config(BaseModel):
    limit: int = 3
    since: dt.date = dt.date(2013, 1, 1)


def test_configurations_with_equal_values_have_one_version() -> None:
    assert config_version(Config()) == config_version(Config(limit=3))
    assert config_version(Config()) != config_version(Config(limit=4))
    assert config_version({"a": 1, "b": [1, 2]}) == config_version({"b": (1, 2), "a": 1})
    assert config_version({"path": Path("a"), "at": dt.date(2013, 1, 1), "of": {3, 1}}) == config_version(
        {"of": {1, 3}, "at": "2013-01-01", "path": "a"}
    )
    assert len({config_version(None), config_version({}), config_version({"a": None})}) == 3


def test_a_configuration_without_a_plain_form_is_refused() -> None:
    with pytest.raises(ConfigError, match="config-not-plain"):
        config_version({"a": object()})


def test_a_million_spans_are_fingerprinted_in_arrays() -> None:
    n = 1_000_000
    hashes = np.arange(n, dtype=np.uint64)
    first = np.maximum(np.arange(n) - 6, 0)
    found = span_fingerprints(first, np.arange(1, n + 1), mix(np.arange(n), hashes), np.ones(n, np.bool_))
    assert found[-1] == fingerprint_of({at: at for at in range(n - 7, n)})
