"""Whatever comes in, each record comes out as fastavro, another implementation, reads it, or is rejected with a reason: drawn at random.

Everything is written to Parquet and read by pyarrow, as the next service does: what Spark holds in memory, it may not be able to write.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import fastavro
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from datasim import garbage
from datasim.packet import container, writer_schema
from fink_broker.connectors import avro
from fink_broker.services.known import Known, Learned
from fink_broker.transforms.decode import RESERVED, decode
from fink_broker.transforms.framing import Codec, Form
from tests import known
from tests.compare import differences
from tests.transforms import _generated as generated
from tests.transforms.conftest import SURVEY
from tests.transforms.test_decode import deflated, small

REAL = ("ztf_3.2_31", "ztf_3.3", "ztf_4.01", "ztf_4.02", "ztf_4.02_spark")
CODECS = ("null", "null", "deflate", "snappy", "zstandard", "bzip2", "xz")
# Nothing but the schemas that are learned, and no ranges: any value is to come through.
ANY = replace(SURVEY, schemas=Path("nowhere"), checks={})

Written = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def written(messages: Any, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Decodes messages to a file; what lies in it, in the order of the messages."""

    def run(values: Sequence[bytes], codec: Codec, checks: dict[str, str] | None = None) -> list[dict[str, Any]]:
        folder = tmp_path_factory.mktemp("decoded")
        decode(messages(values), codec, checks or {}).write.mode("overwrite").parquet(str(folder))
        rows = [row for file in folder.glob("*.parquet") for row in pq.ParquetFile(file).read().to_pylist()]
        return sorted(rows, key=lambda row: (row["number"], row["record"]))

    return run


class Telescope:
    """Alerts of several writer schemas, and a broker that has learned what can be learned."""

    def __init__(self, schemas: Sequence[Any], seed: int, form: Form) -> None:
        rng = random.Random(seed)
        self.form = form
        self.texts = [json.dumps(schema) for schema in (schemas if form == "schemaless" else [generated.base(), *schemas])]
        self.parsed = [fastavro.parse_schema(json.loads(text)) for text in self.texts]
        self.known = Known(ANY, [self._learned(0)], form)
        self.refused: dict[int, str] = {}
        for number, text in enumerate(self.texts[1:], 1):
            try:
                if self.known.adds(text, RESERVED) or form == "confluent":
                    self.known = self.known.plus(self._learned(number))
            except TypeError as error:
                self.refused[number] = str(error)
        physical = [generated.physical(text) for text in self.texts]
        self.bodies = [
            (number, [generated.body(generated.value(self.parsed[number], rng), one) for _ in range(rng.choice([1, 1, 1, 3]))])
            for number, one in enumerate(physical)
            for _ in range(8)
        ]
        self.codecs = [rng.choice(CODECS) for _ in self.bodies]

    def _learned(self, number: int) -> Learned:
        return Learned(prefix=self._start(number), schema_text=self.texts[number])

    def _start(self, number: int) -> bytes:
        return (
            avro.header(self.texts[number]) if self.form == "container" else b"\0" + number.to_bytes(4) if self.form == "confluent" else b""
        )

    def codec(self, *, fast: bool) -> Codec:
        """What a broker knows that decodes all the schemas in the JVM, or none but the first."""
        knows = self.known
        if not fast:
            others = [one.model_copy(update={"fast": False}) for one in knows.learned[1:]]
            knows = Known(ANY, [knows.learned[0], *others], knows.form)
        refused = {self._start(number): reason for number, reason in self.refused.items()}
        return knows.codec(16_000_000, slow=self.form == "container", refused=refused)

    def messages(self) -> list[bytes]:
        if self.form == "container":
            return [self._container(*one, codec) for one, codec in zip(self.bodies, self.codecs, strict=True)]
        return [self._start(number) + bodies[0] for number, bodies in self.bodies]

    def _container(self, number: int, bodies: list[bytes], codec: str) -> bytes:
        packed = io.BytesIO()
        bare = generated.physical(self.texts[number])
        records = [fastavro.schemaless_reader(io.BytesIO(body), bare, None) for body in bodies]
        fastavro.writer(packed, bare, records, codec=codec)
        header = avro.read_header(packed.getvalue())
        return avro.header(self.texts[number], codec) + packed.getvalue()[len(header.prefix) :]

    def expected(self, number: int, body: bytes) -> Any:
        return fastavro.schemaless_reader(io.BytesIO(body), self.parsed[number], None)

    def faults(self, rows: Sequence[dict[str, Any]]) -> list[str]:
        """What is not as it should be."""
        found, rest = [], list(rows)
        for place, (number, bodies) in enumerate(self.bodies):
            own = [row for row in rest if row["number"] == place]
            if number in self.refused:
                found += [f"{number} has no reason: {self.refused[number]}" for row in own if not row["reason"]]
                continue
            if len(own) != (len(bodies) if self.form == "container" else 1):
                found.append(f"{len(own)} rows of {len(bodies)} records")
            for body, row in zip(bodies, own, strict=False):
                expected = plain(self.expected(number, body))
                alert = {name: plain(value) for name, value in row.items() if name not in ADDED}
                if row["reason"] is not None and not (nothing(expected)):
                    found.append(f"{number} {row['reason']}: {expected}")
                elif row["reason"] is None:
                    found += differences(shaped(expected, alert), alert)
        return found


