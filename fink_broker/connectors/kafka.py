"""Kafka: options for Spark's reader and writer, topics, and waiting for a server that is not there yet."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.readwriter import DataStreamReader

from fink_broker.connectors.security import Connection
from fink_broker.errors import ConfigError, ServerUnavailable
from fink_broker.infra.retry import patiently

log = logging.getLogger(__name__)

# Larger than any alert: what telescope and users send must fit through every buffer on the way.
MAX_MESSAGE_BYTES = 32_000_000

# How long to wait for an answer, and who asks and is not to wait.
ANSWER_S = 10.0
SOON_S = 3.0

# Messages of one topic share their key (the schema): large batches let zstd fold it, those of all topics at once. Nobody waits for
# the linger, because Spark flushes at the end of a task.
_PRODUCER = {
    "kafka.compression.type": "zstd",
    "kafka.batch.size": "1000000",
    "kafka.linger.ms": "2000",
    "kafka.buffer.memory": "64000000",
    "kafka.max.request.size": str(MAX_MESSAGE_BYTES),
    "kafka.acks": "all",
    "kafka.enable.idempotence": "true",
}

# What a task reads ahead: of larger pieces it would hold as much again. A message that is larger still comes.
_FETCH_BYTES = str(4_000_000)
FETCH = {"kafka.fetch.max.bytes": _FETCH_BYTES, "kafka.max.partition.fetch.bytes": _FETCH_BYTES}
# What Kafka has given up before it was read must not end the stream, now and at every start: monitoring/gaps.py counts it.
GO_ON = {"failOnDataLoss": "false"}


def stream(spark: SparkSession, connection: Connection, topics: str, starting: str, max_messages: int) -> DataFrame:
    """Stream of messages.

    Parameters
    ----------
    spark : SparkSession
        Session.
    connection : Connection
        The Kafka.
    topics : str
        Regular expression of topic names; topics made later join in.
    starting : str
        ``earliest`` or ``latest``, for a query without a checkpoint.
    max_messages : int
        Messages a batch takes at most.

    Returns
    -------
    DataFrame
        `value` (binary), `topic`, `partition`, `offset`, `kafkaTimestamp`.
    """
    return columns(_reader(spark, connection, topics, starting, max_messages).options(**GO_ON).load())


def columns(messages: DataFrame) -> DataFrame:
    """What is used of messages."""
    return messages.select("value", "topic", "partition", "offset", messages["timestamp"].alias("kafkaTimestamp"))


def whole(spark: SparkSession, connection: Connection, topics: str, starting: str, max_messages: int) -> DataFrame:
    """Stream of messages with all that they came with: `topic`, `partition`, `key`, `value`, `headers`, `timestamp`; see `stream`."""
    messages = _reader(spark, connection, topics, starting, max_messages).option("includeHeaders", True).load()
    return messages.select("topic", "partition", "key", "value", "headers", "timestamp")


def _reader(spark: SparkSession, connection: Connection, topics: str, starting: str, max_messages: int) -> DataStreamReader:
    return (
        spark.readStream.format("kafka")
        .options(**connection.spark, **FETCH)
        # Spark looks for the expression anywhere in a name.
        .option("subscribePattern", f"^(?:{topics})$")
        .option("startingOffsets", starting)
        .option("maxOffsetsPerTrigger", max_messages)
    )


def write(messages: DataFrame, connection: Connection) -> None:
    """Write messages (`topic`, `key`, `value`, `partition`, `headers`) and wait until all are acknowledged, at least once.

    The first that is not taken ends it, after four tries: see `services.delivery`.
    """
    messages.write.format("kafka").options(**connection.spark, **_PRODUCER).save()


def admin(connection: Connection, **more: Any) -> AdminClient:
    """A client for what changes a Kafka."""
    # librdkafka prints its own connection errors to stderr: they come to us as exceptions too.
    return AdminClient({**connection.client, "log_level": 0, "socket.timeout.ms": 5000, **more}, logger=log)


def wait_for(connection: Connection, seconds: float, what: str) -> None:
    """Wait until Kafka answers, with back-off.

    Raises
    ------
    ServerUnavailable
        It did not answer in time, or does not let us in, which time does not mend.
    ConfigError
        A certificate or key cannot be used.
    """
    refusals: list[str] = []

    def note(error: KafkaError) -> None:
        if error.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL):
            refusals.append(error.str())

    def ask() -> None:
        try:
            client = admin(connection, error_cb=note)
        except KafkaException as error:
            raise ConfigError(f"the certificates or keys for {what} at {connection} are of no use: {error.args[0].str()}") from None
        try:
            client.list_topics(timeout=min(5.0, seconds))
        except KafkaException:
            client.poll(0)
            if refusals:
                who = f"{connection.username}, {connection.mechanism}" if connection.username else "us"
                raise ServerUnavailable(f"{what} at {connection} does not let {who} in: {refusals[-1]}") from None
            raise

    patiently(ask, (KafkaException,), seconds, f"{what} at {connection}")


def make_topics(connection: Connection, topics: Mapping[str, int], config: Mapping[str, str] | None = None) -> dict[str, int]:
    """Make the topics that do not exist.

    Parameters
    ----------
    connection : Connection
        The Kafka.
    topics : mapping
        Topic to the number of partitions for a new one.
    config : mapping, optional
        Settings of new topics.

    Returns
    -------
    dict
        Topic to the number of partitions that it has.

    Raises
    ------
    ServerUnavailable
        Kafka did not make a topic; the message names it.
    """
    client = admin(connection)
    existing = client.list_topics(timeout=10).topics
    new = [
        NewTopic(name, num_partitions=n, replication_factor=-1, config=dict(config or {}))
        for name, n in topics.items()
        if name not in existing
    ]
    for name, future in client.create_topics(new).items() if new else ():
        try:
            future.result(30)
        except KafkaException as error:
            raise ServerUnavailable(f"Kafka at {connection} did not make the topic {name}: {error.args[0].str()}") from error
    return {name: len(existing[name].partitions) if name in existing else n for name, n in topics.items()}


def partitions(connection: Connection, topics: str) -> dict[str, int]:
    """Topics whose names match, to their number of partitions."""
    known = admin(connection).list_topics(timeout=ANSWER_S).topics
    return {name: len(topic.partitions) for name, topic in known.items() if re.fullmatch(topics, name)}


def message_counts(connection: Connection, topics: Sequence[str]) -> dict[str, int]:
    """Messages in each topic: end minus beginning over its partitions; a topic that does not exist has none."""
    with quiet_consumer(connection) as consumer:
        known = consumer.list_topics(timeout=ANSWER_S).topics
        counts = dict.fromkeys(topics, 0)
        for topic in topics:
            for partition in known[topic].partitions if topic in known else ():
                low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=ANSWER_S)
                counts[topic] += high - low
        return counts


def read_all(connection: Connection, topic: str) -> Iterator[Message]:
    """The messages that a topic holds now, partition after partition."""
    with quiet_consumer(connection) as consumer:
        metadata = consumer.list_topics(topic, timeout=ANSWER_S).topics[topic]
        for partition in metadata.partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=ANSWER_S)
            yield from until(consumer, connection, TopicPartition(topic, partition, low), high)


def until(consumer: Consumer, connection: Connection, start: TopicPartition, end: int) -> Iterator[Message]:
    """The messages of a partition from one offset to before another."""
    consumer.assign([start])
    position = start.offset
    while position < end:
        message = consumer.poll(ANSWER_S)
        if message is None:
            raise ServerUnavailable(f"Kafka at {connection} does not give the messages of {start.topic} from offset {position} on")
        if message.error():
            raise KafkaException(message.error())
        position = (message.offset() or 0) + 1
        yield message


def beginnings(connection: Connection, topics: str) -> Iterator[tuple[str, int, int]]:
    """Topic, partition and offset of the oldest message of each partition that has one, of the topics that match."""
    with quiet_consumer(connection) as consumer:
        for name, topic in sorted(consumer.list_topics(timeout=ANSWER_S).topics.items()):
            for partition in topic.partitions if re.fullmatch(topics, name) else ():
                low, high = consumer.get_watermark_offsets(TopicPartition(name, partition), timeout=ANSWER_S)
                if low < high:
                    yield name, partition, low


def messages(connection: Connection, topic: str, partition: int, offset: int, count: int) -> Iterator[bytes | None]:
    """At most so many messages from an offset on."""
    with quiet_consumer(connection) as consumer:
        place = TopicPartition(topic, partition, offset)
        _, high = consumer.get_watermark_offsets(place, timeout=ANSWER_S)
        yield from (message.value() for message in until(consumer, connection, place, min(high, offset + count)))


@contextmanager
def quiet_consumer(connection: Connection, **more: Any) -> Iterator[Consumer]:
    """A consumer that leaves no trace: offsets are not committed, no group is joined."""
    consumer = Consumer({**connection.client, "group.id": "fink", "enable.auto.commit": False, "log_level": 0, **more}, logger=log)
    try:
        yield consumer
    finally:
        consumer.close()
