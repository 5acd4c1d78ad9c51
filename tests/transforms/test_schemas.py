"""The reader schema reads what any of the writers wrote."""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro
import pytest

from fink_broker.surveys import get
from fink_broker.transforms.schemas import reader_schema

VERSIONS = sorted(get("ztf").schemas.glob("*.avsc"))


def record(*fields: tuple[str, Any], name: str = "alert") -> dict[str, Any]:
    return {"type": "record", "name": name, "namespace": "ztf", "fields": [{"name": n, "type": t} for n, t in fields]}


def types(schema: dict[str, Any]) -> dict[str, Any]:
    """Name and type of each field, which must be nullable with default null."""
    for field in schema["fields"]:
        assert field["type"][0] == "null"
        assert field["default"] is None
        assert len(field["type"]) == 2
    return {field["name"]: field["type"][1] for field in schema["fields"]}


def read(writer: dict[str, Any], value: dict[str, Any], reader: dict[str, Any]) -> Any:
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(writer), value)
    body.seek(0)
    return fastavro.schemaless_reader(body, fastavro.parse_schema(writer), fastavro.parse_schema(reader))


def test_fields_that_come_and_go_are_all_there():
    old, new = record(("id", "long"), ("gone", "string")), record(("id", "long"), ("new", "float"))
    reader = reader_schema([old, new])
    assert types(reader) == {"id": "long", "gone": "string", "new": "float"}
    assert read(old, {"id": 1, "gone": "x"}, reader) == {"id": 1, "gone": "x", "new": None}
    assert read(new, {"id": 2, "new": 0.5}, reader) == {"id": 2, "gone": None, "new": 0.5}


@pytest.mark.parametrize(
    ("kinds", "widest"),
    [
        (["int", "long"], "long"),
        (["long", "int"], "long"),
        (["float", "double"], "double"),
        (["int", "double"], "double"),
        # A float holds no 19 digits, nor every int.
        (["int", "float"], "double"),
        (["long", "float"], "double"),
        (["float"], "float"),
    ],
)
def test_the_widest_type_wins(kinds: list[str], widest: str):
    assert types(reader_schema([record(("x", kind)) for kind in kinds])) == {"x": widest}


def test_flipped_unions_are_one_type():
    first, second = record(("x", ["string", "null"])), record(("x", ["null", "string"]))
    reader = reader_schema([first, second])
    assert types(reader) == {"x": "string"}
    assert [read(writer, {"x": value}, reader) for writer in (first, second) for value in ("a", None)] == [
        {"x": "a"},
        {"x": None},
        {"x": "a"},
        {"x": None},
    ]


@pytest.mark.parametrize(
    ("one", "other", "named"),
    [
        ("string", "long", "alert.x is string and long"),
        ({"type": "array", "items": "int"}, "int", "alert.x is array and int"),
        (
            {"type": "array", "items": record(("y", "bytes"), name="item")},
            {"type": "array", "items": record(("y", "int"), name="item")},
            "alert.x.y",
        ),
    ],
)
def test_types_that_do_not_go_together_are_named(one: Any, other: Any, named: str):
    with pytest.raises(TypeError, match=named):
        reader_schema([record(("x", one)), record(("x", other))])


def test_an_alert_is_a_record():
    with pytest.raises(TypeError, match="record"):
        reader_schema(["string"])


def test_named_types_that_are_used_again():
    """ZTF defines the cutout in its first use; each use becomes a record of its own, with a name of its own."""
    cutout = record(("stampData", "bytes"), name="cutout")
    writer = record(("a", cutout), ("b", ["null", "ztf.cutout"]), ("c", {"type": "array", "items": "cutout"}))
    reader = reader_schema([writer])
    kinds = types(reader)
    uses = [kinds["a"], kinds["b"], kinds["c"]["items"]]
    assert len({use["name"] for use in uses}) == 3
    assert [types(use) for use in uses] == [{"stampData": "bytes"}] * 3
    # What the names are worth shows when real alerts are decoded, see test_decode.
    assert fastavro.parse_schema(reader)


def test_items_of_arrays_are_nullable_where_any_writer_has_them_so():
    one, other = record(("x", {"type": "array", "items": "int"})), record(("x", {"type": "array", "items": ["null", "long"]}))
    assert types(reader_schema([one, other])) == {"x": {"type": "array", "items": ["null", "long"]}}
    assert types(reader_schema([record(("m", {"type": "map", "values": "int"}))])) == {"m": {"type": "map", "values": "int"}}


def test_a_field_that_is_always_null_has_no_type_and_is_left_out():
    assert types(reader_schema([record(("x", "int"), ("nothing", "null"))])) == {"x": "int"}


def paths(schema: Any, path: str = "") -> set[str]:
    if isinstance(schema, list):
        return {found for branch in schema for found in paths(branch, path)}
    if not isinstance(schema, dict):
        return {path}
    if schema["type"] == "record":
        return {found for field in schema["fields"] for found in paths(field["type"], f"{path}.{field['name']}")}
    return paths(schema.get("items", schema["type"]), path)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda path: path.stem)
def test_no_field_of_any_version_of_ztf_is_lost(version):
    writers = [json.loads(path.read_text(encoding="utf-8")) for path in VERSIONS]
    reader = reader_schema(writers)
    own = {path for path in paths(fastavro.parse_schema(json.loads(version.read_text(encoding="utf-8")))) if "cutout" not in path}
    assert len(own) > 100
    assert own <= paths(reader)
    assert fastavro.parse_schema(reader)
