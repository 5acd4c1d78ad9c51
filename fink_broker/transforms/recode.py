"""The slow way into the broker: any Avro container, read by fastavro and written again in the reader schema."""

from __future__ import annotations

import functools
import hashlib
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
from fink_broker.transforms.resolved import resolved
from fink_broker.transforms.schemas import absorb, damaged, reader_schema

# A container of a few kilobytes can unfold to gigabytes: this much more may a message take than Python does without it.
_MEMORY_BYTES = 500_000_000
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
    value: bytes,
    reader: str,
    known: Sequence[str] = (),
    reserved: Sequence[str] = (),
    refused: Mapping[bytes, str] = _NONE,
    *,
    max_bytes: int = 16_000_000,
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
    max_bytes : int
        The records of a longer message, unpacked, are rejected.

    Returns
    -------
    list of Record
        At least one.
    """
    try:
        with _limited_memory():
            return _recode(value, reader, tuple(known), tuple(reserved), refused, max_bytes=max_bytes)
    # Hostile bytes make fastavro raise nearly anything; whatever it is, it is the reason that is kept with the message.
    except Exception as error:  # noqa: BLE001
        detail = " ".join(str(error).split())[:200].encode(errors="backslashreplace").decode()
        return [Record(reason=f"does not decode: {type(error).__name__}{': ' if detail else ''}{detail}")]


def _recode(
    value: bytes, reader: str, known: tuple[str, ...], reserved: tuple[str, ...], refused: Mapping[bytes, str], *, max_bytes: int
) -> list[Record]:
    header = avro.read_header(value)
    says_more, fault = _compare(header.schema, reader, known, reserved)
    if says_more:
        fault = fault or refused.get(header.prefix)
    if fault:
        return [Record(reason=fault)]
    # Numbers and bytes as they lie there: no logical type, and no default that fastavro might object to.
    bare = _plain(header.schema)
    records: list[Any] = list(fastavro.reader(io.BytesIO(avro.header(bare, header.codec) + value[len(header.prefix) :])))
    if not records:
        return [Record(reason="a container without a record")]
    bodies = [_body(record, reader, says_more) for record in records]
    if sum(len(body or b"") for body in bodies) > max_bytes:
        return [Record(reason=f"larger than {max_bytes} bytes, unpacked")]
    space = avro.namespace(header.schema)
    if len(records) == 1:
        return [Record(bodies[0], None, says_more, namespace=space)]
    alone = [_alone(record, bare, header.schema) for record in records]
    return [Record(body, None, says_more, one, space) for body, one in zip(bodies, alone, strict=True)]


def _body(record: Any, reader: str, says_more: bool) -> bytes | None:
    """The record in the reader schema; None where it says more than fits."""
    try:
        return _written(record, reader)
    except (ValueError, OverflowError, struct.error):
        if says_more:
            return None
        raise


def _written(record: Any, schema: str) -> bytes:
    body = io.BytesIO()
    fastavro.schemaless_writer(body, _parsed(schema), record)
    return body.getvalue()


def _alone(record: Any, bare: str, schema: str) -> bytes:
    """A container of one of the records, with the schema as it was."""
    body = _written(record, bare)
    sync = hashlib.md5(body, usedforsecurity=False).digest()
    return b"".join((avro.header(schema), sync, avro.long(1), avro.long(len(body)), body, sync))


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


@functools.lru_cache(maxsize=8)
def _parsed(schema: str) -> Any:
    return fastavro.parse_schema(_bare(schema))


def _bare(schema: str) -> Any:
    """A schema without its logical types, which do not change the bytes."""
    return json.loads(schema, object_hook=lambda item: {name: one for name, one in item.items() if name != "logicalType"})


@functools.lru_cache(maxsize=64)
def _plain(schema: str) -> str:
    return json.dumps(resolved(_bare(schema)))


@functools.lru_cache(maxsize=64)
def _compare(schema: str, reader: str, known: tuple[str, ...], reserved: tuple[str, ...]) -> tuple[bool, str | None]:
    """Whether a schema says more than the reader schema, and why it cannot be read beside the known ones."""
    ours, names = json.loads(reader), [field["name"] for field in json.loads(reader)["fields"]]
    try:
        theirs = resolved(json.loads(schema))
        said = {field["name"] for field in theirs.get("fields", ())} if isinstance(theirs, dict) else set()
        if said.isdisjoint(names):
            return False, f"not an alert: it has none of the fields {', '.join(names)}"[:200]
        if absorb(ours, theirs, reserved) == reader_schema([ours]):
            return False, None
    except TypeError as error:
        return True, f"its schema does not go with the known ones: {error}"
    if damaged(schema, known):
        return True, "its schema is a damaged copy of a known one"
    return True, None
