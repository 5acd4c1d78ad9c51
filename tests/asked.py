"""Questions made up from the description of an API (OpenAPI 3.1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import strategies as st

Strategy = st.SearchStrategy[Any]
HOSTILE = ("", " ", "-1", "nan", "1e999", "%00", "a_b", "'; drop", "../..", "é", "*", "key:key", "12:61:61", "0", "9" * 30, ",", "TRCK_")


def questions(described: dict[str, Any], known: Sequence[str]) -> Iterator[tuple[tuple[str, str], Strategy]]:
    """For each path and method, questions: the address below the server, and what is posted.

    Parameters
    ----------
    described : dict
        The description.
    known : sequence of str
        Texts that mean something there.
    """
    texts = st.sampled_from([*known, *HOSTILE]) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)

    def of(schema: dict[str, Any]) -> Strategy:
        if "$ref" in schema:
            return of(described["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]])
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        if "anyOf" in schema:
            return st.one_of([of(one) for one in schema["anyOf"]])
        if schema.get("type") == "object":
            required = set(schema.get("required", ()))
            fields = {name: of(one) for name, one in schema.get("properties", {}).items()}
            must = {name: one for name, one in fields.items() if name in required}
            return st.fixed_dictionaries(must, optional={name: one for name, one in fields.items() if name not in must})
        low, high = (schema.get(name) for name in ("minimum", "maximum"))
        kinds: dict[str, Strategy] = {
            "integer": st.integers(low, min(high or 50, 50)) if low is not None else st.integers(),
            "number": st.floats(low, high, allow_nan=False, allow_infinity=False),
            "boolean": st.booleans(),
            "null": st.none(),
        }
        return kinds.get(schema.get("type", ""), texts)

    for path, methods in described["paths"].items():
        for method, about in methods.items():
            parts = about.get("parameters", [])
            asked = st.fixed_dictionaries(
                {one["name"]: of(one["schema"]) for one in parts if one.get("required")},
                optional={one["name"]: of(one["schema"]) for one in parts if not one.get("required")},
            )
            if method == "get":
                yield (path, method), _either(asked).map(lambda values, path=path, parts=parts: (_address(path, parts, values), None))
            else:
                body = _either(of(about["requestBody"]["content"]["application/json"]["schema"]))
                whole = st.tuples(asked, body)
                yield (path, method), whole.map(lambda pair, path=path, parts=parts: (_address(path, parts, pair[0]), pair[1]))


def _either(values: Strategy) -> Strategy:
    """Questions as they are described, and some with a value of another kind in them."""
    odd = st.sampled_from(HOSTILE) | st.none() | st.lists(st.integers(), max_size=2) | st.floats() | st.integers()
    damaged = st.tuples(values, st.randoms(), odd).map(lambda made: _damaged(*made))
    return values | damaged


def _damaged(values: dict[str, Any], chance: Any, odd: Any) -> dict[str, Any]:
    return values | ({chance.choice(sorted(values)): odd} if values else {})


def _address(path: str, parts: list[dict[str, Any]], values: dict[str, Any]) -> str:
    for one in parts:
        if one["in"] == "path":
            path = path.replace(f"{{{one['name']}}}", quote(str(values[one["name"]]), safe="") or "%20")
    asked = {name: value for name, value in values.items() if f"{{{name}}}" not in path and value is not None}
    return f"{path}?{urlencode(asked)}"
