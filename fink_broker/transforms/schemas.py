"""Avro schemas: the reader schema that fits every known writer schema of a survey, and how it takes in another."""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterable, Sequence
from typing import Any

Avro = Any  # a parsed Avro schema: str, dict or list (union)

# Widest last, see the promotions of the Avro specification 1.12, "Schema Resolution".
_NUMBERS = ("int", "long", "float", "double")
_INNER = {"array": "items", "map": "values"}
_WIDENED = {("int", "long"), ("int", "double"), ("float", "double")}
_FLIPS = 8  # as many bytes of a schema may be damaged for it to be recognised


def reader_schema(writers: Iterable[Avro]) -> dict[str, Any]:
    """The schema that reads what any of the writers wrote.

    Parameters
    ----------
    writers : iterable of dict
        Writer schemas (records), oldest first: the order of the fields is that of their first appearance.

    Returns
    -------
    dict
        A record with every field of every writer, of the widest type, nullable with default null: a field that
        a writer does not have is null, and no field is lost.

    Raises
    ------
    TypeError
        A field has types that no reader can bring together; the message names the field.
    """
    nothing = {"type": "record", "fields": []}
    merged = _merge([nothing, *map(resolved, writers)], "alert")
    if not isinstance(merged, dict) or merged["type"] != "record":
        raise TypeError("an alert's schema is a record")
    return merged


def absorb(reader: Avro, writer: Avro, reserved: Collection[str] = ()) -> dict[str, Any]:
    """The reader schema that also reads what one more writer wrote; the same if it does so already.

    Parameters
    ----------
    reader, writer : dict
        Schemas (records).
    reserved : collection of str
        Names of columns that the broker adds.

    Raises
    ------
    TypeError
        There is none: types that do not go together, or a name that is taken; the message names the field.
    """
    merged = reader_schema([reader, writer])
    names = [field["name"] for field in merged["fields"]]
    if taken := [name for name in names if name.lower() in reserved]:
        raise TypeError(f"field {taken[0]} has the name of a column that the broker adds")
    _check_case(merged, "alert")
    _check_types(reader, merged, "alert")
    return merged


def _check_types(old: Avro, new: Avro, path: str) -> None:
    """Files that hold the old type must be readable as the new one: what Parquet's reader widens is less than what Avro's does."""
    [before], [after] = _branches(old), _branches(new)
    if not isinstance(before, dict) or not isinstance(after, dict):
        if before != after and (before, after) not in _WIDENED:
            raise TypeError(f"field {path} was {before}, and {after} would be needed to read both")
        return
    if before["type"] in _INNER:
        inner = _INNER[before["type"]]
        _check_types(before[inner], after[inner], path)
    types = {field["name"]: field["type"] for field in after.get("fields", ())}
    for field in before.get("fields", ()):
        _check_types(field["type"], types[field["name"]], f"{path}.{field['name']}")


def _check_case(schema: Avro, path: str) -> None:
    """Spark does not tell names apart that differ in case only."""
    for branch in _branches(schema):
        if not isinstance(branch, dict):
            continue
        if branch["type"] in _INNER:
            _check_case(branch[_INNER[branch["type"]]], path)
        seen: dict[str, str] = {}
        for field in branch.get("fields", ()):
            name = field["name"]
            if seen.setdefault(name.lower(), name) != name:
                raise TypeError(f"field {path}.{name} differs from {path}.{seen[name.lower()]} in case only")
            _check_case(field["type"], f"{path}.{name}")


def damaged(schema: str, known: Iterable[str]) -> str | None:
    """The known schema that this text is a damaged copy of, if any: as long, and all but the same.

    A byte that flips in the name of a field leaves a schema that is sound, and says that the field is another.
    """
    for text in known:
        if len(text) == len(schema) and 0 < sum(map(operator.ne, text, schema)) <= _FLIPS:
            return text
    return None


def resolved(schema: Avro) -> Avro:
    """The schema with every named type written out where it is used, without names of types, defaults and comments."""
    return _resolve(schema, {})


def _resolve(schema: Avro, named: dict[str, Avro], space: str = "") -> Avro:
    """The schema with every named type written out, so that each use can be merged on its own."""
    if isinstance(schema, str):
        return named.get(schema) or named.get(f"{space}.{schema}") or schema
    if isinstance(schema, list):
        return [_resolve(branch, named, space) for branch in schema]
    kind = schema["type"]
    if isinstance(kind, dict | list):
        return _resolve(kind, named, space)
    if kind in _INNER:
        return {"type": kind, _INNER[kind]: _resolve(schema[_INNER[kind]], named, space)}
    if kind not in ("record", "enum", "fixed"):
        return _resolve(kind, named, space) if kind in named else schema if "logicalType" in schema else kind
    name = schema["name"]
    space = schema.get("namespace") or (name.rpartition(".")[0] if "." in name else space)
    full = name if "." in name or not space else f"{space}.{name}"
    if kind == "record":
        fields = [{"name": f["name"], "type": _resolve(f["type"], named, space)} for f in schema["fields"]]
        resolved: Avro = {"type": "record", "fields": fields}
    else:
        resolved = schema
    named[full] = resolved
    named.setdefault(name.rpartition(".")[2], resolved)
    return resolved


def _branches(schema: Avro) -> list[Avro]:
    return [branch for branch in (schema if isinstance(schema, list) else [schema]) if branch != "null"]


def _merge(schemas: Sequence[Avro], path: str) -> Avro:
    """One non-null type that reads all of them; records are named after their path, which is unique."""
    branches = [branch for schema in schemas for branch in _branches(schema)]
    kinds = list(dict.fromkeys(branch["type"] if isinstance(branch, dict) else branch for branch in branches))
    if len(kinds) == 1:
        kind = kinds[0]
        if kind == "record":
            return _merge_records(branches, path)
        if kind in _INNER:
            inner = _INNER[kind]
            nullable = any(isinstance(branch[inner], list) and "null" in branch[inner] for branch in branches)
            merged = _merge([branch[inner] for branch in branches], path)
            return {"type": kind, inner: ["null", merged] if nullable else merged}
        return branches[0]
    if all(kind in _NUMBERS for kind in kinds):
        # Avro would read an integer as a float, but a float does not hold every int.
        return "double" if "float" in kinds and len(kinds) > 1 else max(kinds, key=_NUMBERS.index)
    raise TypeError(f"field {path} is {' and '.join(map(str, kinds))} in different schemas: no type reads both")


def _merge_records(records: Sequence[dict[str, Any]], path: str) -> dict[str, Any]:
    fields: dict[str, list[Avro]] = {}
    for record in records:
        for field in record["fields"]:
            fields.setdefault(field["name"], []).append(field["type"])
    merged = [
        {"name": name, "type": ["null", _merge(types, f"{path}.{name}")], "default": None}
        for name, types in fields.items()
        if any(_branches(kind) for kind in types)
    ]
    return {"type": "record", "name": path.replace(".", "_"), "fields": merged}
