"""Whether topics can be written to, as Kafka tells it beforehand: a send that fails costs seconds to minutes, and holds all others."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient, ConfigEntry, ConfigResource, ResourceType, TopicDescription

from fink_broker.config.sections import KafkaOutput
from fink_broker.connectors.kafka import ANSWER_S, MAX_MESSAGE_BYTES

log = logging.getLogger(__name__)

_FAULTS = {
    KafkaError.UNKNOWN_TOPIC_OR_PART: "it is gone",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "we may not write to it",
    KafkaError.TOPIC_EXCEPTION: "Kafka takes no such name",
}


# A batch of messages that is larger than the topic takes is divided by the Java client, and then Spark neither waits for its parts nor
# hears of those that are not taken (KAFKA-9312). Batches have up to 1 MB; this is far above, whatever compresses unlike what came before.
_AMPLE_BYTES = 16_000_000


@dataclass(frozen=True)
class Topic:
    """A topic as Kafka describes it.

    Parameters
    ----------
    partitions : int
        Their number; 0 if it is gone.
    ample : bool
        Whether it is known to take messages that are much larger than what is sent at a time.
    fault : str
        Why it cannot be written to; empty if nothing is known against it.
    """

    partitions: int = 0
    ample: bool = False
    fault: str = ""


def of_new(output: KafkaOutput) -> dict[str, str]:
    """Settings of a new topic. Messages stay compressed as they came."""
    return {
        "retention.ms": str(output.retention_hours * 3_600_000),
        "max.message.bytes": str(MAX_MESSAGE_BYTES),
        "compression.type": "producer",
    }


def describe(client: AdminClient, names: Iterable[str]) -> dict[str, Topic]:
    """What Kafka says of topics; those of which it does not answer are left out."""
    names = list(names)
    asked = client.describe_topics(TopicCollection(names), include_authorized_operations=True, request_timeout=ANSWER_S)
    settings = client.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in names], request_timeout=ANSWER_S)
    limits = {resource.name: answer for resource, answer in settings.items()}
    found = {}
    for name, answer in asked.items():
        try:
            found[name] = _topic(answer.result(), limits[name])
        except KafkaException as error:
            if error.args[0].code() in _FAULTS:
                found[name] = Topic(fault=_FAULTS[error.args[0].code()])
            else:
                log.warning("Kafka does not answer of %s: %s", name, error.args[0].str())
    return found


def _topic(known: TopicDescription, settings: Future[dict[str, ConfigEntry]]) -> Topic:
    allowed = known.authorized_operations
    if allowed and AclOperation.WRITE not in allowed:
        return Topic(fault=_FAULTS[KafkaError.TOPIC_AUTHORIZATION_FAILED])
    try:
        ample = int(settings.result()["max.message.bytes"].value or 0) >= _AMPLE_BYTES
    except KafkaException as error:
        if error.args[0].code() not in _FAULTS:
            raise
        ample = False  # we may write to it, but not ask what it takes
    return Topic(len(known.partitions), ample)
