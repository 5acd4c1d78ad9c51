"""Cells of HBase as columns of values."""

import math
import struct

import pyarrow as pa

from fink_broker.query.decoded import decoded

KINDS = {"i:n": "integer", "i:id": "long", "i:f": "float", "i:x": "double", "d:t": "string", "d:b": "boolean", "d:absent": "double"}


def test_every_kind_of_cell():
    rows = [
        (
            b"one",
            {
                b"i:n": struct.pack(">i", -5),
                b"i:id": struct.pack(">q", 2**62 + 1),
                b"i:f": struct.pack(">f", 1.5),
                b"i:x": struct.pack(">d", 2461122.0073843),
                b"d:t": "é".encode(),
                b"d:b": b"true",
            },
        ),
        (b"two", {b"i:x": struct.pack(">d", math.nan), b"d:b": b"false"}),
    ]
    found = decoded(rows, KINDS)
    assert found.schema == pa.schema(
        {"rowkey": pa.string(), "i:n": pa.int32(), "i:id": pa.int64(), "i:f": pa.float32(), "i:x": pa.float64()}
        | {"d:t": pa.string(), "d:b": pa.bool_()}
    )
    one, two = found.to_pylist()
    assert one == {"rowkey": "one", "i:n": -5, "i:id": 2**62 + 1, "i:f": 1.5, "i:x": 2461122.0073843, "d:t": "é", "d:b": True}
    assert math.isnan(two["i:x"]), "a value, and no null"
    assert [name for name, value in two.items() if value is None] == ["i:n", "i:id", "i:f", "d:t"]


def test_a_column_that_was_widened_has_cells_of_two_lengths():
    rows = [
        (b"old", {b"i:n": struct.pack(">i", -7), b"i:f": struct.pack(">f", 0.5)}),
        (b"new", {b"i:n": struct.pack(">q", 2**40), b"i:f": struct.pack(">d", 0.1)}),
        (b"none", {}),
    ]
    for kinds in ({"i:n": "long", "i:f": "double"}, {"i:n": "integer", "i:f": "float"}):
        found = decoded(rows, kinds)
        assert found["i:n"].to_pylist() == [-7, 2**40, None]
        assert found["i:f"].to_pylist() == [0.5, 0.1, None]


def test_no_rows():
    assert decoded([], KINDS).to_pydict() == {"rowkey": []}
