"""Messages sent one by one, each with its own outcome: Spark's sink ends with the first that is not taken, and does not say which."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from fink_broker.connectors import forward
from fink_broker.connectors.security import Connection

OUTCOME = "topic string, code string, reason string, messages long, ids array<string>"
TOO_LARGE = "MSG_SIZE_TOO_LARGE"
# Kafka did not answer: nothing is said of the topic.
NO_ANSWER = ("_MSG_TIMED_OUT", "_TRANSPORT", "_ALL_BROKERS_DOWN", "_AUTHENTICATION", "_TIMED_OUT", "NO_ANSWER")
_NAMED = 10  # ids that an outcome names
_TEXTS = ("topic", "code", "reason")
_FIELDS: list[Any] = [*((name, pa.string()) for name in _TEXTS), ("messages", pa.int64()), ("ids", pa.list_(pa.string()))]
_SCHEMA = pa.schema(_FIELDS)


def send(batches: Iterable[pa.RecordBatch], connection: Connection, patience_s: float) -> Iterator[pa.RecordBatch]:
    """Send the messages of one Spark partition, in an executor.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        `topic`, `key`, `value`, `partition`, `headers`, the first of which tells the alert.
    connection : Connection
        The Kafka.
    patience_s : float
        How long a message may wait for its acknowledgement, in seconds.

    Yields
    ------
    pyarrow.RecordBatch
        `OUTCOME`: for each topic what became of how many messages, with some of their ids; `code` is Kafka's name of the error, empty for
        those that were acknowledged.
    """
    found: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    own = {"batch.num.messages": 1, "topic.metadata.propagation.max.ms": 5_000, "message.timeout.ms": round(patience_s * 1000)}
    producer = Producer({**connection.client, **forward.PRODUCER, **own})

    def note(topic: str, alert: str, error: KafkaError | None) -> None:
        # The name alone where it says enough: texts differ from message to message.
        found[(topic, error.name() if error else "", error.str() if error and error.name() != TOO_LARGE else "")].append(alert)

    waiting = dict[int, tuple[str, str]]()
    for number, row in enumerate(row for batch in batches for row in batch.to_pylist()):
        headers = [(header["key"], header["value"]) for header in row["headers"]]
        topic, alert = row["topic"], headers[0][1].decode()
        waiting[number] = (topic, alert)

        def done(error: KafkaError | None, _message: Message, number: int = number) -> None:
            note(*waiting.pop(number), error)

        message: dict[str, Any] = {name: row[name] for name in ("topic", "key", "value", "partition")}
        try:
            forward.produce(producer, **message, headers=headers, on_delivery=done)
        except KafkaException as error:  # larger than any message of ours, or no such partition
            note(*waiting.pop(number), error.args[0])
    producer.flush(2 * patience_s)
    for topic, alert in waiting.values():
        found[(topic, "NO_ANSWER", "no answer")].append(alert)
    rows = [(*key, len(ids), ids[-_NAMED:]) for key, ids in found.items()]
    yield pa.RecordBatch.from_pylist([dict(zip(_SCHEMA.names, row, strict=True)) for row in rows], _SCHEMA)
