"""What is sent on to another Kafka is what came: bytes, keys, headers, times, order."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Message, Producer
from pyspark.sql import SparkSession

from fink_broker import surveys
from fink_broker.config import Settings
from fink_broker.config.sections import Kafka, KafkaInput, Mirror, Wait
from fink_broker.connectors import kafka
from fink_broker.connectors.security import Connection
from fink_broker.errors import ConfigError
from fink_broker.infra.processes import Running
from fink_broker.monitoring.counts import Books, Counts
from fink_broker.services import mirror
from fink_broker.services.context import Context, RunOptions

pytestmark = pytest.mark.integration

PREFIX = "their."
# A header may come twice, or without a value; key and value may be missing.
HEADERS = [[], [("a", b"1"), ("a", b"\x00\xff"), ("b", None)], [("c", b"")]]


def send(address: str, topic: str, numbers: range) -> None:
    producer = Producer({"bootstrap.servers": address, "message.max.bytes": 32_000_000})
    for number in numbers:
        key = None if number % 4 == 0 else b"key \xff %d" % number
        value = (None, b"", b"\x00\xfe" * 40_000, b"%d" % number)[number % 4]
        time = 1_600_000_000_000 + 977 * number
        producer.produce(topic, value, key, number % 3, timestamp=time, headers=HEADERS[number % 3])
    assert producer.flush(20) == 0


def content(message: Message) -> tuple[object, ...]:
    return message.partition(), message.key(), message.value(), message.headers() or [], message.timestamp()


def test_it_is_what_came_and_goes_on_where_it_was(kafka_server: Running, spark: SparkSession, tmp_path: Path) -> None:
    address = kafka_server.address
    assert address is not None
    server = Connection(address)
    # The second one has fewer partitions there than here.
    kafka.make_topics(server, {"mirrored_a": 3, "mirrored_b": 3, f"{PREFIX}mirrored_b": 2})
    settings = Settings(
        home=tmp_path,
        kafka=Kafka(input=KafkaInput(servers=address, topics="none")),
        mirror=Mirror(servers=address, topics="mirrored_.*", prefix=PREFIX),
        wait=Wait(seconds=20),
    )

    def run() -> None:
        query = mirror.start(Context(spark, settings, surveys.get("ztf"), RunOptions(once=True)))
        query.awaitTermination()
        assert query.exception() is None

    send(address, "mirrored_a", range(40))
    run()
    send(address, "mirrored_a", range(40, 61))
    send(address, "mirrored_b", range(10))
    run()
    run()
    here, there = (list(kafka.read_all(server, name)) for name in ("mirrored_a", f"{PREFIX}mirrored_a"))
    assert len(there) == 61
    assert [content(message) for message in there] == [content(message) for message in here]
    # All of one partition go to the same one, in their order.
    came, went = (list(kafka.read_all(server, name)) for name in ("mirrored_b", f"{PREFIX}mirrored_b"))
    assert len(went) == 10
    for number in range(3):
        sent = [content(message)[1:] for message in came if message.partition() == number]
        found = [content(message)[1:] for message in went if message.partition() == number % 2]
        assert [one for one in found if one in sent] == sent
    assert Books(settings, surveys.get("ztf")).of("mirror") == Counts(71, 71)

    loop = settings.model_copy(update={"mirror": settings.mirror.model_copy(update={"topics": ".*mirrored_.*"})})
    with pytest.raises(ConfigError, match=r"would read their\.mirrored_\w again"):
        mirror.start(Context(spark, loop, surveys.get("ztf")))
