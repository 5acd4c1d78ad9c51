"""Schemas as a telescope might change them, alerts to go with them, and damaged messages: for the tests of properties.

Hypothesis draws the schemas, so that it can shrink them; values and damage come from a seed, so that thousands are quick to make.
"""

from __future__ import annotations

import copy
import io
import json
import os
import random
import uuid
from collections.abc import Callable
from typing import Any

import fastavro
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st

from datasim.packet import writer_schema

# How many times more examples than in the suite: FINK_PROPERTIES=50 searches for an hour.
DEEPER = int(os.environ.get("FINK_PROPERTIES", "1"))

Schema = Any

_PRIMITIVES = ("boolean", "int", "long", "float", "double", "bytes", "string")
_LOGICAL: tuple[Schema, ...] = (
    {"type": "int", "logicalType": "date"},
    {"type": "long", "logicalType": "timestamp-micros"},
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "long", "logicalType": "local-timestamp-micros"},
    {"type": "int", "logicalType": "time-millis"},
    {"type": "string", "logicalType": "uuid"},
    {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
    {"type": "bytes", "logicalType": "decimal", "precision": 60, "scale": 2},
    {"type": "string", "logicalType": "of-nobody"},
)
# Words of SQL, of Spark's internals and of the broker; other letters, other case.
_NAMES = (
    "x",
    "X",
    "_",
    "__",
    "a_b",
    "a",
    "b",
    "select",
    "order",
    "from",
    "value",
    "night",
    "alert",
    "Candidate",
    "jd",
    "magpsf",
    "col1",
    "élan",
)
# Small forms of ZTF's own records: what is not in them has been taken away, which a telescope may do too.
_KEPT = {
    "candidate": ("jd", "fid", "pid", "magpsf", "isdiffpos", "rb", "ssnamenr", "nbad"),
    "prv_candidates": ("jd", "fid", "magpsf", "candid"),
}


