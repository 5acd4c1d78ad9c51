"""The slow way: fastavro reads, the reader schema writes."""

from __future__ import annotations

import io
import json

import fastavro
import pytest

from datasim import garbage
from fink_broker.connectors import avro
from fink_broker.transforms.recode import Record, recode

READER = {
    "type": "record",
    "name": "alert",
    "fields": [
        {"name": "id", "type": ["null", "long"], "default": None},
        {"name": "band", "type": ["null", "string"], "default": None},
        {"name": "flux", "type": ["null", {"type": "array", "items": ["null", "double"]}], "default": None},
    ],
}
TEXT = json.dumps(READER)


def container(fields: dict[str, object], *records: dict[str, object], codec: str = "null") -> bytes:
    schema = {"type": "record", "name": "other", "fields": [{"name": name, "type": kind} for name, kind in fields.items()]}
    value = io.BytesIO()
    fastavro.writer(value, fastavro.parse_schema(schema), records, codec=codec)
    return value.getvalue()


def decoded(value: bytes) -> object:
    [record] = recode(value, TEXT)
    assert record.reason is None
    assert record.body is not None
    body = record.body
    return fastavro.schemaless_reader(io.BytesIO(body), fastavro.parse_schema(READER))


@pytest.mark.parametrize("codec", ["null", "deflate", "snappy", "zstandard", "bzip2"])
def test_other_order_narrower_types_missing_and_further_fields(codec: str):
    fields = {"further": "int", "flux": {"type": "array", "items": "float"}, "id": "int"}
    value = container(fields, {"further": 5, "flux": [0.5, 0.25], "id": 7}, codec=codec)
    assert decoded(value) == {"id": 7, "band": None, "flux": [0.5, 0.25]}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (container({"id": "long"}), "a container without a record"),
        (container({"id": "long"}, {"id": 1})[:-3], "does not decode: "),
        (container({"id": "string"}, {"id": "seven"}), "its schema does not go with the known ones: field alert.id is long and string"),
        (container({"id": "double"}, {"id": 7.0}), "its schema does not go with the known ones: field alert.id was long, and double"),
        (container({"Band": "string"}, {"Band": "g"}), "not an alert: it has none of the fields id, band, flux"),
        (garbage.wrong_schema(), "not an alert: it has none of the fields id, band, flux"),
        (garbage.NOT_AVRO, "does not decode: ValueError: "),
        (b"Obj\x01" + b"\xff" * 40, "does not decode: "),
    ],
)
def test_reasons(value: bytes, reason: str):
    [record] = recode(value, TEXT)
    why = record.reason
    assert record.body is None
    assert why is not None
    assert why.startswith(reason)
    assert "\n" not in why
    assert len(why) < 260


@pytest.mark.parametrize(
    "items",
    ["null", {"type": "record", "name": "nothing", "fields": []}, {"type": "fixed", "name": "none", "size": 0}],
)
def test_an_array_of_nothing_is_refused_before_its_items_are_counted(items):
    schema = {"type": "record", "name": "other", "fields": [{"name": "id", "type": {"type": "array", "items": items}}]}
    body = avro.long(2**40) + avro.long(0)
    value = avro.header(schema) + b"s" * 16 + avro.long(1) + avro.long(len(body)) + body + b"s" * 16
    assert recode(value, TEXT) == [Record(reason="its schema does not go with the known ones: field alert.id is array of nothing")]


def test_a_container_of_several_records_gives_each_of_them_alone():
    value = container({"id": "int"}, {"id": 1}, {"id": 2}, codec="zstandard")
    records = recode(value, TEXT)
    for number, record in enumerate(records, 1):
        assert (record.reason, record.new) == (None, False)
        assert decoded(record.alone or b"") == {"id": number, "band": None, "flux": None}
    assert len(records) == 2


@pytest.mark.parametrize(("fields", "new"), [({"id": "int"}, False), ({"id": "int", "colour": "float"}, True)])
def test_it_tells_whether_a_schema_says_more(fields: dict[str, str], new: bool):
    [record] = recode(container(fields, {"id": 1, "colour": 0.5}), TEXT)
    assert (record.reason, record.new) == (None, new)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"id": "int", "Night": "int"}, "field Night has the name of a column that the broker adds"),
        ({"id": "int", "ID": "int"}, "field alert.ID differs from alert.id in case only"),
    ],
)
def test_names_that_cannot_be(fields: dict[str, str], reason: str):
    [record] = recode(container(fields, dict.fromkeys(fields, 1)), TEXT, reserved=["night"])
    assert record.reason == f"its schema does not go with the known ones: {reason}"


def test_a_schema_with_a_flipped_letter_is_not_taken_for_another():
    sound = container({"id": "int", "bond": "string"}, {"id": 1, "bond": "g"})
    text = avro.read_header(sound).schema
    [record] = recode(sound.replace(b"bond", b"bone"), TEXT, known=[text])
    assert record.reason == "its schema is a damaged copy of a known one"


def test_a_container_that_unfolds_to_gigabytes_is_refused():
    bomb = container({"id": "int", "further": "bytes"}, {"id": 1, "further": bytes(1_200_000_000)}, codec="zstandard")
    assert len(bomb) < 200_000
    [record] = recode(bomb, TEXT)
    assert (record.reason or "").startswith("does not decode: MemoryError")


def test_what_is_large_when_unpacked_is_refused():
    """Several messages of a few kilobytes, each of which becomes hundreds of megabytes, are more than Spark can carry."""
    value = container({"id": "int", "band": "string"}, *[{"id": 1, "band": "x" * 100_000}] * 20, codec="deflate")
    assert len(value) < 10_000
    assert len(recode(value, TEXT, max_bytes=2_001_000)) == 20
    assert recode(value, TEXT, max_bytes=2_000_000) == [Record(reason="larger than 2000000 bytes, unpacked")]
