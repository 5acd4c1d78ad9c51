"""The slow way: fastavro reads, the reader schema writes."""

from __future__ import annotations

import io
import json

import fastavro
import pytest

from datasim import garbage
from fink_broker.connectors import avro
from fink_broker.transforms.recode import recode

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
    body, reason = recode(value, TEXT)
    assert reason is None
    assert body is not None
    return fastavro.schemaless_reader(io.BytesIO(body), fastavro.parse_schema(READER))


def test_no_message_is_nothing():
    assert recode(None, TEXT) == (None, None)


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_other_order_narrower_types_missing_and_further_fields(codec: str):
    fields = {"further": "int", "flux": {"type": "array", "items": "float"}, "id": "int"}
    value = container(fields, {"further": 5, "flux": [0.5, 0.25], "id": 7}, codec=codec)
    assert decoded(value) == {"id": 7, "band": None, "flux": [0.5, 0.25]}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (container({"id": "long"}), "a container without a record"),
        (container({"id": "long"}, {"id": 1}, {"id": 2}), "a container of several records"),
        (container({"id": "long"}, {"id": 1})[:-3], "does not decode: "),
        (container({"id": "string"}, {"id": "seven"}), "does not decode: "),
        (garbage.wrong_schema(), "not an alert: it has none of the fields id, band, flux"),
        (garbage.NOT_AVRO, "does not decode: ValueError: "),
        (b"Obj\x01" + b"\xff" * 40, "does not decode: "),
    ],
)
def test_reasons(value: bytes, reason: str):
    body, why = recode(value, TEXT)
    assert body is None
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
    assert recode(value, TEXT) == (None, "an array whose items take no bytes")
