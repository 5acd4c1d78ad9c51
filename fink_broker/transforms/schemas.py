"""Avro schemas: the reader schema that fits every known writer schema of a survey, and how it takes in another."""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from fink_broker.transforms.resolved import INNER, NUMBERS, ROOT, Avro, essence, resolved

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
    every = [resolved(writer) for writer in writers]
    if not all(isinstance(one, dict) and one["type"] == "record" for one in every):
        raise TypeError("an alert's schema is a record")
    return _merge_records(every, ROOT)


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
    if not reader_schema([writer])["fields"]:
        raise TypeError("an alert of it takes no bytes")
    merged = reader_schema([reader, writer])
    names = [field["name"] for field in merged["fields"]]
    if taken := [name for name in names if name.lower() in reserved]:
        raise TypeError(f"field {taken[0]} has the name of a column that the broker adds")
    _check_case(merged, ROOT)
    _check_types(reader, merged, ROOT)
    return merged


def _check_types(old: Avro, new: Avro, path: str) -> None:
    """Files that hold the old type must be readable as the new one: what Parquet's reader widens is less than what Avro's does."""
    [before], [after] = _branches(old), _branches(new)
    if not isinstance(before, dict) or not isinstance(after, dict):
        if before != after and (before, after) not in _WIDENED:
            raise TypeError(f"field {path} was {before}, and {after} would be needed to read both")
        return
    if before["type"] in INNER:
        inner = INNER[before["type"]]
        _check_types(before[inner], after[inner], path)
    types = {field["name"]: field["type"] for field in after.get("fields", ())}
    for field in before.get("fields", ()):
        _check_types(field["type"], types[field["name"]], f"{path}.{field['name']}")


def _check_case(schema: Avro, path: str) -> None:
    """Spark does not tell names apart that differ in case only."""
    for branch in _branches(schema):
        if not isinstance(branch, dict):
            continue
        if branch["type"] in INNER:
            _check_case(branch[INNER[branch["type"]]], path)
        seen: dict[str, str] = {}
        for field in branch.get("fields", ()):
            name = field["name"]
            if seen.setdefault(name.lower(), name) != name:
                raise TypeError(f"field {path}.{name} differs from {path}.{seen[name.lower()]} in case only")
            _check_case(field["type"], f"{path}.{name}")


def damaged(schema: str, known: Iterable[str]) -> bool:
    """Whether a schema (JSON) is a damaged copy of a known one: written out, as long and all but the same.

    A byte that flips in the name of a field leaves a schema that is sound, and says that the field is another.
    """
    found = essence(schema)
    return any(len(one) == len(found) and 0 < sum(map(operator.ne, one, found)) <= _FLIPS for one in map(essence, known))


def _branches(schema: Avro) -> list[Avro]:
    return [branch for branch in (schema if isinstance(schema, list) else [schema]) if branch != "null"]


def _merge(schemas: Sequence[Avro], path: str) -> Avro:
    """One non-null type that reads all of them; None where there is nothing to read. Named types are named after their path."""
    branches = [branch for schema in schemas for branch in _branches(schema)]
    kinds = list(dict.fromkeys(branch["type"] if isinstance(branch, dict) else branch for branch in branches))
    if kinds == ["record"]:
        merged = _merge_records(branches, path)
        return merged if merged["fields"] else None
    if kinds == ["enum"]:
        return branches[0] | {"symbols": list(dict.fromkeys(symbol for branch in branches for symbol in branch["symbols"]))}
    if len(kinds) == 1 and kinds[0] in INNER:
        return _merge_inner(branches, kinds[0], path)
    if all(branch == branches[0] for branch in branches):
        return branches[0] if branches and not _is_empty(branches[0]) else None
    if all(isinstance(branch, str) and branch in NUMBERS for branch in branches):
        # Avro would read an integer as a float, but a float does not hold every int.
        return "double" if "float" in kinds else max(kinds, key=NUMBERS.index)
    texts = dict.fromkeys(map(_text, branches))
    raise TypeError(f"field {path} is {' and '.join(texts)} in different schemas: no type reads both")


def _is_empty(branch: Avro) -> bool:
    return isinstance(branch, dict) and branch.get("size") == 0


def _text(branch: Avro) -> str:
    if not isinstance(branch, dict):
        return str(branch)
    more = [f"{branch[name]}" for name in ("logicalType", "precision", "scale", "size") if name in branch]
    return " ".join([branch["type"], *more])


def _merge_inner(branches: Sequence[dict[str, Any]], kind: str, path: str) -> Avro:
    inner = [branch[INNER[kind]] for branch in branches]
    merged = _merge(inner, path)
    if merged is None:
        # Its items take no bytes: a few bytes can claim any number of them.
        raise TypeError(f"field {path} is {kind} of nothing")
    nullable = any(one == "null" or (isinstance(one, list) and "null" in one) for one in inner)
    return {"type": kind, INNER[kind]: ["null", merged] if nullable else merged}


def _merge_records(records: Sequence[dict[str, Any]], path: str) -> dict[str, Any]:
    fields: dict[str, list[Avro]] = {}
    for record in records:
        for field in record["fields"]:
            fields.setdefault(field["name"], []).append(field["type"])
    merged = {name: _merge(types, f"{path}.{name}") for name, types in fields.items()}
    kept = [{"name": name, "type": ["null", kind], "default": None} for name, kind in merged.items() if kind is not None]
    return {"type": "record", "name": path, "fields": kept}
