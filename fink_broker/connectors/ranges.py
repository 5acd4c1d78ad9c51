"""Ranges of Kafka's offsets: what is in them, and what is not there any more."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from pyspark.sql import DataFrame, SparkSession

from fink_broker.connectors.kafka import ANSWER_S, FETCH, GO_ON, columns, quiet_consumer
from fink_broker.connectors.replay import MESSAGE
from fink_broker.connectors.security import Connection
from fink_broker.errors import ServerUnavailable

# Topic to partition to offset, as Spark writes it.
Offsets = dict[str, dict[str, int]]


class Range(NamedTuple):
    """Offsets of a partition, from `start` to the one before `until`."""

    topic: str
    partition: int
    start: int
    until: int

    @property
    def size(self) -> int:
        """How many."""
        return self.until - self.start


def between(before: Offsets, after: Offsets) -> list[Range]:
    """What lies between two reports of offsets; a partition that is new, or was made anew, begins at 0."""
    found = []
    for topic, partitions in sorted(after.items()):
        for number, until in sorted(partitions.items()):
            start = before.get(topic, {}).get(number, 0)
            found.append(Range(topic, int(number), start if start <= until else 0, until))
    return found


def batch(spark: SparkSession, connection: Connection, ranges: Sequence[Range]) -> DataFrame:
    """The messages of some ranges, in the columns of `kafka.stream`; what Kafka does not have any more is passed over."""
    with quiet_consumer(connection) as consumer:
        there = [one._replace(start=max(one.start, _earliest(consumer, one))) for one in ranges]
    starts, ends = Offsets(), Offsets()
    for one in there:
        if one.size > 0:
            starts.setdefault(one.topic, {})[str(one.partition)] = one.start
            ends.setdefault(one.topic, {})[str(one.partition)] = one.until
    if not starts:
        return spark.createDataFrame([], MESSAGE)
    assigned = {topic: [int(number) for number in partitions] for topic, partitions in starts.items()}
    places = {"assign": assigned, "startingOffsets": starts, "endingOffsets": ends}
    options = {name: json.dumps(value) for name, value in places.items()}
    return columns(spark.read.format("kafka").options(**connection.spark, **FETCH, **GO_ON, **options).load())


def waiting(connection: Connection, topics: str, reached: Offsets, patience_s: float = ANSWER_S) -> dict[str, int]:
    """Messages in the topics that match, from the given offsets on, or from the beginning of a partition that is not among them.

    Returns
    -------
    dict
        ``topic/partition`` to number.
    """
    with quiet_consumer(connection) as consumer:
        found = {}
        for name, topic in consumer.list_topics(timeout=patience_s).topics.items():
            for partition in topic.partitions if re.fullmatch(topics, name) else ():
                low, high = consumer.get_watermark_offsets(TopicPartition(name, partition), timeout=patience_s)
                found[f"{name}/{partition}"] = max(0, high - max(low, reached.get(name, {}).get(str(partition), low)))
        return found


def next_messages(connection: Connection, places: Sequence[Range]) -> list[tuple[int, int]]:
    """For each range, the earliest offset of its partition, and that of the first message in it; the range's end where there is none."""
    if not places:
        return []
    with quiet_consumer(connection, **{"enable.partition.eof": True, "isolation.level": "read_uncommitted"}) as consumer:
        return [(earliest := _earliest(consumer, one), _first(consumer, connection, one, earliest)) for one in places]


def _first(consumer: Consumer, connection: Connection, place: Range, earliest: int) -> int:
    if earliest >= place.until:
        return place.until
    consumer.assign([TopicPartition(place.topic, place.partition, max(place.start, earliest))])
    message = consumer.poll(ANSWER_S)
    if message is None:
        raise ServerUnavailable(f"Kafka at {connection} does not give the messages of {place.topic} from offset {place.start} on")
    error = message.error()
    if error and error.code() != KafkaError._PARTITION_EOF:
        raise KafkaException(error)
    return place.until if error else min(message.offset() or 0, place.until)


def _earliest(consumer: Consumer, place: Range) -> int:
    """The earliest offset of a partition; the end of the range if there is no such partition any more."""
    topic = consumer.list_topics(timeout=ANSWER_S).topics.get(place.topic)
    if topic is None or place.partition not in topic.partitions:
        return place.until
    low, _ = consumer.get_watermark_offsets(TopicPartition(place.topic, place.partition), timeout=ANSWER_S)
    return int(low)
