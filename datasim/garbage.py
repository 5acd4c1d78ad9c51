"""Messages that a broker must survive, made from a sound alert: for tests."""

from __future__ import annotations

import io
import json
from typing import Any

import fastavro

from datasim.packet import WriterSchema, container, frame
from fink_broker.connectors.avro import SYNC_LENGTH, header, long

Record = dict[str, Any]

EMPTY = b""
NOT_AVRO = b"Kaboom! This is not an alert."
ABSURD_COUNT = 2**40


def corrupt(alert: bytes, prefix: bytes) -> bytes:
    """The body begins with a number of 64 bytes, longer than any that Avro allows; header and block length are sound.

    Parameters
    ----------
    alert : bytes
        A container with one alert.
    prefix : bytes
        Its header, see `WriterSchema.header`.
    """
    start = len(prefix) + SYNC_LENGTH
    for _ in ("count of records", "length of the block"):
        while alert[start] & 0x80:
            start += 1
        start += 1
    return alert[:start] + b"\xff" * 64 + alert[start + 64 :]


def truncated(alert: bytes) -> bytes:
    """Half a message."""
    return alert[: len(alert) // 2]


def wrong_schema() -> bytes:
    """A sound container of something that is no alert."""
    schema = {"type": "record", "name": "weather", "fields": [{"name": "wind", "type": "double"}, {"name": "rain", "type": "string"}]}
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(schema), {"wind": 12.5, "rain": "none"})
    return frame(body.getvalue(), header(schema))


def oversized(record: Record, schema: WriterSchema, size: int = 20_000_000) -> bytes:
    """A sound alert with one cutout of `size` bytes."""
    stamp = record["cutoutScience"]
    return container(record | {"cutoutScience": stamp | {"stampData": bytes(size)}}, schema)


def absurd_count(record: Record, schema: WriterSchema) -> bytes:
    """An alert whose `prv_candidates` claims 2**40 entries: a decoder that believes it runs out of memory."""
    whole = json.loads(schema.text)
    names = [field["name"] for field in whole["fields"]]
    place = names.index("prv_candidates")
    union = whole["fields"][place]["type"]
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(whole | {"fields": whole["fields"][:place]}), record)
    branch = next(i for i, kind in enumerate(union) if kind != "null")
    return frame(body.getvalue() + long(branch) + long(ABSURD_COUNT) + bytes(1000), schema.header)


def not_utf8(record: Record, schema: WriterSchema) -> bytes:
    """An alert with a byte 0xFF in the text of `publisher`: it decodes, but many readers refuse it later."""
    text = "publisher-of-alerts"
    return container(record | {"publisher": text}, schema).replace(text.encode(), b"\xff" * len(text))


def out_of_range(record: Record, schema: WriterSchema) -> bytes:
    """An alert of the year 10**297: a broker that trusts it makes a folder for that night."""
    return container(record | {"candidate": record["candidate"] | {"jd": 1e300}}, schema)


def every_kind(record: Record, schema: WriterSchema) -> dict[str, bytes]:
    """One of each, by name; all of them are to be rejected."""
    good = container(record, schema)
    return {
        "corrupt": corrupt(good, schema.header),
        "truncated": truncated(good),
        "wrong schema": wrong_schema(),
        "empty": EMPTY,
        "not Avro": NOT_AVRO,
        "oversized": oversized(record, schema),
        "absurd count": absurd_count(record, schema),
        "not UTF-8": not_utf8(record, schema),
        "out of range": out_of_range(record, schema),
    }
