"""Topics read by one reader with a memory: a consumer group whose offsets are committed after what was read has been delivered."""

from __future__ import annotations

import logging
import re
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Literal, Self

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from fink_broker.connectors import kafka
from fink_broker.connectors.ranges import Offsets
from fink_broker.connectors.security import Connection

log = logging.getLogger(__name__)

_LOOK_S = 5.0
# What waits in memory; a topic of alerts of 85 KB is read far faster than others take them.
_QUEUE_KB = 8_192


class Reader:
    """Reads all topics that match, new ones too.

    Partitions are assigned and not subscribed to: a reader that waits for hours for somebody to take its messages does not lose them
    to a rebalance, and one that was killed goes on at once.

    Parameters
    ----------
    connection : Connection
        The Kafka.
    topics : str
        Regular expression.
    group : str
        Consumer group.
    starting : {"latest", "earliest"}
        Where the group begins that has committed nothing yet; topics that are made later are read from their beginning.
    keep : bool
        Commit; without, the group stays where it is.
    """

    def __init__(self, connection: Connection, topics: str, group: str, starting: Literal["latest", "earliest"], *, keep: bool) -> None:
        self._topics, self._starting, self._keep = topics, starting, keep
        self._stack = ExitStack()
        more = {"group.id": group, "enable.partition.eof": True, "auto.offset.reset": "error", "queued.max.messages.kbytes": _QUEUE_KB}
        self._consumer = self._stack.enter_context(kafka.quiet_consumer(connection, **more))
        self._next: dict[tuple[str, int], int] = {}
        self._committed: dict[tuple[str, int], int] = {}
        self._at_end: set[tuple[str, int]] = set()
        self._looked: float | None = None
        self.lost = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    @property
    def at_end(self) -> bool:
        """Whether all that there is has been read."""
        return self._looked is not None and self._at_end == self._next.keys()

    @property
    def reached(self) -> Offsets:
        """What is committed."""
        offsets = Offsets()
        for (topic, partition), offset in self._committed.items():
            offsets.setdefault(topic, {})[str(partition)] = offset
        return offsets

    def poll(self, seconds: float) -> Message | None:
        """The next message, if one comes in time.

        Raises
        ------
        KafkaException
            Kafka does not answer.
        """
        self._look()
        message = self._consumer.poll(seconds)
        if message is None:
            return None
        place, error = (str(message.topic()), int(message.partition() or 0)), message.error()
        if error is not None:
            if error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            self._at_end.add(place)
            return None
        self._at_end.discard(place)
        self._next[place] = (message.offset() or 0) + 1
        return message

    def commit(self) -> bool:
        """Note that all that was read is delivered; whether there was anything to note."""
        new = [TopicPartition(*place, offset) for place, offset in self._next.items() if self._committed.get(place) != offset]
        if not new or not self._keep:
            return False
        for one in self._consumer.commit(offsets=new, asynchronous=False) or ():
            if one.error:
                raise KafkaException(one.error)
        self._committed = dict(self._next)
        return True

    def _look(self) -> None:
        """Take in partitions that are new."""
        if self._looked is not None and time.monotonic() < self._looked + _LOOK_S:
            return
        first, self._looked = self._looked is None, time.monotonic()
        known = self._consumer.list_topics(timeout=kafka.ANSWER_S).topics
        new = [
            TopicPartition(name, partition)
            for name, topic in sorted(known.items())
            for partition in (topic.partitions if re.fullmatch(self._topics, name) else ())
            if (name, partition) not in self._next
        ]
        if not new:
            if first:
                log.warning("no topic matches %s yet", self._topics)
            return
        committed = self._consumer.committed(new, timeout=kafka.ANSWER_S)
        skip = first and self._starting == "latest" and all(place.offset < 0 for place in committed)
        starts = [TopicPartition(place.topic, place.partition, self._start(place, skip)) for place in committed]
        self._consumer.incremental_assign(starts)
        # Where it begins is noted: from now on is from now on, also after the next start.
        self.commit()

    def _start(self, place: TopicPartition, skip: bool) -> int:
        """Where to begin in a partition."""
        low, high = self._consumer.get_watermark_offsets(place, timeout=kafka.ANSWER_S)
        key, known = (place.topic, place.partition), place.offset >= 0
        if known and place.offset < low:
            self.lost += low - place.offset
            log.warning(
                "LOST: Kafka gave up the messages of %s/%d from offset %d to %d before they were delivered", *key, place.offset, low
            )
        # Beyond the end: the topic was made anew.
        start: int = high if skip else place.offset if known and low <= place.offset <= high else low
        self._next[key] = start
        if known:
            self._committed[key] = place.offset
        return start
