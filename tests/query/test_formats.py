"""Answers as files of other programs: what is read back is what was written."""

import io
import json
import math
from datetime import datetime

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from astropy.table import Table

from fink_broker.query.formats import encoded, text

ROWS = pa.table(
    {
        "i:objectId": ["ZTF18a", None],
        "i:candid": pa.array([2**60 + 1, None], pa.int64()),
        "i:magpsf": pa.array([15.88718, math.nan], pa.float32()),
        "i:jd": [2458729.6881481, None],
        "d:ok": [True, None],
    }
)
NESTED = pa.table({"at": [datetime(2026, 3, 22)], "list": [[1.0, math.nan]], "record": [{"x": 1, "y": math.inf}], "bytes": [b"\x00"]})


def test_json_has_null_for_what_is_no_number_and_floats_at_their_shortest():
    first, second = json.loads(encoded(ROWS, "json"))
    assert first == {"i:objectId": "ZTF18a", "i:candid": 2**60 + 1, "i:magpsf": 15.88718, "i:jd": 2458729.6881481, "d:ok": True}
    assert set(second.values()) == {None}
    [nested] = json.loads(encoded(NESTED, "json"))
    assert nested == {"at": "2026-03-22 00:00:00", "list": [1.0, None], "record": {"x": 1, "y": None}, "bytes": "AA=="}


def test_csv():
    lines = encoded(ROWS, "csv").decode().splitlines()
    assert lines[0] == '"i:objectId","i:candid","i:magpsf","i:jd","d:ok"'
    assert lines[1] == '"ZTF18a",1152921504606846977,15.88718,2458729.6881481,true'
    assert pyarrow.csv.read_csv(io.BytesIO(encoded(NESTED, "csv")))["list"].to_pylist() == ["[1.0, null]"]


def test_parquet_keeps_all_types():
    for rows in (ROWS, NESTED):
        assert pq.read_table(io.BytesIO(encoded(rows, "parquet"))).schema == rows.schema


def test_votable_keeps_whole_numbers_and_says_what_is_missing():
    found = Table.read(io.BytesIO(encoded(ROWS, "votable")), format="votable", use_names_over_ids=True)
    assert found.colnames == ROWS.column_names
    assert found["i:candid"][0] == 2**60 + 1
    assert found["i:candid"].mask.tolist() == [False, True]
    assert found["i:jd"][0] == 2458729.6881481
    assert Table.read(io.BytesIO(encoded(NESTED, "votable")), format="votable")["record"][0] == '{"x": 1, "y": null}'
    assert encoded(pa.table({}), "votable").startswith(b"<?xml")


def test_a_table_to_look_at_has_as_many_columns_as_fit():
    whole = text(ROWS).splitlines()
    assert whole[0].split() == ROWS.column_names
    assert whole[1].split() == ["ZTF18a", "1152921504606846977", "15.88718", "2458729.6881481", "true"]
    narrow = text(ROWS, 40).splitlines()
    assert narrow[0].split() == ["i:objectId", "i:candid"]
    assert narrow[-1].startswith("... and 3 more columns")
    assert max(map(len, narrow[:-1])) <= 40


def test_a_column_of_no_text_at_all_is_empty_in_a_votable():
    rows = pa.table({"i:jd": [1.5, 2.5], "a:none": pa.nulls(2, pa.string())})
    table = Table.read(io.BytesIO(encoded(rows, "votable")), format="votable")
    assert list(table["a_none"] if "a_none" in table.colnames else table["a:none"]) == ["", ""]