def profile(examples: int) -> settings:
    """So many examples in the suite, the same ones each time; more, and ever new ones, when searching deeper."""
    return settings(
        max_examples=examples * DEEPER,
        derandomize=DEEPER == 1,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def base() -> Schema:
    """ZTF's 4.02 with fewer fields."""
    schema = json.loads(writer_schema("4.02").text)
    for field in schema["fields"]:
        if field["name"] in _KEPT:
            record = _records(field["type"])[0]
            record["fields"] = [one for one in record["fields"] if one["name"] in _KEPT[field["name"]]]
    schema["fields"] = [field for field in schema["fields"] if field["name"] != "fp_hists"]
    return schema


def _records(schema: Schema) -> list[Schema]:
    """Every record that is defined in a schema, outermost first."""
    return [one for one in _definitions(schema) if one["type"] == "record"]


def kinds(depth: int = 2) -> st.SearchStrategy[Schema]:
    """Any type; named ones get numbers in their names later."""
    primitive = st.sampled_from(_PRIMITIVES)
    enum = st.lists(st.sampled_from("ABCDE"), min_size=1, unique=True).map(
        lambda symbols: {"type": "enum", "name": "E", "symbols": symbols}
    )
    fixed = st.integers(0, 5).map(lambda size: {"type": "fixed", "name": "F", "size": size})
    simple = primitive | st.sampled_from(_LOGICAL).map(copy.deepcopy) | enum | fixed
    nullable = simple.flatmap(lambda one: st.sampled_from([["null", one], [one, "null"]]))
    if not depth:
        return simple | nullable
    inner = kinds(depth - 1)
    record = st.dictionaries(st.sampled_from(_NAMES), inner, max_size=3).map(
        lambda fields: {"type": "record", "name": "R", "fields": [{"name": name, "type": kind} for name, kind in fields.items()]}
    )
    array = inner.map(lambda items: {"type": "array", "items": items})
    mapping = inner.map(lambda values: {"type": "map", "values": values})
    union = st.lists(st.sampled_from(["null", *_PRIMITIVES]), min_size=1, max_size=3, unique=True)
    return simple | nullable | record | array | mapping | union | st.just("null")


_OTHER = {"int": ["long", "double", "float", "string"], "float": ["double"], "double": ["float"], "long": ["int"], "string": ["bytes"]}


@st.composite
def changes(draw: st.DrawFn, schema: Schema) -> None:
    """One change of a schema, in place."""
    record = draw(st.sampled_from(_records(schema)))
    fields = record["fields"]
    kind = draw(st.sampled_from(["add", "add", "remove", "other", "nullable", "order", "flip", "default", "rename", "space", "again"]))
    if kind == "add":
        taken = {field["name"] for field in fields}
        field = {"name": draw(st.sampled_from([name for name in _NAMES if name not in taken])), "type": draw(kinds())}
        if draw(st.booleans()):
            field |= {"doc": 'of "quotes"', "aliases": ["candid"]}
        fields.insert(draw(st.integers(0, len(fields))), field)
    elif kind == "order":
        fields[:] = draw(st.permutations(fields))
    elif kind == "rename":
        record["name"] = draw(st.sampled_from(["other", "candidate", "a.b.alert", "topLevelRecord"]))
        record["aliases"] = ["alert"]
    elif kind == "space":
        record["namespace"] = draw(st.sampled_from(["", "x", "x.y", "ztf"]))
    elif kind == "again":
        # A type that is defined once and used again by its name.
        fields.append({"name": "first", "type": {"type": "record", "name": "Twice", "fields": [{"name": "n", "type": "int"}]}})
        fields.append({"name": "second", "type": ["null", "Twice"]})
    elif fields:
        field = draw(st.sampled_from(fields))
        union = isinstance(field["type"], list)
        if kind == "remove":
            fields.remove(field)
        elif kind == "flip" and union:
            field["type"] = field["type"][::-1]
        elif kind == "default" and union and "null" in field["type"]:
            field["default"] = None
        elif kind == "nullable":
            field["type"] = next((one for one in field["type"] if one != "null"), "null") if union else ["null", field["type"]]
        elif kind == "other":
            field["type"] = _widened(field["type"], draw(st.integers(0, 3)))


def _widened(kind: Schema, which: int) -> Schema:
    if isinstance(kind, list):
        return [_widened(branch, which) for branch in kind]
    others = _OTHER.get(kind, [kind]) if isinstance(kind, str) else [kind]
    return others[which % len(others)]


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    """A schema that comes of ZTF's by a few changes, and is one that fastavro accepts."""
    schema = base()
    for _ in range(draw(st.integers(0, 4))):
        draw(changes(schema))
    _number(schema, [0])
    return schema


def _number(schema: Schema, count: list[int]) -> None:
    """Give each enum, fixed and added record a name of its own."""
    if isinstance(schema, list):
        for branch in schema:
            _number(branch, count)
    elif isinstance(schema, dict):
        if schema.get("name") in ("E", "F", "R"):
            count[0] += 1
            schema["name"] = f"{schema['name']}{count[0]}"
        for inner in (schema.get("items"), schema.get("values"), *(field["type"] for field in schema.get("fields", ()))):
            _number(inner, count)


def value(parsed: Schema, rng: random.Random) -> Any:
    """A value of a schema that fastavro has parsed, as it lies in the bytes: a time is a number."""
    return _value(parsed, rng, {one["name"]: one for one in _definitions(parsed)})


def _definitions(schema: Schema) -> list[Schema]:
    if isinstance(schema, list):
        return [found for branch in schema for found in _definitions(branch)]
    if not isinstance(schema, dict):
        return []
    inner = [schema.get("items"), schema.get("values"), *(field["type"] for field in schema.get("fields", ()))]
    return [schema] * ("name" in schema) + [found for one in inner for found in _definitions(one)]


def _value(schema: Schema, rng: random.Random, named: dict[str, Schema]) -> Any:
    if isinstance(schema, list):
        return _value(rng.choice(schema), rng, named)
    if isinstance(schema, str):
        return _value(named[schema], rng, named) if schema in named else _PRIMITIVE[schema](rng)
    return _composed(schema, rng, named)


def _composed(schema: Schema, rng: random.Random, named: dict[str, Schema]) -> Any:
    match schema["type"]:
        case "record":
            return {field["name"]: _value(field["type"], rng, named) for field in schema["fields"]}
        case "array":
            return [_value(schema["items"], rng, named) for _ in range(rng.choice([0, 1, 2, 5]))]
        case "map":
            return {rng.choice(["a", "b", "", "é"]): _value(schema["values"], rng, named) for _ in range(rng.choice([0, 1, 3]))}
        case "enum":
            return rng.choice(schema["symbols"])
        case "fixed":
            return rng.randbytes(schema["size"])
        case kind:
            return _PRIMITIVE.get(schema.get("logicalType"), _PRIMITIVE[kind])(rng)


# Ordinary values, and those at the borders, of primitive and logical types.
_PRIMITIVE: dict[str | None, Callable[[random.Random], Any]] = {
    "null": lambda rng: None,
    "boolean": lambda rng: rng.random() < 0.5,
    "int": lambda rng: rng.choice([0, -1, 2**31 - 1, -(2**31), rng.randrange(-1000, 1000)]),
    "long": lambda rng: rng.choice([0, -1, 2**63 - 1, -(2**63), 2**53 + 1, rng.randrange(10**12)]),
    "float": lambda rng: rng.choice([0.0, -0.0, 1.5, float("inf"), float("nan"), rng.randrange(1000) / 8]),
    "double": lambda rng: rng.choice([0.0, -0.0, 1e300, float("-inf"), float("nan"), 5e-324, rng.random()]),
    "bytes": lambda rng: rng.choice([b"", b"\x00", b"\xff\xfe", rng.randbytes(20)]),
    "string": lambda rng: rng.choice(["", " ", "ZTF18abcdefg", "é", "\x00", "𝒳", "line\nfeed", "x" * 100]),
    "uuid": lambda rng: str(uuid.UUID(int=rng.getrandbits(128))),
    "date": lambda rng: rng.randrange(-100_000, 100_000),
    "time-millis": lambda rng: rng.randrange(86_400_000),
    "timestamp-millis": lambda rng: rng.randrange(-(2**42), 2**42),
    "timestamp-micros": lambda rng: rng.randrange(-(2**52), 2**52),
    "local-timestamp-micros": lambda rng: rng.randrange(-(2**52), 2**52),
    "decimal": lambda rng: rng.randrange(-(10**9) + 1, 10**9).to_bytes(5, signed=True),
}


def physical(text: str) -> Schema:
    """A schema without its logical types, parsed: integers and bytes as they lie there."""
    bare = json.loads(text, object_hook=lambda item: {name: one for name, one in item.items() if name != "logicalType"})
    return fastavro.parse_schema(bare)


def body(record: Any, parsed: Schema) -> bytes:
    """A record in plain Avro."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, parsed, record)
    return out.getvalue()


@st.composite
def sound_schemas(draw: st.DrawFn) -> Schema:
    """Those of the schemas that fastavro takes too."""
    schema = draw(schemas())
    try:
        fastavro.parse_schema(copy.deepcopy(schema))
    except (fastavro.schema.SchemaParseException, fastavro.schema.UnknownType):
        assume(False)
    return schema
