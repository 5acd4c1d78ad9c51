"""The slow way into the broker: any Avro container, read by fastavro and written again in the reader schema."""

from __future__ import annotations

import functools
import io
import json
import resource
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import fastavro

from fink_broker.connectors import avro
from fink_broker.transforms.schemas import absorb, damaged

# A container of a few kilobytes can unfold to gigabytes: this much more may a message take than Python does without it.
_MEMORY_BYTES = 1_000_000_000
_NONE: Mapping[bytes, str] = {}


class Record(NamedTuple):
    """What the slow way makes of one record of a message.

    Parameters
    ----------
    body : bytes or None
        The alert in the reader schema.
    reason : str or None
        Why there is none.
    new : bool
        Whether its schema says more than the reader schema does: it has to be learned, or something of the alert is lost. Its body may
        not even fit, and then is None.
    alone : bytes or None
        Of a container that holds several: one that holds this record only.
    namespace : str or None
        That of its schema.
    """

    body: bytes | None = None
    reason: str | None = None
    new: bool = False
    alone: bytes | None = None
    namespace: str | None = None


def recode(
    value: bytes, reader: str, known: Sequence[str] = (), reserved: Sequence[str] = (), refused: Mapping[bytes, str] = _NONE
) -> list[Record]:
    """The records of a container in the reader schema, or the reason why there is none.

    Parameters
    ----------
    value : bytes
        A message.
    reader : str
        Reader schema, JSON.
    known : sequence of str
        Schemas of the known writers, JSON.
    reserved : sequence of str
        Names of columns that the broker adds.
    refused : mapping
        Headers whose schemas could not be learned, and why.

    Returns
    -------
    list of Record
        At least one.
    """
    try:
        with _limited_memory():
            return _recode(value, reader, tuple(known), tuple(reserved), refused)
    # Hostile bytes make fastavro raise nearly anything; whatever it is, it is the reason that is kept with the message.
    except Exception as error:  # noqa: BLE001
        detail = " ".join(str(error).split())[:200]
        return [Record(reason=f"does not decode: {type(error).__name__}{': ' if detail else ''}{detail}")]


def _recode(value: bytes, reader: str, known: tuple[str, ...], reserved: tuple[str, ...], refused: Mapping[bytes, str]) -> list[Record]:
    container = fastavro.reader(io.BytesIO(value))
    writer: Any = container.writer_schema
    if _has_endless_array(writer, {}):
        return [Record(reason="an array whose items take no bytes")]
    records: list[Any] = list(container)
    if not records:
        return [Record(reason="a container without a record")]
    fields = [field["name"] for field in _parsed(reader)["fields"]]
    if not any(name in record for record in records for name in fields):
        return [Record(reason=f"not an alert: it has none of the fields {', '.join(fields)}"[:200])]
    header = avro.read_header(value)
    says_more, fault = _compare(header.schema, reader, known, reserved)
    if says_more:
        fault = fault or refused.get(header.prefix)
    if fault:
        return [Record(reason=fault)]
    alone, space = len(records) > 1, avro.namespace(header.schema)
    return [
        Record(_body(record, reader, says_more), None, says_more, _alone(record, writer) if alone else None, space) for record in records
    ]


def _body(record: Any, reader: str, says_more: bool) -> bytes | None:
    """The record in the reader schema; None where it says more than fits."""
    body = io.BytesIO()
    try:
        fastavro.schemaless_writer(body, _parsed(reader), record)
    except (ValueError, OverflowError, struct.error):
        if says_more:
            return None
        raise
    return body.getvalue()


def _alone(record: Any, writer: Any) -> bytes:
    container = io.BytesIO()
    fastavro.writer(container, writer, [record])
    return container.getvalue()


@contextmanager
def _limited_memory() -> Iterator[None]:
    """Inside, this process gets no more than so much memory beyond what it has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) if Path("/proc/self/statm").exists() else None
    if pages is None:  # no such limit on this system
        yield
        return
    limit = pages * resource.getpagesize() + _MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit if before[1] == resource.RLIM_INFINITY else min(limit, before[1]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@functools.lru_cache(maxsize=4)
def _parsed(schema: str) -> Any:
    return fastavro.parse_schema(json.loads(schema))


@functools.lru_cache(maxsize=64)
def _compare(schema: str, reader: str, known: tuple[str, ...], reserved: tuple[str, ...]) -> tuple[bool, str | None]:
    """Whether a schema says more than the reader schema, and why it cannot be read beside the known ones."""
    ours = json.loads(reader)
    try:
        if absorb(ours, json.loads(schema), reserved) == absorb(ours, ours):
            return False, None
    except TypeError as error:
        return True, f"its schema does not go with the known ones: {error}"
    if damaged(schema, known) is not None:
        return True, "its schema is a damaged copy of a known one"
    return True, None


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
