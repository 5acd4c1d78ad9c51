"""An Avro schema with every type written out where it is used, and nothing else: as it is compared, merged and given to the JVM."""

from __future__ import annotations

import json
import re
from typing import Any

Avro = Any  # a parsed Avro schema: str, dict or list (union)

ROOT = "alert"
NUMBERS = ("int", "long", "float", "double")  # widest last, see the Avro specification 1.12, "Schema Resolution"
INNER = {"array": "items", "map": "values"}

_PRIMITIVES = ("null", "boolean", *NUMBERS, "bytes", "string")
_NAMED = ("record", "enum", "fixed")
# The logical types that are a type of their own in Spark. Any other says nothing about the column.
_LOGICAL = {
    "int": ("date",),
    "long": ("timestamp-millis", "timestamp-micros", "local-timestamp-millis", "local-timestamp-micros"),
    "bytes": ("decimal",),
    "fixed": ("decimal",),
}
_DIGITS = 38  # of Spark's decimals
_NAME = re.compile(r"[^\W\d]\w*")
# Far more than any telescope's: a few definitions, each used twice in the next, would unfold without an end.
_DEPTH, _TYPES = 64, 20_000


def resolved(schema: Avro) -> Avro:
    """The schema with every named type written out where it is used, without defaults and comments.

    Records, enums and fixed types are named after their path, as in the reader schema: Avro reads an enum or a fixed type only as one of
    the same name. The bytes of a value do not depend on names.

    Raises
    ------
    TypeError
        It is not a schema, or one that unfolds without an end; the message names the field.
    """
    return _Resolution().type(schema, ROOT, "")


def essence(schema: str) -> str:
    """What counts of a schema in JSON, as JSON: the same for two that differ in comments, defaults or the way they are written."""
    return json.dumps(resolved(json.loads(schema)))


class _Resolution:
    """What has been defined so far, by full name, with the namespace that holds inside."""

    def __init__(self) -> None:
        self._named: dict[str, tuple[dict[str, Any], str]] = {}
        self._depth = self._types = 0

    def type(self, schema: Avro, path: str, space: str) -> Avro:
        self._types += 1
        self._depth += 1
        if self._depth > _DEPTH or self._types > _TYPES:
            raise TypeError(f"field {path[:100]} is nested too deeply, or there are too many of them")
        kind = self._union(schema, path, space) if isinstance(schema, list) else self._one(schema, path, space)
        self._depth -= 1
        return kind

    def _union(self, branches: list[Avro], path: str, space: str) -> Avro:
        found = [self.type(branch, path, space) for branch in branches]
        if sum(isinstance(branch, dict) and branch["type"] in _NAMED for branch in found) > 1:
            raise TypeError(f"field {path} is a union of several records, enums or fixed types")
        return found

    def _one(self, schema: Avro, path: str, space: str) -> Avro:
        if isinstance(schema, str):
            return schema if schema in _PRIMITIVES else self._use(schema, path, space)
        kind = schema.get("type") if isinstance(schema, dict) else None
        if isinstance(kind, dict | list):
            return self.type(kind, path, space)
        if kind in INNER:
            return {"type": kind, INNER[kind]: self.type(schema.get(INNER[kind]), path, space)}
        if kind in _NAMED:
            full, inside = _full_name(schema, path, space)
            self._named[full] = schema, inside
            return self._definition(schema, path, inside)
        if kind in _PRIMITIVES:
            return _logical(schema, kind) or kind
        if isinstance(kind, str):
            return self._use(kind, path, space)
        raise TypeError(f"field {path} has no type")

    def _use(self, name: str, path: str, space: str) -> Avro:
        full = f"{space}.{name}" if space and "." not in name and f"{space}.{name}" in self._named else name
        if full not in self._named:
            raise TypeError(f"field {path} is of a type that is not defined, {name[:100]!r}")
        definition, inside = self._named[full]
        return self._definition(definition, path, inside)

    def _definition(self, schema: dict[str, Any], path: str, space: str) -> Avro:
        match schema:
            case {"type": "record", "fields": [*fields]}:
                found = [self._field(field, path, space) for field in fields]
                if len({field["name"] for field in found}) < len(found):
                    raise TypeError(f"field {path} has two fields of one name")
                return {"type": "record", "name": path, "fields": found}
            case {"type": "enum", "symbols": [_, *_] as symbols}:
                return {"type": "enum", "name": path, "symbols": [_name(symbol, path) for symbol in symbols]}
            case {"type": "fixed", "size": int(size)} if size >= 0:
                return (_logical(schema, "fixed") or {"type": "fixed"}) | {"name": path, "size": size}
        raise TypeError(f"field {path} is not a sound {schema['type']}")

    def _field(self, field: Any, path: str, space: str) -> Avro:
        if not isinstance(field, dict):
            raise TypeError(f"field {path} has a field that is none")
        name = _name(field.get("name"), path)
        return {"name": name, "type": self.type(field.get("type"), f"{path}.{name}", space)}


def _full_name(schema: dict[str, Any], path: str, space: str) -> tuple[str, str]:
    """Full name of a definition, and the namespace inside of it (Avro specification 1.12, "Names")."""
    name, own = schema.get("name"), schema.get("namespace", space)
    if not isinstance(name, str):
        raise TypeError(f"field {path} is of a type without a name")
    if "." in name or not isinstance(own, str) or not own:
        return name, name.rpartition(".")[0]
    return f"{own}.{name}", own


def _name(name: Any, path: str) -> str:
    if isinstance(name, str) and _NAME.fullmatch(name):
        return name
    raise TypeError(f"field {path} has a name in it that is none, {name!r:.100}")


def _logical(schema: dict[str, Any], kind: str) -> dict[str, Any] | None:
    """The type with its logical type, if that is one that counts; an unsound one does not (Avro specification 1.12, "Logical Types")."""
    name = schema.get("logicalType")
    if name not in _LOGICAL.get(kind, ()):
        return None
    if name != "decimal":
        return {"type": kind, "logicalType": name}
    match schema.get("precision"), schema.get("scale", 0):
        case int(precision), int(scale) if 0 <= scale <= precision and 1 <= precision <= _most_digits(schema, kind):
            return {"type": kind, "logicalType": name, "precision": precision, "scale": scale}
    return None


def _most_digits(schema: dict[str, Any], kind: str) -> int:
    """Digits of the longest number, all nines, that a decimal can hold."""
    return _DIGITS if kind == "bytes" else min(_DIGITS, len(str(2 ** (8 * schema["size"] - 1) - 1)) - 1) if schema["size"] else 0
