"""Topics and counts on the real Kafka."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from fink_broker.connectors import kafka, ranges
from fink_broker.connectors.security import Connection
from fink_broker.errors import ServerUnavailable


def produce(address: str, topic: str, values: list[bytes]) -> None:
    producer = Producer({"bootstrap.servers": address})
    for number, value in enumerate(values):
        producer.produce(topic, value, partition=number % 3)
    assert producer.flush(20) == 0


@pytest.mark.integration
def test_topics_are_made_once_and_counted(kafka_server):
    address = kafka_server.address
    server = Connection(address)
    kafka.wait_for(server, 10, "Kafka")
    assert kafka.make_topics(server, {"t_made": 3}) == {"t_made": 3}
    # One that exists keeps the partitions that it has.
    assert kafka.make_topics(server, {"t_made": 5, "t_other": 1}) == {"t_made": 3, "t_other": 1}
    known = AdminClient({"bootstrap.servers": address}).list_topics(timeout=10).topics
    assert {name: len(known[name].partitions) for name in ("t_made", "t_other")} == {"t_made": 3, "t_other": 1}
    values = [b"%d" % number for number in range(10)]
    produce(address, "t_made", values)
    assert kafka.message_counts(server, ["t_made", "t_other", "t_nowhere"]) == {"t_made": 10, "t_other": 0, "t_nowhere": 0}
    assert sorted(message.value() for message in kafka.read_all(server, "t_made")) == sorted(values)
    assert list(kafka.read_all(server, "t_other")) == []
    # Of a partition that nothing is said of, all; of a topic that there is not, nothing.
    assert ranges.waiting(server, "t_made|t_nowhere", {"t_made": {"0": 4, "1": 1, "2": 3}, "t_nowhere": {"0": 1}}) == {
        "t_made/0": 0,
        "t_made/1": 2,
        "t_made/2": 0,
    }
    assert sum(ranges.waiting(server, "t_.*", {"t_made": {"0": 4, "1": 1}}).values()) == 5
    with pytest.raises(ServerUnavailable, match="did not make the topic not a name"):
        kafka.make_topics(server, {"not a name": 1})
    assert kafka.make_topics(server, {}) == {}


def test_nobody_there():
    before = time.monotonic()
    with pytest.raises(ServerUnavailable, match=r"Kafka at 127\.0\.0\.1:1 did not answer within 0\.5 s"):
        kafka.wait_for(Connection("127.0.0.1:1"), 0.5, "Kafka")
    assert time.monotonic() - before < 10
