"""simulator: sends a night made from real alerts to Kafka, in bursts, as the telescope does."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from datasim.night import alerts
from datasim.packet import WriterSchema, container, writer_schema
from fink_broker.config import Settings
from fink_broker.connectors.kafka import MAX_MESSAGE_BYTES, make_topics, wait_for
from fink_broker.connectors.security import Connection
from fink_broker.errors import ConfigError, FinkError, ServerUnavailable
from fink_broker.infra import kafka

log = logging.getLogger(__name__)

# Alerts wait in memory for their acknowledgement: at most so many kB of them.
_QUEUE_KB = 128 * 1024
_DELIVERY_S = 60.0


@dataclass(frozen=True)
class Sent:
    """What was sent, and acknowledged by Kafka.

    Parameters
    ----------
    topic, night : str
        Where to, and the night (``YYYYMMDD``) of the alerts.
    alerts, bytes : int
        How many, and their size.
    first_sent : float
        Unix time in seconds just before the first alert left.
    seconds : float
        From then until the last one was acknowledged.
    """

    topic: str
    night: str
    alerts: int
    bytes: int
    first_sent: float
    seconds: float

    def __str__(self) -> str:
        size = self.bytes / max(self.alerts, 1) / 1000
        rate = self.alerts / max(self.seconds, 1e-9)
        speed = f"in {self.seconds:.1f} s ({rate:,.0f} alerts/s)"
        return f"sent {self.alerts:,} alerts of {size:.1f} kB to {self.topic}, night {self.night}, {speed}"


@dataclass
class _Deliveries:
    """Counts acknowledgements; the first failure is kept."""

    acknowledged: int = 0
    failed: int = 0
    error: KafkaError | None = field(default=None)

    def report(self, error: KafkaError | None, _: Message) -> None:
        if error is None:
            self.acknowledged += 1
        else:
            self.failed += 1
            self.error = self.error or error


def tonight() -> str:
    """The UTC date now."""
    return f"{datetime.now(UTC):%Y%m%d}"


def templates(path: Path) -> list[dict[str, Any]]:
    """The real alerts of a Parquet file.

    Raises
    ------
    ConfigError
        It cannot be read, or holds none.
    """
    try:
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowInvalid) as error:
        raise ConfigError(f"cannot read the templates {path} (simulator.templates): {error}") from error
    if not rows:
        raise ConfigError(f"no alerts in {path} (simulator.templates)")
    return rows


def messages(settings: Settings, night: str, count: int) -> Iterator[bytes]:
    """The alerts of a night as messages, `simulator.burst` of them from each exposure.

    Raises
    ------
    ConfigError
        The templates or the schema version are not there, or do not go together.
    """
    simulator = settings.simulator
    schema: WriterSchema = writer_schema(simulator.schema_version)
    try:
        for alert in _alerts(settings, night, count):
            yield container(alert, schema)
    except (KeyError, TypeError, ValueError) as error:
        path = settings.below_checkout(simulator.templates)
        raise ConfigError(f"the templates {path} do not fit schema {simulator.schema_version}: {error}") from error


def ids(settings: Settings, night: str, count: int | None = None) -> list[int]:
    """The `candid` of each alert of a night that `send` sends."""
    return [alert["candid"] for alert in _alerts(settings, night, settings.simulator.alerts if count is None else count)]


def _alerts(settings: Settings, night: str, count: int) -> Iterator[dict[str, Any]]:
    simulator = settings.simulator
    known = templates(settings.below_checkout(simulator.templates))
    return alerts(known, count, night, seed=simulator.seed, schema_version=simulator.schema_version, burst=simulator.burst)


def send(settings: Settings, night: str | None = None, count: int | None = None) -> Sent:
    """Send a night in bursts, one each `simulator.cadence_seconds`, and wait until Kafka has acknowledged every alert.

    Parameters
    ----------
    settings : Settings
        Section ``[simulator]``; the topic is on the embedded Kafka.
    night : str, optional
        ``YYYYMMDD``; default the UTC date now.
    count : int, optional
        Alerts to send; default `simulator.alerts`.

    Raises
    ------
    ServerUnavailable
        Kafka is not there, or did not acknowledge every alert.
    """
    night = night or tonight()
    simulator = settings.simulator
    connection = kafka.connection(settings, settings.kafka.simulated)
    wait_for(connection, settings.wait.seconds, "Kafka")
    make_topics(connection, {simulator.topic: settings.kafka.output.partitions})
    deliveries = _Deliveries()
    producer = _producer(connection)
    todo = messages(settings, night, simulator.alerts if count is None else count)
    sent, size, first, start = 0, 0, time.time(), time.monotonic()
    for message in todo:
        if not sent:
            first, start = time.time(), time.monotonic()
        elif sent % simulator.burst == 0:
            log.info("sent %d alerts, %d bytes, to %s", sent, size, simulator.topic)
            _rest(producer, start + sent // simulator.burst * simulator.cadence_seconds)
        _produce(producer, simulator.topic, message, deliveries)
        sent += 1
        size += len(message)
    unsent = producer.flush(_DELIVERY_S)
    if unsent or deliveries.failed or deliveries.acknowledged != sent:
        why = f": {deliveries.error.str()}" if deliveries.error else ""
        raise ServerUnavailable(f"Kafka at {connection} acknowledged {deliveries.acknowledged} of {sent} alerts{why}")
    return Sent(simulator.topic, night, sent, size, first, time.monotonic() - start)


def run(settings: Settings, night: str | None = None) -> int:
    """Send a night, print one line; the exit code."""
    print(send(settings, night), flush=True)
    return 0


def _producer(connection: Connection) -> Producer:
    return Producer(
        {
            **connection.client,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 5,
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "queue.buffering.max.kbytes": _QUEUE_KB,
            "delivery.timeout.ms": int(_DELIVERY_S * 1000),
            # Its connection errors reach us as failed deliveries.
            "log_level": 0,
        },
        logger=log,
    )


def _produce(producer: Producer, topic: str, message: bytes, deliveries: _Deliveries) -> None:
    """Hand one message over, waiting for room in the queue as long as deliveries go on."""
    deadline = time.monotonic() + _DELIVERY_S
    while True:
        try:
            producer.produce(topic, value=message, on_delivery=deliveries.report)
            producer.poll(0)
            return
        except BufferError as full:
            if time.monotonic() > deadline:
                raise ServerUnavailable(f"Kafka took no alert for {_DELIVERY_S:g} s") from full
            producer.poll(0.1)
        except KafkaException as error:
            raise FinkError(f"cannot send to {topic}: {error.args[0].str()}") from error


def _rest(producer: Producer, until: float) -> None:
    """Serve delivery reports until the next burst is due."""
    while (left := until - time.monotonic()) > 0:
        producer.poll(min(left, 0.5))
