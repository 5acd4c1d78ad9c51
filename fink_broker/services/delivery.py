"""Delivery of messages to users' topics, each topic on its own: one that cannot be written to does not hold the others.

Such a topic is held: what it should have got stays in science, and is sent when it takes messages again. What is larger than a topic takes
is dropped for that topic, and counted. All is at least once: a batch that is sent again sends some messages twice.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from confluent_kafka import KafkaException
from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]
from pyspark import StorageLevel
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.streaming.readwriter import DataStreamWriter
from pyspark.sql.types import StructType

from fink_broker.connectors import careful, kafka, parquet
from fink_broker.connectors.security import Connection
from fink_broker.connectors.sparklog import newest
from fink_broker.connectors.topics import Topic, describe, of_new
from fink_broker.errors import ServerUnavailable
from fink_broker.monitoring import delivery as notes
from fink_broker.monitoring import reach
from fink_broker.monitoring.delivery import Dropped, Held
from fink_broker.services.context import Context

log = logging.getLogger(__name__)

_PATIENCE_S = 30.0


class Delivery:
    """What distribution sends its messages with.

    Parameters
    ----------
    context : Context
        Folders, and for how long a topic is left alone.
    connection : Connection
        The users' Kafka.
    topics : mapping
        Topic to the number of partitions that its messages are made for.
    build : callable
        Science alerts to messages, as the query makes them.
    schema : StructType
        Columns of the science alerts.
    """

    def __init__(
        self,
        context: Context,
        connection: Connection,
        topics: Mapping[str, int],
        build: Callable[[DataFrame], DataFrame],
        schema: StructType,
    ) -> None:
        self._settings, self._spark = context.settings, context.spark
        self._counts = context.survey.count_topics
        self._connection, self._build, self._schema = connection, build, schema
        self._topics = dict(topics)
        self._admin = kafka.admin(connection)
        self._known: dict[str, Topic] = {}
        self._checkpoint = self._settings.checkpoint(notes.SERVICE)
        self._lock = threading.Lock()
        self._again: dict[str, float] = {}
        note = notes.load(self._settings)
        self._note = replace(note, held={name: one for name, one in note.held.items() if self._writes(name)})
        for name in note.held.keys() - self._note.held.keys():
            log.warning("%s is not written to any more; it was held since %s", name, note.held[name].since)
        for name in self._note.held:
            self._topics.setdefault(name, 1)
        done = newest(self._checkpoint / "commits")
        self._reached = reach.position(self._checkpoint, done)

    def _writes(self, topic: str) -> bool:
        return topic in self._topics or bool(self._counts and topic.startswith(self._counts))

    def sink(self, messages: DataFrame) -> DataStreamWriter:
        """Writer of the stream of messages."""
        return messages.writeStream.foreachBatch(self._batch)

    def _batch(self, messages: DataFrame, number: int) -> None:
        """Send a batch to all topics that are not held."""
        before, end = (reach.position(self._checkpoint, one) if one >= 0 else -1 for one in (number - 1, number))
        self._make_counts()
        self._known |= describe(self._admin, self._topics)
        with self._lock:
            # From here on a held topic has this batch to catch up with too.
            self._reached = end
            for name, topic in self._known.items():
                if topic.fault and name not in self._note.held:
                    self._hold(name, topic.fault, before)
            good = [name for name in self._topics if name not in self._note.held]
        wanted = messages.where(F.col("topic").isin(good)) if len(good) < len(self._topics) else messages
        for name, reason in self._send(wanted, good, f"batch {number}").items():
            with self._lock:
                self._hold(name, reason, before)

    def _hold(self, name: str, reason: str, after: int) -> None:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        log.warning("%s cannot be written to (%s): it is held, and tried again in %g s", name, reason, self._rest)
        self._save(held={**self._note.held, name: Held(reason, since, after)})
        self._again[name] = time.monotonic() + self._rest

    @property
    def _rest(self) -> float:
        return self._settings.distribution.retry_seconds

    def _save(self, **changes: object) -> None:
        self._note = replace(self._note, **changes)  # type: ignore[arg-type]
        notes.save(self._settings, self._note)

    def _make_counts(self) -> None:
        """Topics of the nights that there are; a message goes to its night's topic by name."""
        if self._counts is None:
            return
        nights = (folder.name.removeprefix("night=") for folder in self._settings.science.glob("night=*"))
        if new := {f"{self._counts}{night}" for night in nights} - self._topics.keys():
            self._topics |= dict.fromkeys(new, 1)
            self._make(new)

    def _make(self, names: Collection[str]) -> None:
        """Make the topics that are not there; one that cannot be made is seen to be missing."""
        for name in names:
            try:
                kafka.make_topics(self._connection, {name: self._topics[name]}, of_new(self._settings.kafka.output))
            except (ServerUnavailable, KafkaException) as error:
                log.warning("%s", error)

    def _send(self, messages: DataFrame, names: Collection[str], work: str) -> dict[str, str]:
        """Send messages of some topics; those that did not take them, and why.

        Raises
        ------
        ServerUnavailable
            Kafka does not answer.
        """
        known = {name: self._known.get(name, Topic()) for name in names}
        moved = {name: one.partitions for name, one in known.items() if one.partitions not in (0, self._topics[name])}
        if moved:
            numbers = F.create_map(*[F.lit(item) for pair in moved.items() for item in pair])[F.col("topic")]
            messages = messages.withColumn("partition", F.pmod("partition", F.coalesce(numbers, F.col("partition") + 1)))
        small = [name for name, one in known.items() if not one.ample]
        if not small:
            return self._together(messages, work)
        # Looked at twice, made once.
        messages = messages.persist(StorageLevel.DISK_ONLY)
        try:
            apart = F.col("topic").isin(small)
            return self._together(messages.where(~apart), work) | self._one_by_one(messages.where(apart), work)
        finally:
            messages.unpersist()

    def _together(self, messages: DataFrame, work: str) -> dict[str, str]:
        """Send by Spark's sink; if that fails, one by one, which tells whose fault it was."""
        try:
            kafka.write(messages, self._connection)
        except (PySparkException, Py4JJavaError) as error:
            if "org.apache.kafka" not in str(error):
                raise
            log.warning("a send failed, and is done again message by message: %s", " ".join(str(error).split())[:500])
            return self._one_by_one(messages, work)
        return {}

    def _one_by_one(self, messages: DataFrame, work: str) -> dict[str, str]:
        task = functools.partial(careful.send, connection=self._connection, patience_s=_PATIENCE_S)
        outcomes = messages.mapInArrow(task, careful.OUTCOME).collect()
        bad = [one for one in outcomes if one.code]
        if bad and all(one.code in careful.NO_ANSWER for one in bad) and not any(not one.code for one in outcomes):
            raise ServerUnavailable(f"Kafka at {self._connection} does not take messages: {bad[0].reason}")
        with self._lock:
            dropped = dict(self._note.dropped)
            for name in dict.fromkeys(one.topic for one in bad if one.code == careful.TOO_LARGE):
                found = [one for one in bad if (one.topic, one.code) == (name, careful.TOO_LARGE)]
                ids = [alert for one in found for alert in one.ids]
                count = sum(one.messages for one in found)
                log.warning("%s does not take %d messages, which are too large for it: alerts %s", name, count, ", ".join(ids))
                dropped[name] = dropped.get(name, Dropped()).more(f"{work} of {name}", count, ids[-10:])
            self._save(dropped=dropped)
        return {one.topic: one.reason or one.code for one in bad if one.code != careful.TOO_LARGE}

    def catch_up(self) -> bool:
        """Try the topics that are held, whose time has come: send them a piece of what they have missed; whether any took it."""
        went_on = False
        for name, held in list(self._note.held.items()):
            if time.monotonic() >= self._again.get(name, 0.0):
                went_on |= self._piece(name, held)
        return went_on

    def _piece(self, name: str, held: Held) -> bool:
        self._make([name])
        self._known |= describe(self._admin, [name])
        reason, end, reached = self._known.get(name, Topic()).fault, held.after, self._reached
        if not reason:
            files, end = self._missed(held.after, reached)
            if files:
                science = parquet.batch(self._spark, self._settings.science, files, self._schema)
                messages = self._build(science).where(F.col("topic") == name)
                reason = self._send(messages, [name], f"files after {held.after}").get(name, "")
        with self._lock:
            others = {one: what for one, what in self._note.held.items() if one != name}
            if reason:
                self._again[name] = time.monotonic() + self._rest
                self._save(held={**others, name: replace(held, reason=reason)})
            elif end < self._reached:
                self._save(held={**others, name: replace(held, after=end)})
            else:
                log.info("%s takes messages again, and has got what it had missed", name)
                self._save(held=others)
        return not reason

    def _missed(self, after: int, reached: int) -> tuple[list[Path], int]:
        """Files that a held topic has not got yet, not more than a batch takes; and up to where in the source's log they go."""
        places = sorted((place, path) for path, place in reach.positions(self._checkpoint).items() if after < place <= reached)
        some = places[: self._settings.distribution.max_files_per_trigger]
        # Of a place all files or none.
        end = some[-1][0] if len(some) < len(places) else max(after, reached)
        files = [path for place, path in places if place <= end]
        there = [path for path in files if path.exists()]
        if len(there) < len(files):
            log.warning("%d files that a held topic has not got have left science", len(files) - len(there))
        return there, end