ADDED = {"number", "topic", "partition", "offset", "record", "reason", "value"}


def nothing(value: Any) -> bool:
    return all(map(nothing, value.values())) if isinstance(value, dict) else value is None


def plain(value: Any) -> Any:
    """Times as numbers, the rest as it is."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):  # a tuple is an entry of a map
        return type(value)(map(plain, value))
    if isinstance(value, datetime):
        return (value.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // datetime.resolution
    if isinstance(value, time):
        return ((value.hour * 60 + value.minute) * 60 + value.second) * 1000 + value.microsecond // 1000
    return value.toordinal() if isinstance(value, date) else value


def shaped(expected: Any, found: Any) -> Any:
    """What fastavro reads, of the types that the columns have: wider numbers, maps as pairs; a field that says nothing is left out."""
    if isinstance(expected, dict) and isinstance(found, list):
        pairs = dict(found)
        return [(key, shaped(expected[key], pairs[key])) for key, _ in found] if pairs.keys() == expected.keys() else expected
    if isinstance(expected, dict) and isinstance(found, dict):
        missing = {name: item for name, item in expected.items() if name not in found and not empty(item)}
        return {name: shaped(expected.get(name), item) for name, item in found.items()} | missing
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [shaped(*pair) for pair in zip(expected, found, strict=True)]
    return shaped_leaf(expected, found)


def shaped_leaf(expected: Any, found: Any) -> Any:
    if isinstance(expected, Decimal) and isinstance(found, bytes):  # of more digits than Spark has
        return found if Decimal(int.from_bytes(found, signed=True)).scaleb(-2) == expected else expected
    if isinstance(expected, int) and isinstance(found, float) and not isinstance(expected, bool):
        return float(expected)
    return str(expected) if isinstance(expected, UUID) else expected


def empty(value: Any) -> bool:
    return value is None or value == b"" or (isinstance(value, dict) and all(map(empty, value.values())))


class Damaged:
    """Damaged messages of one form, and what fastavro makes of them."""

    def __init__(self, sound: Sequence[bytes], known: Known, seed: int, count: int) -> None:
        rng = random.Random(seed)
        self.known = known
        self.values = [garbage.damaged(value, list(sound), rng, self._start(value)) for value in rng.choices(sound, k=count)]

    def _start(self, value: bytes) -> int:
        return len(avro.read_header(value).prefix) if self.known.form == "container" else 0

    def expected(self, value: bytes) -> list[Any]:
        if self.known.form == "container":
            return list(fastavro.reader(io.BytesIO(value)))
        [writer] = [writer for writer in self.known.writers if value.startswith(writer.prefix)]
        body = io.BytesIO(value[len(writer.prefix) :])
        return [fastavro.schemaless_reader(body, fastavro.parse_schema(json.loads(writer.schema)), None)]

    def faults(self, rows: Sequence[dict[str, Any]]) -> list[str]:
        found = []
        for place, value in enumerate(self.values):
            own = [row for row in rows if row["number"] == place]
            sound = [row for row in own if row["reason"] is None]
            if not own or [row["record"] for row in own] != list(range(len(own))):
                found.append(f"{place}: {len(own)} rows")
            if any(row["value"] != value for row in own if row["reason"] and len(own) == 1):
                found.append(f"{place}: the bytes of a rejected message are not those that came")
            if sound:
                expected = self.expected(value)
                if len(expected) != len(own):
                    found.append(f"{place}: {len(own)} rows of {len(expected)} records")
                for row in sound:
                    alert = {name: plain(item) for name, item in row.items() if name not in ADDED}
                    found += [f"{place} {line}" for line in differences(known_fields(plain(expected[row["record"]]), alert), alert)]
        return found


def known_fields(expected: Any, found: Any) -> Any:
    """What fastavro reads, of the fields that there are columns for."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return {name: known_fields(item, found[name]) for name, item in expected.items() if name in found}
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [known_fields(*pair) for pair in zip(expected, found, strict=True)]
    if isinstance(expected, int) and isinstance(found, int) and not -(2**31) <= expected < 2**31:
        # More bits than an int of Avro has: Avro's Java library takes the lowest 32.
        return found if (expected - found) % 2**32 == 0 and -(2**31) <= found < 2**31 else expected
    return expected


