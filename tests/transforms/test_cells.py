"""Cells are what HBase's Bytes writes: checked against struct, big-endian."""

import math
import struct

import pyarrow as pa
import pytest

from fink_broker.transforms.cells import decode, encode


@pytest.mark.parametrize(
    ("kind", "form", "values"),
    [
        (pa.int32(), ">i", [0, 1, -1, 2**31 - 1, -(2**31)]),
        (pa.int64(), ">q", [0, 3367139732915010140, -1, -(2**63)]),
        (pa.float32(), ">f", [0.0, 17.25, -0.5, math.inf]),
        (pa.float64(), ">d", [2461122.0073843, -0.0, 5e-324, -math.inf]),
    ],
)
def test_numbers_are_big_endian(kind, form, values):
    assert encode(pa.array(values, kind)) == [struct.pack(form, value) for value in values]


def test_nan_is_a_value_and_null_is_none():
    absent, nan = encode(pa.array([None, math.nan], pa.float32()))
    assert absent is None
    assert nan is not None
    assert math.isnan(struct.unpack(">f", nan)[0])


def test_text_is_utf8():
    assert encode(pa.array(["RR Lyræ", "", None])) == ["RR Lyræ".encode(), b"", None]


def test_a_slice_is_encoded_as_it_is():
    assert encode(pa.array([1, None, 3, 4], pa.int32()).slice(1, 2)) == [None, struct.pack(">i", 3)]


def test_decode_by_the_schema_row():
    schema = {b"i:fid": b"integer", b"i:candid": b"long", b"i:rb": b"float", b"i:jd": b"double", b"d:gcvs": b"string", b"d:x": b"boolean"}
    cells = {
        b"i:fid": b"\x00\x00\x00\x02",
        b"i:candid": b"\x00\x00\x00\x00\x00\x00\x01\x00",
        b"i:rb": b"\x3f\x00\x00\x00",
        b"i:jd": b"\x40\x00\x00\x00\x00\x00\x00\x00",
        b"d:gcvs": b"RR",
        b"d:x": b"true",
    }
    assert decode(cells, schema) == {"i:fid": 2, "i:candid": 256, "i:rb": 0.5, "i:jd": 2.0, "d:gcvs": "RR", "d:x": True}
    assert decode({b"d:x": b"false"}, schema) == {"d:x": False}


def test_decode_names_a_column_that_the_schema_row_lacks():
    with pytest.raises(KeyError, match="i:magpsf"):
        decode({b"i:magpsf": b"\x00\x00\x00\x00"}, {})
