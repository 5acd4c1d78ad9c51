"""Messages that a broker must survive, made from a sound alert: for tests."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Sequence
from typing import Any

import fastavro

from datasim.packet import WriterSchema, container, frame
from fink_broker.connectors.avro import SYNC_LENGTH, header, long

Record = dict[str, Any]

EMPTY = b""
NOT_AVRO = b"Kaboom! This is not an alert."
ABSURD_COUNT = 2**40
CUTOUT = {
    "type": "record",
    "name": "cutout",
    "fields": [{"name": "fileName", "type": "string"}, {"name": "stampData", "type": "bytes"}],
}


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


def bomb(size: int = 400_000_000) -> bytes:
    """A container of a few hundred kilobytes, deflated, with a cutout of `size` bytes in it."""
    schema = {"type": "record", "name": "alert", "fields": [{"name": "candid", "type": "long"}, {"name": "cutoutScience", "type": CUTOUT}]}
    out = io.BytesIO()
    stamp = {"fileName": "stamp.fits.gz", "stampData": b"\x1f\x8b" + bytes(size)}
    fastavro.writer(out, fastavro.parse_schema(schema), [{"candid": 1, "cutoutScience": stamp}], codec="deflate")
    return out.getvalue()


def with_schema(alert: bytes, schema: WriterSchema, text: str) -> bytes:
    """The alert, of which the header says that it was written with a schema that is `text`."""
    return header(text) + alert[len(schema.header) :]


def unsound_schemas(alert: bytes, schema: WriterSchema) -> dict[str, bytes]:
    """Sound records under schemas that are JSON and no schemas, or that no broker could hold."""
    texts = {
        "no schema": '{"candid": 1}',
        "no types": schema.text.replace('"type"', '"tyqe"', 3),
        "a type that is not defined": schema.text.replace('"long"', '"lung"', 1),
        "a name that is no text": schema.text.replace('"candid"', r'"\ud800"', 1),
        "a record that holds itself": schema.text.replace('"long"', '"ztf.alert"', 1),
        "an array of nothing": schema.text.replace('"long"', '{"type":"array","items":"null"}', 1),
        "too deep": "[" * 5_000,
    }
    return {name: with_schema(alert, schema, text) for name, text in texts.items()}


def damaged(value: bytes, others: Sequence[bytes], rng: random.Random, start: int = 0) -> bytes:
    """A message with several things wrong: flipped bits, other bytes, cuts, insertions, pieces of other messages, numbers at the borders.

    Parameters
    ----------
    value : bytes
        A sound message.
    others : sequence of bytes
        Where the pieces come from.
    rng : random.Random
        Chooses.
    start : int
        Half of the messages are sound up to here: their header can be longer than all the rest.
    """
    changed = bytearray(value)
    start = rng.choice([0, start])
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        place = rng.randint(min(start, len(changed)), len(changed))
        match rng.choice(["flip", "flip", "flip", "byte", "cut", "insert", "truncate", "splice", "repeat", "number", "start"]):
            case "flip" if place < len(changed):
                changed[place] ^= 1 << rng.randrange(8)
            case "byte" if place < len(changed):
                changed[place] = rng.choice([0, 1, 2, 0x7F, 0x80, 0xFF, rng.randrange(256)])
            case "cut":
                del changed[place : place + rng.choice([1, 2, 16, 1000])]
            case "insert":
                changed[place:place] = rng.randbytes(rng.choice([1, 2, 16]))
            case "truncate":
                del changed[place:]
            case "splice":
                other = rng.choice(others)
                changed[place:] = other[rng.choice([place, rng.randrange(len(other) + 1)]) :]
            case "repeat":
                changed[place:place] = changed[place : place + rng.choice([1, 10, 500])]
            case "number":
                number = long(rng.choice([2**31, -(2**31), 2**40, -1, 10**5, 2**62, -(2**62), 0]))
                changed[place : place + rng.choice([0, 1, len(number)])] = number
            case "start" if len(changed) > 4:
                changed[rng.randrange(4)] ^= 1 << rng.randrange(8)
    return bytes(changed)


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
