"""The slow way into the broker: any Avro container, read by fastavro and written again in the reader schema."""

from __future__ import annotations

import functools
import io
import itertools
import json
from typing import Any

import fastavro


@functools.lru_cache(maxsize=4)
def _parsed(schema: str) -> Any:
    return fastavro.parse_schema(json.loads(schema))


def recode(value: bytes | None, reader: str) -> tuple[bytes | None, str | None]:
    """Body of the one record of a container in the reader schema, or the reason why there is none.

    Parameters
    ----------
    value : bytes or None
        A message.
    reader : str
        Reader schema, JSON.

    Returns
    -------
    tuple of (bytes or None, str or None)
        Body and reason: one of them is None; both for no message.
    """
    if value is None:
        return None, None
    try:
        container = fastavro.reader(io.BytesIO(value))
        if _has_endless_array(container.writer_schema, {}):
            return None, "an array whose items take no bytes"
        records = list(itertools.islice(container, 2))
        if len(records) != 1:
            return None, "a container of several records" if records else "a container without a record"
        record: Any = records[0]
        fields = [field["name"] for field in _parsed(reader)["fields"]]
        if not any(name in record for name in fields):
            return None, f"not an alert: it has none of the fields {', '.join(fields)}"[:200]
        body = io.BytesIO()
        fastavro.schemaless_writer(body, _parsed(reader), record)
    # Hostile bytes make fastavro raise nearly anything; whatever it is, it is the reason that is kept with the message.
    except Exception as error:  # noqa: BLE001
        detail = " ".join(str(error).split())[:200]
        return None, f"does not decode: {type(error).__name__}: {detail}" if detail else f"does not decode: {type(error).__name__}"
    return body.getvalue(), None


def _has_endless_array(schema: Any, named: dict[str, Any]) -> bool:
    """Whether a few bytes can claim an array of any length: its items take none, and fastavro would count them for years."""
    if isinstance(schema, list):
        return any(_has_endless_array(branch, named) for branch in schema)
    if not isinstance(schema, dict):
        return False
    if "name" in schema:
        named[schema["name"]] = schema
    if schema["type"] == "array" and _is_empty(schema["items"], named):
        return True
    inner = [schema.get("items"), schema.get("values"), *(field["type"] for field in schema.get("fields", ()))]
    return any(_has_endless_array(one, named) for one in inner)


def _is_empty(schema: Any, named: dict[str, Any]) -> bool:
    """Whether a value takes no bytes. A union takes at least one, so a record that holds itself ends here too."""
    schema = named.get(schema, schema) if isinstance(schema, str) else schema
    if not isinstance(schema, dict):
        return bool(schema == "null")
    if schema["type"] == "fixed":
        return bool(schema["size"] == 0)
    if schema["type"] == "record":
        return all(_is_empty(field["type"], named) for field in schema["fields"])
    return bool(schema["type"] == "null")