@pytest.mark.parametrize(("form", "fast"), [("container", True), ("container", False), ("confluent", True), ("schemaless", True)])
def test_any_schema(written: Written, form: Form, fast: bool) -> None:
    """Fields that are new, gone, wider, elsewhere, of any type and any name; every codec; several records in a container."""

    @generated.profile(1)
    @given(st.lists(generated.sound_schemas(), min_size=1, max_size=1 if form == "schemaless" else 3), st.integers(0, 10**6))
    def check(schemas: list[Any], seed: int) -> None:
        try:
            telescope = Telescope(schemas, seed, form)
        except TypeError:  # not even one schema that can be held
            assume(False)
        assert telescope.faults(written(telescope.messages(), telescope.codec(fast=fast))) == []

    check()


def confluent(values: Sequence[bytes]) -> tuple[list[bytes], Known]:
    """The records of containers under ids, and who knows these."""
    texts = list(dict.fromkeys(avro.read_header(value).schema for value in values))
    messages = []
    for value in values:
        [record] = fastavro.reader(io.BytesIO(value))
        text = avro.read_header(value).schema
        messages.append(b"\0" + texts.index(text).to_bytes(4) + generated.body(record, fastavro.parse_schema(json.loads(text))))
    learned = [Learned(prefix=b"\0" + number.to_bytes(4), schema_text=text) for number, text in enumerate(texts)]
    return messages, Known(ANY, learned, "confluent")


@pytest.mark.parametrize("form", ["container", "confluent", "real"])
def test_damaged_messages(written: Written, templates: list[dict[str, Any]], form: str, request: pytest.FixtureRequest) -> None:
    """Flipped, cut, spliced and stretched: several wounds a message, many messages a batch."""
    sound = [
        container(small(record) | {"fp_hists": None}, writer_schema(version)) for record in templates[:6] for version in ("3.3", "4.02")
    ]
    knows = known.ztf()
    if form == "confluent":
        sound, knows = confluent(sound)
    elif form == "real":
        shared = request.getfixturevalue("shared")
        sound = [file.read_bytes() for name in REAL for file in sorted((shared / name).glob("*.avro"))[:3]]
        knows = known.having_met(sound)
    else:
        sound += [deflated(value) for value in sound[:3]]
    codec = replace(knows.codec(16_000_000, slow=knows.form == "container"), ask=False)
    for seed in range(generated.DEEPER):
        damaged = Damaged(sound, knows, seed if generated.DEEPER == 1 else random.getrandbits(40), 150)
        assert damaged.faults(written(damaged.values, codec)) == []
