"""GCN's Kafka: notices into a folder, a file each, every one once."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from confluent_kafka import Message, TopicPartition

from fink_broker.connectors import kafka
from fink_broker.connectors.security import Connection

_GROUP = "fink-notices"
# As names of files that this module has written.
_NAMED = re.compile(r"^\d{13}-.+-\d+-\d+\.notice$")


class Inbox:
    """Brings notices from topics into a folder; it keeps its connection.

    Parameters
    ----------
    connection : Connection
        GCN's Kafka, or another that carries notices.
    topics : str
        Regular expression.
    folder : Path
        Where they go, each with the time at which Kafka took it.
    more : mapping, optional
        Further configuration of the client, see `login`.
    """

    def __init__(self, connection: Connection, topics: str, folder: Path, more: Mapping[str, str] | None = None) -> None:
        self._connection, self._topics, self._folder = connection, topics, folder
        self._stack = ExitStack()
        self._consumer = self._stack.enter_context(kafka.quiet_consumer(connection, **{"group.id": _GROUP, **(more or {})}))

    def fetch(self) -> int:
        """Bring what is new; how many.

        What has been brought is noted in Kafka, for the broker's consumer group, after it lies there: one that stops in between brings a
        message again, under the same name.

        Raises
        ------
        KafkaException, ServerUnavailable
            Kafka does not answer.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        count = 0
        for name, topic in self._consumer.list_topics(timeout=kafka.SOON_S).topics.items():
            places = [TopicPartition(name, partition) for partition in topic.partitions] if re.fullmatch(self._topics, name) else []
            for place in self._consumer.committed(places, timeout=kafka.ANSWER_S) if places else ():
                low, high = self._consumer.get_watermark_offsets(place, timeout=kafka.ANSWER_S)
                start = max(place.offset, low)
                for message in kafka.until(self._consumer, self._connection, TopicPartition(name, place.partition, start), high):
                    _keep(message, self._folder)
                    count += 1
                if start < high:
                    self._consumer.commit(offsets=[TopicPartition(name, place.partition, high)], asynchronous=False)
        return count

    def close(self) -> None:
        """Let the connection go."""
        self._stack.close()


def login(connection: Connection, token_url: str) -> dict[str, str]:
    """How a client of GCN gets in (https://gcn.nasa.gov/docs/client): with tokens; nothing for other mechanisms."""
    if connection.mechanism != "OAUTHBEARER":
        return {}
    return {
        "sasl.oauthbearer.method": "oidc",
        "sasl.oauthbearer.client.id": connection.username,
        "sasl.oauthbearer.client.secret": connection.password.get_secret_value(),
        "sasl.oauthbearer.token.endpoint.url": token_url,
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
