"""The canonical hash of a table: what must not move it, and what must."""

import decimal
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from io_managers.errors import FormatError
from io_managers.formats.content_hash import TableHasher, canonical_type, table_hashes
from tests.support.profiles import scale

_SCALARS = {
    pa.int8(): st.integers(-128, 127),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float64(): st.floats(),
    pa.float32(): st.floats(width=32),
    pa.bool_(): st.booleans(),
    pa.string(): st.text(max_size=5),
    pa.large_string(): st.text(max_size=5),
    pa.string_view(): st.text(max_size=20),
    pa.binary(): st.binary(max_size=5),
    pa.binary(3): st.binary(min_size=3, max_size=3),
    pa.timestamp("us", "Europe/Rome"): st.integers(-(2**50), 2**50),
    pa.date32(): st.integers(-1000, 1000),
    pa.decimal128(10, 2): st.decimals(-1000, 1000, places=2, allow_nan=False, allow_infinity=False),
    pa.null(): st.none(),
}


@st.composite
def _types(draw: st.DrawFn, depth: int = 2) -> tuple[pa.DataType, st.SearchStrategy[object]]:
    shape = draw(
        st.sampled_from(
            ["scalar"] * 3 + (["list", "large", "fixed", "struct", "map", "view"] if depth else [])
        )
    )
    if shape == "scalar":
        kind = draw(st.sampled_from(list(_SCALARS)))
        return kind, st.none() | _SCALARS[kind]
    kind, cells = draw(_types(depth - 1))
    lists = st.none() | st.lists(cells, max_size=3)
    match shape:
        case "list":
            return pa.list_(kind), lists
        case "large":
            return pa.large_list(kind), lists
        case "view":
            return pa.list_view(kind), lists
        case "fixed":
            return pa.list_(kind, 2), st.none() | st.lists(cells, min_size=2, max_size=2)
        case "struct":
            return pa.struct([("x", kind), ("y", pa.int32())]), st.none() | st.fixed_dictionaries(
                {"x": cells, "y": st.none() | st.integers(0, 3)}
            )
        case _:
            pairs = st.lists(st.tuples(st.text(max_size=2), cells), max_size=2)
            return pa.map_(pa.string(), kind), st.none() | pairs


@st.composite
def _columns(draw: st.DrawFn) -> pa.Array:
    kind, cells = draw(_types())
    return pa.array(draw(st.lists(cells, max_size=12)), kind)


def _hash(column: pa.Array | pa.ChunkedArray, name: str = "x") -> str:
    return table_hashes(pa.table({name: column}))[1]


@settings(max_examples=scale(30))
@given(_columns(), st.data())
def test_hash_does_not_depend_on_chunks_or_slices(column: pa.Array, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(column)), max_size=3)))
    bounds = [0, *cuts, len(column)]
    chunks = [column.slice(a, b - a) for a, b in pairwise(bounds)]
    assert _hash(pa.chunked_array(chunks, type=column.type)) == _hash(column)


@settings(max_examples=scale(30))
@given(_columns(), st.integers(1, 9))
def test_hash_of_a_slice_is_the_hash_of_its_copy(column: pa.Array, skip: int) -> None:
    tail = column.slice(skip)
    assert _hash(tail) == _hash(pa.array(tail.to_pylist(), column.type))


@settings(max_examples=scale(30))
@given(_columns(), st.data())
def test_changing_one_cell_to_null_or_back_changes_the_hash(column: pa.Array, data: st.DataObject) -> None:
    cells = column.to_pylist()
    present = [position for position, cell in enumerate(cells) if cell is not None]
    if not present:
        return
    changed = list(cells)
    changed[data.draw(st.sampled_from(present))] = None
    assert _hash(pa.array(changed, column.type)) != _hash(column)


@settings(max_examples=scale(30))
@given(
    st.lists(st.none() | st.text(max_size=3), max_size=8),
    st.lists(st.none() | st.text(max_size=3), max_size=8),
)
def test_text_columns_hash_alike_exactly_when_equal(left: list[str | None], right: list[str | None]) -> None:
    assert (_hash(pa.array(left, pa.string())) == _hash(pa.array(right, pa.string()))) == (left == right)


@settings(max_examples=scale(30))
@given(
    st.lists(st.lists(st.integers(0, 1), max_size=2), max_size=5),
    st.lists(st.lists(st.integers(0, 1), max_size=2), max_size=5),
)
def test_where_one_list_ends_and_the_next_begins_enters(
    left: list[list[int]], right: list[list[int]]
) -> None:
    kind = pa.list_(pa.int64())
    assert (_hash(pa.array(left, kind)) == _hash(pa.array(right, kind))) == (left == right)


def test_bytes_under_nulls_do_not_enter() -> None:
    mask = pa.py_buffer(b"\x05")
    numbers = [
        pa.Array.from_buffers(pa.int64(), 3, [mask, pa.py_buffer(np.array([1, junk, 3]))]) for junk in (0, 77)
    ]
    assert _hash(numbers[0]) == _hash(numbers[1])
    flags = [
        pa.Array.from_buffers(pa.bool_(), 3, [mask, pa.py_buffer(bytes([bits]))]) for bits in (0b101, 0b111)
    ]
    assert _hash(flags[0]) == _hash(flags[1])


