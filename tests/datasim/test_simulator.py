"""The simulator: against the real Kafka, and its errors."""

import io
import time
from pathlib import Path

import fastavro
import pytest
from confluent_kafka import Consumer, TopicPartition

from datasim.night import alerts
from fink_broker.config import Settings
from fink_broker.errors import ConfigError, ServerUnavailable
from fink_broker.services import simulator

NIGHT = "20260322"


def with_simulator(settings: Settings, **values: object) -> Settings:
    return settings.model_copy(update={"simulator": settings.simulator.model_copy(update=values)})


def consume(address: str, topic: str) -> list:
    """Every message of the topic, partition by partition."""
    consumer = Consumer({"bootstrap.servers": address, "group.id": "test", "enable.auto.commit": False})
    try:
        partitions = [TopicPartition(topic, p, 0) for p in consumer.list_topics(topic, timeout=10).topics[topic].partitions]
        ends = sum(consumer.get_watermark_offsets(p, timeout=10)[1] for p in partitions)
        consumer.assign(partitions)
        found, deadline = [], time.monotonic() + 30
        while len(found) < ends and time.monotonic() < deadline:
            found += consumer.consume(ends - len(found), timeout=1)
        return found
    finally:
        consumer.close()


@pytest.mark.integration
@pytest.mark.parametrize("version", ["3.3", "4.02"])
def test_what_was_sent_is_in_kafka(settings, kafka_server, templates, version):
    topic = f"sim-{version}"
    some = with_simulator(settings, topic=topic, alerts=60, burst=20, cadence_seconds=0.3, schema_version=version)
    before = time.time()
    sent = simulator.send(some, NIGHT)
    messages = consume(kafka_server.address, topic)
    assert (sent.alerts, sent.topic, sent.night) == (len(messages), topic, NIGHT) == (60, topic, NIGHT)
    assert sent.bytes == sum(len(message.value()) for message in messages)
    assert before <= sent.first_sent <= before + 30
    assert sent.seconds >= 0.6
    assert len({message.partition() for message in messages}) == settings.kafka.output.partitions
    assert {message.key() for message in messages} == {None}
    times = [message.timestamp()[1] / 1000 for message in messages]
    assert sent.first_sent - 0.001 <= min(times)
    assert 0.6 <= max(times) - min(times) <= sent.seconds + 0.1
    expected = {alert["candid"]: alert for alert in alerts(templates, 60, NIGHT, schema_version=version, burst=20)}
    for message in messages:
        (alert,) = fastavro.reader(io.BytesIO(message.value()))
        made = expected.pop(alert["candid"])
        assert alert["objectId"] == made["objectId"]
        assert alert["candidate"]["jd"] == made["candidate"]["jd"]
        assert alert["cutoutScience"] == made["cutoutScience"]
    assert expected == {}


@pytest.mark.integration
def test_as_a_service_it_prints_one_line(settings, kafka_server, capsys):
    some = with_simulator(settings, topic="sim-run", alerts=3, cadence_seconds=0)
    assert simulator.run(some, NIGHT) == 0
    said = capsys.readouterr().out
    assert said.startswith("sent 3 alerts of ")
    assert "to sim-run, night 20260322" in said
    assert said.count("\n") == 1
    assert simulator.send(some, count=2).night == simulator.tonight()
    assert len(consume(kafka_server.address, "sim-run")) == 5


@pytest.mark.integration
def test_an_alert_that_kafka_refuses_is_an_error(settings, kafka_server):
    """Kafka itself refuses what is larger than the topic allows: not all alerts are acknowledged."""
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    admin = AdminClient({"bootstrap.servers": kafka_server.address})
    admin.create_topics([NewTopic("sim-small", 1, 1, config={"max.message.bytes": "1000"})])["sim-small"].result(30)
    with pytest.raises(ServerUnavailable, match="acknowledged 0 of 2 alerts"):
        simulator.send(with_simulator(settings, topic="sim-small", alerts=2, cadence_seconds=0), NIGHT)


def test_no_kafka_is_one_line(tmp_path):
    with pytest.raises(ServerUnavailable, match="fink start kafka"):
        simulator.send(Settings(home=tmp_path), NIGHT)


def test_missing_templates_are_named(tmp_path):
    some = with_simulator(Settings(home=tmp_path), templates=Path("/nowhere/t.parquet"))
    with pytest.raises(ConfigError, match=r"/nowhere/t\.parquet"):
        next(simulator.messages(some, NIGHT, 1))


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    path = tmp_path / "t.parquet"
    path.write_text("alerts!")
    with pytest.raises(ConfigError, match="cannot read the templates"):
        next(simulator.messages(with_simulator(Settings(home=tmp_path), templates=path), NIGHT, 1))


def test_templates_of_an_older_schema_are_refused(tmp_path, shared):
    from datasim import make_templates

    path = tmp_path / "old.parquet"
    make_templates.write(make_templates.table_of_packets(shared / "ztf_3.2_31", 5), path)
    old = with_simulator(Settings(home=tmp_path), templates=path, schema_version="3.2")
    assert len(list(simulator.messages(old, NIGHT, 10))) == 10
    with pytest.raises(ConfigError, match=r"do not fit schema 4\.02: .*drbversion"):
        next(simulator.messages(with_simulator(old, schema_version="4.02"), NIGHT, 1))
