"""How many messages wait in Kafka for a service, partition by partition."""

from __future__ import annotations

import re

from confluent_kafka import KafkaException

from fink_broker.connectors import backlog, kafka, parquet
from fink_broker.connectors.ranges import waiting
from fink_broker.connectors.sparklog import newest, offsets
from fink_broker.errors import ServerUnavailable
from fink_broker.infra.kafka import connection
from fink_broker.monitoring.shelf import Shelf

FROM_KAFKA = ("stream2raw", "mirror")


def by_partition(shelf: Shelf, service: str) -> dict[str, int] | None:
    """Messages in the topics that a service has read from, that it has not taken in yet.

    Returns
    -------
    dict or None
        ``topic/partition`` to number; None if Kafka does not answer. What was left to a backlog's query is not among them.
    """
    settings = shelf.settings
    checkpoint = settings.checkpoint(service)
    taken = backlog.taken(settings.backlog, newest(settings.raw / parquet.LOG))
    batch = taken if service == "stream2raw" else newest(checkpoint / "commits")
    if batch < 0:
        return {}
    reached = offsets(checkpoint, batch)
    # Read with --simulator or not: the topics tell.
    end = settings.kafka.simulated if list(reached) == [settings.simulator.topic] else settings.kafka.input
    try:
        return waiting(connection(settings, end), "|".join(map(re.escape, reached)), reached, kafka.SOON_S)
    except (ServerUnavailable, KafkaException):
        return None