def test_text_and_items_under_nulls_do_not_enter() -> None:
    mask = pa.py_buffer(b"\x05")
    offsets = pa.py_buffer(np.array([0, 1, 3, 4], np.int32))
    text = pa.Array.from_buffers(pa.string(), 3, [mask, offsets, pa.py_buffer(b"aXXb")])
    assert _hash(text) == _hash(pa.array(["a", None, "b"]))
    items = pa.Array.from_buffers(pa.list_(pa.int64()), 3, [mask, offsets], children=[pa.array([1, 8, 9, 4])])
    assert _hash(items) == _hash(pa.array([[1], None, [4]]))
    children = [pa.array([1, 99, 3])]
    struct = pa.Array.from_buffers(pa.struct([("x", pa.int64())]), 3, [mask], children=children)
    assert _hash(struct) == _hash(pa.array([{"x": 1}, None, {"x": 3}]))


def test_all_bit_patterns_of_nan_hash_alike_and_nan_is_not_null() -> None:
    nans = np.array([0x7FF8000000000000, 0xFFF8000000000000, 0x7FF8000000000001], np.uint64).view(np.float64)
    hashes = {_hash(pa.array([1.0, nan])) for nan in nans}
    assert len(hashes) == 1
    assert _hash(pa.array([1.0, None])) not in hashes


def test_types_that_differ_in_layout_alone_hash_alike() -> None:
    cells = ["a", None, "long enough not to be inlined"]
    assert (
        len({_hash(pa.array(cells, kind)) for kind in (pa.string(), pa.large_string(), pa.string_view())})
        == 1
    )
    lists = [[1, 2], None, [], [3]]
    kinds = (
        pa.list_(pa.int64()),
        pa.large_list(pa.int64()),
        pa.list_view(pa.int64()),
        pa.large_list_view(pa.int64()),
    )
    assert len({_hash(pa.array(lists, kind)) for kind in kinds}) == 1
    runs = pa.RunEndEncodedArray.from_arrays([2, 3], ["a", "b"])
    assert _hash(runs) == _hash(pa.array(["a", "a", "b"]))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (pa.array([1, 2], pa.int64()), pa.array([1, 2], pa.int32())),
        (pa.array([1, 2], pa.int64()), pa.array([1, 2], pa.timestamp("us"))),
        (pa.array([1], pa.timestamp("us")), pa.array([1], pa.timestamp("us", "UTC"))),
        (pa.array(["a"]), pa.array([b"a"])),
        (pa.array(["a"]), pa.array(["a"]).dictionary_encode()),
        (pa.nulls(2), pa.nulls(2, pa.int64())),
        (pa.array([1, 2]), pa.array([2, 1])),
        (pa.array([0.0]), pa.array([-0.0])),
        (pa.array([], pa.int64()), pa.array([None], pa.int64())),
        (pa.array([{"x": None}]), pa.array([None], pa.struct([("x", pa.null())]))),
        (pa.array([decimal.Decimal("1.00")]), pa.array([decimal.Decimal("1.01")])),
        (pa.array([[]], pa.list_(pa.int64())), pa.array([None], pa.list_(pa.int64()))),
    ],
)
def test_columns_that_differ_hash_apart(left: pa.Array, right: pa.Array) -> None:
    assert _hash(left) != _hash(right)


def test_names_and_the_order_of_columns_enter() -> None:
    ones = pa.array([1])
    assert _hash(ones, "a") != _hash(ones, "b")
    columns, version = table_hashes(pa.table({"a": ones, "b": ones}))
    swapped, swapped_version = table_hashes(pa.table({"b": ones, "a": ones}))
    assert columns["a"] != columns["b"]
    assert columns == swapped
    assert version != swapped_version


def test_categories_hash_by_cells_and_by_order_when_ordered() -> None:
    def encoded(codes: list[int], categories: list[str], ordered: bool) -> str:
        return _hash(pa.DictionaryArray.from_arrays(codes, categories, ordered=ordered))

    assert encoded([0, 1], ["a", "b"], ordered=False) == encoded([1, 0], ["b", "a"], ordered=False)
    assert encoded([0, 1], ["a", "b"], ordered=True) != encoded([1, 0], ["b", "a"], ordered=True)
    assert encoded([0, 1], ["a", "b"], ordered=True) != encoded([0, 1], ["a", "b"], ordered=False)


def test_hashing_batch_by_batch_is_hashing_the_whole() -> None:
    table = pa.table({"a": [1, None, 3, 4], "s": ["x", "yy", None, ""], "l": [[1], [], None, [2, 3]]})
    hasher = TableHasher(table.schema)
    for batch in table.to_batches(max_chunksize=1):
        hasher.update(batch)
    assert hasher.hashes() == table_hashes(table)


def test_hashes_have_the_promised_lengths() -> None:
    columns, version = table_hashes(pa.table({"a": [1]}))
    assert len(version) == 32
    assert [len(text) for text in columns.values()] == [16]


def test_metadata_and_nullability_do_not_enter() -> None:
    plain = pa.table({"a": [1]})
    other = pa.table(
        {"a": [1]}, schema=pa.schema([pa.field("a", pa.int64(), nullable=False)], metadata={"k": "v"})
    )
    assert table_hashes(plain) == table_hashes(other)


def test_hash_of_a_known_table_never_changes() -> None:
    table = pa.table({"n": [1, None], "s": ["a", "b"]})
    assert table_hashes(table)[1] == "d30fd6ed431996e95215a883f6baca9d"


@pytest.mark.parametrize("array", [pa.array([(1, 2, 3)], pa.month_day_nano_interval())])
def test_a_type_that_parquet_cannot_hold_is_refused_by_name(array: pa.Array) -> None:
    with pytest.raises(FormatError, match=r"type-not-hashable.*interval"):
        _hash(array)


def test_extension_types_hash_by_name_and_storage() -> None:
    assert canonical_type(pa.uuid()) == "arrow.uuid:fixed_size_binary[16]"
    cells = [b"0123456789abcdef", None]
    assert _hash(pa.array(cells, pa.uuid())) != _hash(pa.array(cells, pa.binary(16)))
