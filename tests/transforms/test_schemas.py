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


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"type": "long", "logicalType": "timestamp-millis"}, {"type": "long", "logicalType": "timestamp-micros"}),
        ({"type": "long", "logicalType": "timestamp-millis"}, "long"),
        ({"type": "int", "logicalType": "date"}, "long"),
        ({"type": "fixed", "name": "f", "size": 4}, {"type": "fixed", "name": "f", "size": 5}),
    ],
)
def test_numbers_that_mean_something_else_do_not_go_together(one: Any, other: Any):
    """Avro would read one as the other, and a time in milliseconds as one in microseconds."""
    with pytest.raises(TypeError, match=r"alert\.x"):
        reader_schema([record(("x", one)), record(("x", other))])


def test_an_enum_takes_in_further_symbols():
    def enum(*symbols: str, name: str) -> Any:
        return {"type": "enum", "name": name, "symbols": list(symbols)}

    reader = reader_schema(
        [record(("x", enum("g", "r", name="band")), ("y", enum("a", name="z"))), record(("x", enum("r", "i", name="filter")))]
    )
    assert types(reader)["x"] == {"type": "enum", "name": "alert.x", "symbols": ["g", "r", "i"]}


def test_a_name_is_looked_for_in_the_namespace_around_it():
    """Two types of one name in two namespaces: the second use of the name means the nearer one."""
    far = record(("a", "int"), name="T") | {"namespace": "far"}
    near = {
        "type": "record",
        "name": "near.Outer",
        "fields": [
            {"name": "first", "type": record(("b", "string"), name="T") | {"namespace": "near"}},
            {"name": "second", "type": "T"},
        ],
    }
    kinds = types(reader_schema([record(("x", far), ("y", near))]))
    assert types(types(kinds["y"])["second"]) == {"b": "string"}


@pytest.mark.parametrize(
    "kind", [{"type": "array", "items": "null"}, {"type": "map", "values": {"type": "record", "name": "r", "fields": []}}]
)
def test_arrays_and_maps_of_nothing_are_refused(kind: Any):
    with pytest.raises(TypeError, match=r"alert\.x is (array|map) of nothing"):
        reader_schema([record(("x", kind))])


def test_a_record_without_fields_is_left_out():
    """Parquet cannot write it."""
    assert types(reader_schema([record(("x", "int"), ("r", record(name="empty")))])) == {"x": "int"}


def test_a_schema_that_unfolds_without_an_end_is_refused():
    doubled: list[tuple[str, Any]] = [("t0", record(("x", "int"), name="T0"))]
    doubled += [(f"t{n}", record(("a", f"T{n - 1}"), ("b", f"T{n - 1}"), name=f"T{n}")) for n in range(1, 30)]
    for schema in (record(*doubled), record(("x", ["null", "ztf.alert"]))):
        with pytest.raises(TypeError, match="nested too deeply"):
            reader_schema([schema])


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
