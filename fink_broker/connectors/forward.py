"""Messages sent on to another Kafka as they came: key, value, headers and timestamp.

Spark's own sink has no column for a message's timestamp: hence a producer in the executors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
from confluent_kafka import KafkaError, Message, Producer

from fink_broker.connectors.kafka import MAX_MESSAGE_BYTES
from fink_broker.connectors.security import Connection
from fink_broker.errors import ServerUnavailable

SENT = "sent long"

PRODUCER = {
    "enable.idempotence": True,
    "compression.type": "zstd",
    "linger.ms": 20,
    "message.max.bytes": MAX_MESSAGE_BYTES,
    # What waits for acknowledgement is bounded by this, in each task, not by the default of 1 GB.
    "queue.buffering.max.kbytes": 65_536,
    "log_level": 0,
}


def send(
    batches: Iterable[pa.RecordBatch], connection: Connection, targets: Mapping[str, tuple[str, int]], patience_s: float
) -> Iterator[pa.RecordBatch]:
    """Send the messages of one Spark partition, in an executor; how many were acknowledged (`SENT`).

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
        As `connectors.kafka.whole` gives them, `timestamp` in ms.
    connection : Connection
        The other Kafka.
    targets : mapping
        Topic to its name there, and the number of partitions that it has there: a message keeps the number of its partition if there
        is one of that number, and else all of one partition go to the same one.
    patience_s : float
        How long a message may wait for its acknowledgement, in seconds.

    Raises
    ------
    ServerUnavailable
        Not all were acknowledged; those that were are there.
    """
    producer = Producer({**connection.client, **PRODUCER, "message.timeout.ms": round(patience_s * 1000)})
    faults: list[str] = []
    sent = 0

    def note(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            faults.append(error.str())

    for batch in batches:
        for row in batch.to_pylist():
            message: dict[str, Any] = row
            topic, partitions = targets[message["topic"]]
            headers = [(header["key"], header["value"]) for header in message["headers"] or ()]
            where = {"topic": topic, "partition": message["partition"] % partitions, "timestamp": message["timestamp"]}
            produce(producer, **where, key=message["key"], value=message["value"], headers=headers, on_delivery=note)
            sent += 1
    waiting = producer.flush(2 * patience_s)
    if faults or waiting:
        why = faults[0] if faults else "no answer"
        raise ServerUnavailable(f"Kafka at {connection} did not take {len(faults) + waiting} of {sent} messages: {why}")
    yield pa.RecordBatch.from_pydict({"sent": pa.array([sent], pa.int64())})


def produce(producer: Producer, **message: Any) -> None:
    """Hand a message to a producer; wait if as much is waiting as may."""
    while True:
        try:
            producer.produce(**message)
        except BufferError:  # as much waits as may
            producer.poll(0.5)
        else:
            producer.poll(0)
            return
