"""Avro object containers: the bytes by which a writer schema is recognised."""

from __future__ import annotations

import functools
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro

MAGIC = b"Obj\x01"
SYNC_LENGTH = 16
_METADATA = fastavro.parse_schema({"type": "map", "values": "bytes"})


def minified(path: Path) -> str:
    """The schema in a file as JSON text without white space, keys in the file's order: the form that is embedded in messages."""
    return compact(json.loads(path.read_text(encoding="utf-8")))


def compact(schema: Any) -> str:
    """A schema as JSON text without white space."""
    return json.dumps(schema, separators=(",", ":"))


def header(schema: str | dict[str, Any], codec: str = "null") -> bytes:
    """The bytes of a container before its sync marker: constant for one writer schema.

    Parameters
    ----------
    schema : str or dict
        The exact JSON text, or a schema that is written compact.
    codec : str
        Avro codec name.

    Notes
    -----
    The order of the metadata is free in Avro; this is the order of most writers (codec, then schema).
    """
    text = schema if isinstance(schema, str) else compact(schema)
    metadata = {"avro.codec": codec, "avro.schema": text}
    entries = b"".join(_prefixed(key.encode()) + _prefixed(value.encode()) for key, value in metadata.items())
    return MAGIC + long(len(metadata)) + entries + long(0)


@dataclass(frozen=True)
class Header:
    """The header of a container: its bytes, and the schema and codec that they name."""

    prefix: bytes
    schema: str
    codec: str


def read_header(container: bytes) -> Header:
    """Header of a container.

    Raises
    ------
    ValueError
        It has none that can be read.
    """
    stream = io.BytesIO(container)
    try:
        if stream.read(len(MAGIC)) != MAGIC:
            raise ValueError("not an Avro container")
        metadata: Any = fastavro.schemaless_reader(stream, _METADATA, None)
        schema = metadata["avro.schema"].decode()
        codec = metadata.get("avro.codec", b"null").decode()
        json.loads(schema)
    except (EOFError, LookupError, OverflowError, MemoryError, RecursionError) as error:
        raise ValueError(f"a container without a header: {error}") from error
    return Header(container[: stream.tell()], schema, codec)


@functools.lru_cache(maxsize=64)
def namespace(schema: str) -> str | None:
    """Namespace of a record's schema, such as ``lsst.v10_0``, in its name or beside it; None without one (specification 1.12, "Names")."""
    record = json.loads(schema)
    return str(record["name"]).rpartition(".")[0] or record.get("namespace")


def long(value: int) -> bytes:
    """Avro's zig-zag variable-length form of a 64-bit integer."""
    left = (value << 1) ^ (value >> 63)
    out = bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out)


def _prefixed(data: bytes) -> bytes:
    return long(len(data)) + data
