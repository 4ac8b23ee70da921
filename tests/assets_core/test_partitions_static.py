import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from assets_core.definition.partitions.static import StaticPartitions
from assets_core.errors import DefinitionError, NotFoundError

ODD_KEYS = [
    "a/b",
    "..",
    "50%",
    "nul\0",
    "two\nlines",
    "x" * 300,
    "🦊",
    " ",
    "a..b",
    "a,b",
    "all",
    "\\",
    "\ud800",
]


def test_any_text_can_be_a_key_and_the_order_is_kept() -> None:
    partitions = StaticPartitions(ODD_KEYS)
    assert list(partitions.keys()) == ODD_KEYS
    assert [partitions.ordinal(key) for key in ODD_KEYS] == list(range(len(ODD_KEYS)))
    assert [partitions.key(ordinal) for ordinal in range(len(partitions))] == ODD_KEYS
    assert len(set(partitions.positions().tolist())) == len(ODD_KEYS)


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        ([], "partitions-empty"),
        (["a", "b", "a"], "partition-key-twice"),
        (["a", ""], "partition-key-invalid"),
        (["a", 7], "partition-key-invalid"),
        ([None], "partition-key-invalid"),
        ("abc", "partition-key-invalid"),
    ],
)
def test_keys_that_are_empty_twice_or_no_text_are_refused(keys, code) -> None:
    with pytest.raises(DefinitionError) as raised:
        StaticPartitions(keys)
    assert raised.value.code == code


def test_an_unknown_key_is_refused_with_the_nearest() -> None:
    partitions = StaticPartitions(["EWR", "JFK", "LGA"])
    with pytest.raises(NotFoundError, match="nearest: 'EWR'") as raised:
        partitions.ordinal("EWQ")
    assert "there are 3: 'EWR', 'JFK', 'LGA'" in str(raised.value)
    with pytest.raises(NotFoundError):
        partitions.ordinal(None)
    for ordinal in (-1, 3):
        with pytest.raises(IndexError):
            partitions.key(ordinal)


def test_a_key_is_not_found_quickly_among_very_many() -> None:
    partitions = StaticPartitions([f"customer-{number}" for number in range(50_000)])
    with pytest.raises(NotFoundError, match="there are 50,000"):
        partitions.ordinal("customer-x")


def test_positions_are_hashes_of_the_keys_alone() -> None:
    positions = StaticPartitions(["b", "é"]).positions()
    expected = [xxh3_64_intdigest(key.encode()) for key in ("b", "é")]
    assert [value % 2**64 for value in positions.tolist()] == expected
    assert positions.dtype == "int64"
    assert StaticPartitions(["a", "b"]).positions()[1] == positions[0]
    assert not positions.flags.writeable


def test_keys_with_the_same_hash_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xxhash.xxh3_64_intdigest", len)
    with pytest.raises(DefinitionError, match="'a' and 'b' cannot be told apart"):
        StaticPartitions(["xx", "a", "b"]).positions()


def test_definitions_are_equal_by_keys_in_order_and_sign_alike_in_any_order() -> None:
    ab, ba = StaticPartitions(["a", "b"]), StaticPartitions(("b", "a"))
    assert ab == StaticPartitions(iter("ab"))
    assert hash(ab) == hash(StaticPartitions(["a", "b"]))
    assert ab != ba
    assert ab.signature() == ba.signature() != StaticPartitions(["ab"]).signature()
    assert repr(ab) == "StaticPartitions(['a', 'b'])"
    ab.positions()
    assert pickle.loads(pickle.dumps(ab)) == ab


@given(st.lists(st.text(min_size=1), min_size=1, unique=True))
def test_key_and_ordinal_are_each_others_inverse(keys: list[str]) -> None:
    partitions = StaticPartitions(keys)
    assert [partitions.ordinal(key) for key in partitions.keys()] == list(range(len(partitions)))
