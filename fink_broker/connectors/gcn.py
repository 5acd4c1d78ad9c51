"""GCN's Kafka: notices into a folder, a file each, every one once."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

from confluent_kafka import Message, TopicPartition

from fink_broker.config.sections import Notices
from fink_broker.connectors import kafka
from fink_broker.connectors.security import Connection

_GROUP = "fink-notices"
# As names of files that this module has written.
_NAMED = re.compile(r"^\d{13}-.+-\d+-\d+\.notice$")


def fetch(connection: Connection, topics: str, folder: Path, login: Mapping[str, str]) -> int:
    """Bring what is new in the topics into the folder; how many.

    What has been fetched is noted in Kafka, for the consumer group of the broker, after it lies there: one that stops in between fetches a
    message again, under the same name.

    Parameters
    ----------
    connection : Connection
        GCN's Kafka, or another that carries notices.
    topics : str
        Regular expression.
    folder : Path
        Where they go, each with the time at which Kafka took it.
    login : mapping
        Further configuration of the client, see `login`.

    Raises
    ------
    KafkaException, ServerUnavailable
        Kafka does not answer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    with kafka.quiet_consumer(connection, **{"group.id": _GROUP, **login}) as consumer:
        for name, topic in consumer.list_topics(timeout=kafka.ANSWER_S).topics.items():
            if not re.fullmatch(topics, name):
                continue
            places = [TopicPartition(name, partition) for partition in topic.partitions]
            for place in consumer.committed(places, timeout=kafka.ANSWER_S):
                low, high = consumer.get_watermark_offsets(place, timeout=kafka.ANSWER_S)
                start = max(place.offset, low)
                for message in kafka.until(consumer, connection, TopicPartition(name, place.partition, start), high):
                    _keep(message, folder)
                    count += 1
                if start < high:
                    consumer.commit(offsets=[TopicPartition(name, place.partition, high)], asynchronous=False)
    return count


def login(notices: Notices) -> dict[str, str]:
    """How to log in to GCN's Kafka with the id and secret of a client (https://gcn.nasa.gov/docs/client); nothing without them."""
    if not notices.client_id:
        return {}
    return {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.client.id": notices.client_id,
        "sasl.oauthbearer.client.secret": notices.client_secret.get_secret_value(),
        "sasl.oauthbearer.token.endpoint.url": notices.token_url,
    }


def _keep(message: Message, folder: Path) -> None:
    value = message.value()
    if value is None:
        return
    _, milliseconds = message.timestamp()
    file = folder / f"{milliseconds:013d}-{message.topic()}-{message.partition()}-{message.offset()}.notice"
    new = file.with_name(f".{file.name}")
    new.write_bytes(value)
    os.utime(new, (milliseconds / 1000, milliseconds / 1000))
    new.rename(file)


def forget(folder: Path, days: float) -> None:
    """Remove the fetched notices that are older than so many days; not those that somebody else has put there."""
    oldest = 1000 * (time.time() - 86_400 * days)
    for file in folder.glob("*.notice"):
        if _NAMED.match(file.name) and int(file.name[:13]) < oldest:
            file.unlink(missing_ok=True)
