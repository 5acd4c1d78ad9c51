"""mirror: the telescope's messages on to another Kafka as they came, for other brokers; at least once, nothing is decoded."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery

from fink_broker.config import Settings
from fink_broker.connectors import forward, kafka
from fink_broker.connectors.security import Connection
from fink_broker.errors import ConfigError
from fink_broker.infra.kafka import connection
from fink_broker.services import telescope
from fink_broker.services.context import Context, trigger

NAME = "mirror"

# Messages that are in Python at a time.
_SLICE = 100


def start(context: Context) -> StreamingQuery:
    """Start the query."""
    settings = context.settings.mirror
    telescopes, target = telescope.connection(context), connection(context.settings, settings)
    topics = telescope.topics(context) if context.options.simulator or not settings.topics else settings.topics
    # Of all that a batch could see: a topic that the telescope makes later is made there too.
    targets(telescopes, target, topics, settings.prefix)
    spark = context.spark.newSession()
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", _SLICE)
    starting = context.settings.kafka.input.starting_offsets
    messages = kafka.whole(spark, telescopes, topics, starting, settings.max_messages_per_trigger)

    def batch(messages: DataFrame, _number: int) -> None:
        send(messages, target, targets(telescopes, target, topics, settings.prefix), context.settings)

    sink = messages.writeStream.foreachBatch(batch).option("checkpointLocation", str(context.settings.checkpoint(NAME)))
    return sink.queryName(NAME).trigger(**trigger(context.options, settings.trigger_seconds)).start()


def targets(source: Connection, target: Connection, topics: str, prefix: str) -> dict[str, tuple[str, int]]:
    """Topic to its name at the target and the number of partitions there; those that are not there are made with as many as here.

    Raises
    ------
    ConfigError
        What is sent would be read again.
    """
    here = kafka.partitions(source, topics)
    again = [topic for topic in here if source.servers == target.servers and re.fullmatch(topics, prefix + topic)]
    if again:
        raise ConfigError(f"[mirror] would read {prefix}{again[0]} again, which it sends to {target}: set another prefix, or other servers")
    there = kafka.make_topics(target, {prefix + topic: number for topic, number in here.items()})
    return {topic: (prefix + topic, there[prefix + topic]) for topic in here}


def send(messages: DataFrame, target: Connection, places: Mapping[str, tuple[str, int]], settings: Settings) -> int:
    """Send a batch of messages (see `connectors.kafka.whole`) and wait until all are acknowledged; how many."""
    # Spark tries a task four times: together they are as patient as anybody else.
    task = functools.partial(forward.send, connection=target, targets=places, patience_s=settings.wait.seconds / 4)
    exact = messages.withColumn("timestamp", F.unix_millis("timestamp"))
    return sum(row.sent for row in exact.mapInArrow(task, forward.SENT).collect())
