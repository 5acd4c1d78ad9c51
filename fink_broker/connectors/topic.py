"""A topic as a whole, for what is handed over once: read back, or deleted."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException
from pyspark.sql import DataFrame, SparkSession

from fink_broker.connectors.kafka import ANSWER_S, FETCH, admin
from fink_broker.connectors.security import Connection


def read(spark: SparkSession, connection: Connection, topic: str) -> DataFrame:
    """The messages that a topic holds now, with their headers."""
    reader = spark.read.format("kafka").options(**connection.spark, **FETCH)
    return reader.option("subscribe", topic).option("includeHeaders", True).load()


def delete(connection: Connection, topics: Sequence[str]) -> None:
    """Delete topics; those that do not exist are passed over."""
    client = admin(connection)  # what it has been asked ends with it
    for future in client.delete_topics(list(topics)).values():
        try:
            future.result(ANSWER_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
