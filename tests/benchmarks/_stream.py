"""A night with garbage in it, sent at an even pace; each message noted with what it is and where Kafka has put it."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, Message, Producer

from datasim import garbage, night
from datasim.packet import WriterSchema, container, writer_schema
from fink_broker.config import CHECKOUT, Settings
from fink_broker.connectors.kafka import MAX_MESSAGE_BYTES, make_topics
from fink_broker.errors import FinkError
from fink_broker.infra import kafka
from fink_broker.services.simulator import templates

RATE = 30  # messages a second
NIGHT = "20260322"
VERSIONS = ("4.02", "4.02", "4.01", "3.3")

_GARBAGE, _AGAIN = 20, 50  # one message in so many
_RARE = ("oversized", "bomb", "corrupt: real")
_REAL = ("ztf_3.2_31", "ztf_3.3", "ztf_4.01", "ztf_4.02", "ztf_4.02_spark")
# What may be an alert nevertheless: damage can hit what no check sees, or spare everything.
MAYBE = "damaged"


@dataclass
class Sent:
    """A message: what it is, the alert's id if it is a sound one, and its partition and offset once Kafka has it."""

    kind: str
    candid: int | None
    value: bytes | None
    place: tuple[int, int] | None = None


@dataclass
class Stream:
    """Messages of a night.

    Parameters
    ----------
    settings : Settings
        Where Kafka is; templates and topic of the simulator.
    count : int
        How many messages.
    """

    settings: Settings
    count: int
    sent: list[Sent] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def send(self) -> Iterator[int]:
        """Send them all; gives, about once a second, how many are sent.

        Raises
        ------
        FinkError
            Kafka has not taken all of them.
        """
        connection = kafka.connection(self.settings, self.settings.kafka.simulated)
        topic = self.settings.simulator.topic
        make_topics(connection, {topic: 2})
        # Over a restart of Kafka a message must neither be lost nor come twice.
        options = {"acks": "all", "enable.idempotence": True, "message.max.bytes": MAX_MESSAGE_BYTES, "log_level": 0}
        producer = Producer({**connection.client, **options, "delivery.timeout.ms": 180_000, "queue.buffering.max.kbytes": 200_000})
        began = time.monotonic()
        for number, one in enumerate(self._messages()):
            while (left := began + number / RATE - time.monotonic()) > 0:
                producer.poll(left)
            value, one.value = one.value, one.value if one.kind.startswith(MAYBE) else None
            producer.produce(topic, value, partition=number % 2, on_delivery=self._note(one))
            self.sent.append(one)
            producer.poll(0)
            if number % RATE == 0:
                yield number
        if producer.flush(180) or self.failed:
            raise FinkError(f"Kafka has not taken all messages: {self.failed[:1]}")

    def _note(self, one: Sent) -> object:
        def note(error: KafkaError | None, message: Message) -> None:
            if error is None:
                one.place = (message.partition() or 0, message.offset() or 0)
            else:
                self.failed.append(error.str())

        return note

    def _messages(self) -> Iterator[Sent]:
        rng = random.Random(20260322)
        records = night.alerts(templates(self.settings.below_checkout(self.settings.simulator.templates)), self.count, NIGHT)
        schemas = {version: writer_schema(version) for version in VERSIONS}
        spoiled = _Spoiled(rng, schemas["4.02"])
        last: list[tuple[int, bytes]] = []
        for number, record in enumerate(records):
            schema = schemas[rng.choice(VERSIONS)]
            value = container(record, schema)
            if number % _GARBAGE == _GARBAGE // 2:
                kind, value = spoiled.next(record, value, schema)
                yield Sent(kind, None, value)
            elif number % _AGAIN == 1 and last:
                candid, value = rng.choice(last)
                yield Sent("again", candid, value)
            else:
                last = [*last[-200:], (record["candid"], value)]
                yield Sent("sound", record["candid"], value)


class _Spoiled:
    """One kind of garbage after the other."""

    def __init__(self, rng: random.Random, schema: WriterSchema) -> None:
        self._rng = rng
        self._schema = schema
        self._number = 0
        self._bomb = garbage.bomb()
        folder = CHECKOUT.parent / "shared" / "data"
        self._real = [file.read_bytes() for name in _REAL for file in sorted((folder / name).glob("*.avro"))[:5]]

    def next(self, record: garbage.Record, value: bytes, schema: WriterSchema) -> tuple[str, bytes]:
        self._number += 1
        if self._number % 3:  # two of three are damaged ones
            sound = self._rng.choice(self._real) if self._real and self._number % 3 == 2 else value
            start = len(schema.header) if sound is value else 20_000
            kind = f"{MAYBE}: {'simulated' if sound is value else 'real'}"
            return kind, garbage.damaged(sound, [value, *self._real], self._rng, start)
        plain = {**garbage.every_kind(record, self._schema), **garbage.unsound_schemas(value, schema), "bomb": self._bomb}
        kinds = [kind for kind in plain if self._number % 60 == 0 or kind not in ("oversized", "bomb")]
        kind = kinds[self._number // 3 % len(kinds)] if self._number % 60 else ("oversized", "bomb")[self._number // 60 % 2]
        return kind, plain[kind]
