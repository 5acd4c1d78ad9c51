"""Schemas and containers drawn at random, without Spark: what is read is what fastavro reads, and nothing raises what is not expected."""

from __future__ import annotations

import copy
import io
import json
import random
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasim import garbage
from datasim.packet import container, writer_schema
from fink_broker.connectors import avro
from fink_broker.transforms.decode import RESERVED
from fink_broker.transforms.recode import recode
from fink_broker.transforms.resolved import resolved
from fink_broker.transforms.schemas import absorb, damaged, reader_schema
from tests import known
from tests.compare import differences
from tests.transforms import _generated as generated

BASE = reader_schema([generated.base()])
KEYS = st.sampled_from(["type", "name", "namespace", "fields", "items", "values", "symbols", "size", "logicalType", "precision", "x"])
WORDS = st.sampled_from(["record", "array", "map", "enum", "fixed", "null", "int", "string", "decimal", "a.b", "", "\ud800", "é", "alert"])
LEAVES = st.none() | st.booleans() | st.integers(-2, 2**70) | st.floats() | WORDS
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=25)


def only(value: bytes) -> Any:
    [record] = fastavro.reader(io.BytesIO(value))
    return record


def said(expected: Any, found: Any) -> Any:
    """What fastavro reads, of the fields that the reader schema has, in its types."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return {name: said(expected.get(name, item), item) for name, item in found.items()}
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [said(*pair) for pair in zip(expected, found, strict=True)]
    return float(expected) if isinstance(expected, int) and isinstance(found, float) else expected


@generated.profile(60)
@given(generated.sound_schemas(), st.integers(0, 10**6))
def test_the_reader_schema_reads_what_the_writer_wrote(schema: Any, seed: int) -> None:
    try:
        reader = absorb(BASE, schema, RESERVED)
    except TypeError as error:
        str(error).encode()  # goes to Kafka, Parquet and the log
        return
    assert absorb(reader, schema, RESERVED) == absorb(reader, generated.base(), RESERVED) == reader
    physical = generated.physical(json.dumps(schema))
    body = generated.body(generated.value(fastavro.parse_schema(copy.deepcopy(schema)), random.Random(seed)), physical)
    writer = generated.physical(json.dumps(resolved(schema)))
    found: Any = fastavro.schemaless_reader(io.BytesIO(body), writer, generated.physical(json.dumps(reader)))
    expected: Any = fastavro.schemaless_reader(io.BytesIO(body), physical, None)
    assert differences(said(expected, found), found) == []


@generated.profile(300)
@given(JSON)
def test_what_is_no_schema_is_refused(schema: Any) -> None:
    for whole in (schema, {"type": "record", "name": "alert", "fields": [{"name": "x", "type": schema}]}):
        try:
            reader = absorb(BASE, whole, RESERVED)
        except TypeError as error:
            str(error).encode()
        else:
            assert fastavro.parse_schema(copy.deepcopy(reader))


@generated.profile(100)
@given(st.integers(0, 10**9))
def test_a_damaged_schema_is_never_taken_for_a_new_one(seed: int) -> None:
    rng = random.Random(seed)
    text = bytearray(writer_schema("4.02").text.encode())
    for _ in range(rng.choice([1, 1, 2])):
        text[rng.randrange(len(text))] ^= 1 << rng.randrange(8)
    ours = known.ztf().reader
    try:
        schema = text.decode()
        says_more = absorb(ours, json.loads(schema), RESERVED) != absorb(ours, ours)
    except (TypeError, ValueError):
        return
    assert not says_more or damaged(schema, [writer.schema for writer in known.ztf().writers])


@generated.profile(200)
@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda end: avro.MAGIC + end))
def test_what_has_no_header_is_told_by_a_value_error(value: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        avro.read_header(value)


@generated.profile(150)
@given(st.integers(0, 10**9))
def test_a_damaged_container_is_read_as_fastavro_does_or_has_a_reason(templates: list[dict[str, Any]], seed: int) -> None:
    rng = random.Random(seed)
    schema = writer_schema(rng.choice(known.VERSIONS))
    stamps = dict.fromkeys(("cutoutScience", "cutoutTemplate", "cutoutDifference", "fp_hists"))
    sound = [container(record | stamps | {"prv_candidates": None}, schema) for record in templates[:3]]
    value = garbage.damaged(rng.choice(sound), sound, rng, len(schema.header))
    reader = known.ztf().reader
    records = recode(value, json.dumps(reader), [schema.text], RESERVED)
    assert records
    for record in records:
        if record.reason is None:
            assert record.body is not None
            found: Any = fastavro.schemaless_reader(io.BytesIO(record.body), fastavro.parse_schema(copy.deepcopy(reader)), None)
            assert differences(said(only(value), found), found) == []
        else:
            record.reason.encode()
            assert record.body is None
