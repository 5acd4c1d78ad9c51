"""Delivery on the real Kafka: a topic that takes nothing, or not all, costs the others nothing, and nothing is lost."""

from __future__ import annotations

import io
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import fastavro
import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from fink_broker import surveys
from fink_broker.commands.status_text import table
from fink_broker.config import Settings
from fink_broker.connectors import kafka as client
from fink_broker.connectors import parquet, topics
from fink_broker.connectors.security import Connection
from fink_broker.infra import kafka, ports, processes
from fink_broker.monitoring.status import status
from fink_broker.services import delivery, distribution
from fink_broker.services.context import Context, RunOptions
from tests.integration.conftest import kill_tree

pytestmark = pytest.mark.integration

NIGHT, NEXT = "20260322", "20260323"
SMALL_BYTES = 4_000
# A task's messages are in Kafka at the latest when it ends: that of the first alerts ends at once, the other one takes seconds.
QUICK = 20
SLOW = f"import time\n\ndef slow(candid):\n    time.sleep(0.025 * (candid > {QUICK}).sum())\n    return candid > 0\n"
COLUMNS = (
    "candid long, objectId string, candidate struct<jd: double, programid: int>, prv_candidates array<struct<jd: double, programid: int>>"
)
Alert = tuple[int, bytes, str]


