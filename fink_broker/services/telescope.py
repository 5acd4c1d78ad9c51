"""The telescope's Kafka, or with ``--simulator`` the simulator's topic on the local one."""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession

from fink_broker.connectors import kafka
from fink_broker.connectors.security import Connection
from fink_broker.infra import kafka as kafka_server
from fink_broker.services.context import Context

_CONNECTION = "telescope: connection"  # in the context's memory


def topics(context: Context) -> str:
    """Regular expression of the topics."""
    return context.settings.simulator.topic if context.options.simulator else context.settings.kafka.input.topics


def connection(context: Context) -> Connection:
    """Where it is, and how to log in; as it was when the service started: a Kafka that is away meanwhile is waited for by who asks it."""
    if _CONNECTION not in context.memory:
        ends = context.settings.kafka
        end = ends.simulated if context.options.simulator else ends.input
        context.memory[_CONNECTION] = kafka_server.connection(context.settings, end)
    found: Connection = context.memory[_CONNECTION]
    return found


def stream(context: Context, starting: str, most: int, spark: SparkSession | None = None) -> DataFrame:
    """Its messages, see `connectors.kafka.stream`."""
    return kafka.stream(spark or context.spark, connection(context), topics(context), starting, most)
