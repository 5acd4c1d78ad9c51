"""Alerts as ZTF puts them on the wire: one Avro object container a message, schema embedded, not compressed."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import Any

import fastavro

from fink_broker.connectors.avro import SYNC_LENGTH, header, long, minified
from fink_broker.errors import ConfigError
from fink_broker.surveys.ztf import SURVEY


@dataclass(frozen=True)
class WriterSchema:
    """A survey's schema, ready to write with.

    Parameters
    ----------
    text : str
        The JSON text embedded in every message.
    parsed : object
        What fastavro writes by.
    header : bytes
        Bytes of every message before the sync marker.
    branches : dict
        Nullable arrays and records of the alert: field to the name of the union's branch.
    """

    text: str
    parsed: Any
    header: bytes
    branches: dict[str, str]


def writer_schema(version: str) -> WriterSchema:
    """The writer schema of a ZTF version.

    Raises
    ------
    ConfigError
        There is no such version.
    """
    path = SURVEY.schemas / f"{version}.avsc"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in SURVEY.schemas.glob("*.avsc")))
        raise ConfigError(f"unknown schema version '{version}' in simulator.schema_version; known: {known}")
    text = minified(path)
    parsed: Any = fastavro.schema.load_schema(str(path))
    branches = {field["name"]: _branch(field["type"]) for field in parsed["fields"] if isinstance(field["type"], list)}
    return WriterSchema(text=text, parsed=parsed, header=header(text), branches=branches)


def _branch(union: list[Any]) -> str:
    """Name of the branch that is not null, as fastavro knows it."""
    kind = next(branch for branch in union if branch != "null")
    if isinstance(kind, str):
        return kind
    return str(kind.get("name", kind["type"]))


def container(record: dict[str, Any], schema: WriterSchema, sync: bytes | None = None) -> bytes:
    """One alert as an Avro object container.

    Parameters
    ----------
    record : dict
        The alert; fields that the schema does not have are left out.
    schema : WriterSchema
        See `writer_schema`.
    sync : bytes, optional
        The 16-byte sync marker; random without.
    """
    body = io.BytesIO()
    # Named branches: without, fastavro validates whole arrays to find out which branch they are (1.6 times the time).
    named = {name: (branch, record[name]) for name, branch in schema.branches.items() if record.get(name) is not None}
    fastavro.schemaless_writer(body, schema.parsed, record | named)
    return frame(body.getvalue(), schema.header, sync)


def frame(body: bytes, prefix: bytes, sync: bytes | None = None) -> bytes:
    """A container of one record: `prefix`, the sync marker, one block that holds `body`, the sync marker."""
    sync = sync or os.urandom(SYNC_LENGTH)
    return b"".join((prefix, sync, long(1), long(len(body)), body, sync))