class Science:
    """A home whose science alerts the tests write, and the distribution that reads them."""

    def __init__(self, spark: SparkSession, folder: Path, kafka: dict[str, object], **distributing: object) -> None:
        self.spark, self.folder = spark, folder
        values = {
            "home": str(folder / "a home"),
            "kafka": kafka,
            "distribution": {"retry_seconds": 0.2, "trigger_seconds": 0.2, **distributing},
        }
        self.filters = [str(name) for name in distributing["filters"]]  # type: ignore[attr-defined]
        (folder / "slow.py").write_text(SLOW)
        own = [{"name": name, **({"file": str(folder / "slow.py")} if name == "slow" else {"sql": "true"})} for name in self.filters]
        self.settings = Settings.model_validate({**values, "filters": own})

    def append(self, *alerts: Alert) -> None:
        now = datetime.now(UTC)
        rows = [(candid, f"o{candid}", (2461121.5, 1), [], blob, now, None, None, night) for candid, blob, night in alerts]
        columns = (
            f"{COLUMNS}, blob binary, brokerIngestTimestamp timestamp, science_errors array<string>, science_cost string, night string"
        )
        frame: DataFrame = self.spark.createDataFrame(rows, columns)
        source = str(self.folder / "source")
        frame.coalesce(1).write.mode("append").parquet(source)
        stream = self.spark.readStream.schema(frame.schema).parquet(source)
        sink = parquet.sink(stream, self.settings.science, self.settings.checkpoint("raw2science"), ["night"])
        sink.trigger(availableNow=True).start().awaitTermination()

    def context(self, *, once: bool = True) -> Context:
        return Context(self.spark, self.settings, surveys.get("ztf"), RunOptions(once=once))

    def run(self) -> None:
        """Distribute all that is there."""
        context = self.context()
        query = distribution.start(context)
        query.awaitTermination()
        assert query.exception() is None
        distribution.settle(context, query)

    def ids(self, name: str) -> Counter[int]:
        """Alerts on a topic, by id."""
        found: Counter[int] = Counter()
        for message in client.read_all(kafka.connection(self.settings, self.settings.kafka.output), f"fink_{name}_ztf"):
            key, value = message.key(), message.value()
            assert isinstance(key, bytes)
            assert isinstance(value, bytes)
            alert = fastavro.schemaless_reader(io.BytesIO(value), fastavro.parse_schema(json.loads(key)), None)
            assert isinstance(alert, dict)
            assert message.headers() == [("fink-id", str(alert["candid"]).encode())]
            found[alert["candid"]] += 1
        return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A Kafka that can be restarted where it is."""
    settings = Settings.model_validate({"home": str(tmp_path_factory.mktemp("kafka")), "kafka": {"embedded": {"port": ports.free()}}})
    kafka.start(settings)
    yield settings
    processes.stop(settings, kafka.NAME, say=lambda line: None)


@pytest.fixture
def science(spark: SparkSession, server: Settings, tmp_path: Path) -> Callable[..., Science]:
    def make(*filters: str) -> Science:
        address = kafka.connection(server, server.kafka.output).servers
        return Science(spark, tmp_path, {"output": {"servers": address, "partitions": 3, "retention_hours": 5}}, filters=filters)

    return make


def until(condition: Callable[[], bool], query: StreamingQuery | None = None) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        assert query is None or query.exception() is None
        time.sleep(0.05)


@pytest.fixture(scope="module")
def admin(server: Settings) -> AdminClient:
    return client.admin(kafka.connection(server, server.kafka.output))


def test_a_message_that_is_too_large_is_dropped_for_its_topic_alone(science, monkeypatch: pytest.MonkeyPatch):
    one = science("any", "small")
    small = "fink_small_ztf"
    where = kafka.connection(one.settings, one.settings.kafka.output)
    assert client.make_topics(where, {small: 1}, {"max.message.bytes": str(SMALL_BYTES)}) == {small: 1}
    # What is large, but not when it is compressed, is not lost.
    one.append((1, b"", NIGHT), (2, os.urandom(3 * SMALL_BYTES), NIGHT), (3, b"a" * 3 * SMALL_BYTES, NIGHT))
    one.run()
    assert one.ids("any") == Counter([1, 2, 3])
    assert one.ids("small") == Counter([1, 3])
    # Its limit has been changed this very moment: the first send fails.
    monkeypatch.setattr(delivery, "describe", lambda _, names: {name: topics.Topic(1, ample=True) for name in names})
    one.append((4, os.urandom(3 * SMALL_BYTES), NIGHT))
    one.run()
    assert one.ids("any").keys() == {1, 2, 3, 4}
    assert one.ids("small") == Counter([1, 3])
    state = status(one.settings)["services"]["distribution"]
    assert (state["in"], state["out"], state["lag"], state["ok"], state["held"]) == (4, 4, 0, True, {})
    assert state["too_large"] == {small: {"messages": 2, "newest": ["4"]}}
    assert f"  distribution: {small} did not take 2 messages, too large for it; the newest: alert 4" in table(status(one.settings))


def test_topics_are_made_as_configured_and_each_night_is_counted(science, admin: AdminClient):
    one = science("made")
    one.append((1, b"", NIGHT), (2, b"", NIGHT), (3, b"", NEXT))
    before = client.message_counts(
        kafka.connection(one.settings, one.settings.kafka.output), [f"fink_ztf_{night}" for night in (NIGHT, NEXT)]
    )
    one.run()
    known = admin.list_topics(timeout=10).topics
    assert (len(known["fink_made_ztf"].partitions), len(known[f"fink_ztf_{NEXT}"].partitions)) == (3, 1)
    resource = ConfigResource(ResourceType.TOPIC, "fink_made_ztf")
    found = admin.describe_configs([resource])[resource].result()
    wanted = {"retention.ms": str(5 * 3_600_000), "max.message.bytes": "32000000", "compression.type": "producer"}
    assert {name: found[name].value for name in wanted} == wanted
    where = kafka.connection(one.settings, one.settings.kafka.output)
    after = client.message_counts(where, list(before))
    assert {topic: after[topic] - before[topic] for topic in after} == {f"fink_ztf_{NIGHT}": 2, f"fink_ztf_{NEXT}": 1}
    [message] = client.read_all(where, f"fink_ztf_{NEXT}")
    key, value = message.key(), message.value()
    assert isinstance(key, bytes)
    assert isinstance(value, bytes)
    assert fastavro.schemaless_reader(io.BytesIO(value), fastavro.parse_schema(json.loads(key)), None) == {"objectId": "o3"}


def test_a_topic_that_is_gone_holds_nobody_and_gets_what_it_missed(science, admin: AdminClient):
    one = science("steady", "gone")
    context = one.context(once=False)
    one.append((1, b"", NIGHT))
    query = distribution.start(context)
    try:
        until(lambda: one.ids("gone").keys() == {1}, query)
        admin.delete_topics(["fink_gone_ztf"])["fink_gone_ztf"].result(20)
        for number in (2, 3):  # two batches, two pieces
            one.append((number, b"", NIGHT))
            until(lambda number=number: one.ids("steady").keys() == set(range(1, number + 1)), query)
        until(lambda: status(one.settings)["services"]["distribution"]["in"] == 3, query)
        state = status(one.settings)
        [(topic, held)] = state["services"]["distribution"]["held"].items()
        assert (topic, held["reason"], held["lag"]) == ("fink_gone_ztf", "it is gone", 2)
        assert f"  distribution: HELD fink_gone_ztf since {held['since']}: it is gone; 2 alerts wait to be looked through for it" in table(
            state
        )
    finally:
        query.stop()
    # Another start: what is noted is not forgotten, and the topic is there again.
    one.append((4, b"", NIGHT))
    one.run()
    assert one.ids("steady") == Counter([1, 2, 3, 4])
    assert one.ids("gone") == Counter([2, 3, 4])
    assert status(one.settings)["services"]["distribution"]["held"] == {}


def test_kafka_restarts_in_mid_batch_and_nothing_is_lost(science, server: Settings, spark: SparkSession):
    """Last: it is every test's Kafka."""
    one = science("slow")
    before = spark.conf.get("spark.sql.execution.arrow.maxRecordsPerBatch")
    sent = range(1, 301)
    for some in (sent[:QUICK], sent[QUICK:]):  # a file each, and so a task each
        one.append(*[(number, b"", NIGHT) for number in some])
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "5")
    try:
        query = distribution.start(one.context())
    finally:
        spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", before)
    where = Connection(kafka.connection(server, server.kafka.output).servers)
    until(lambda: client.message_counts(where, ["fink_slow_ztf"])["fink_slow_ztf"] >= QUICK, query)
    running = processes.find(server, kafka.NAME)
    assert running is not None
    kill_tree(running.pid)
    assert query.isActive
    kafka.start(server)
    query.awaitTermination(120)
    assert not query.isActive
    assert query.exception() is None
    assert one.ids("slow").keys() == set(sent)
    assert status(one.settings)["services"]["distribution"]["ok"]
