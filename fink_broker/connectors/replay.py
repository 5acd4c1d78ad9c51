"""Rejected messages that are to be taken in once more: a folder that stream2raw reads beside Kafka, a row a message."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from fink_broker.connectors import parquet

# As the messages of Kafka, and then which rejected row each was.
MESSAGE = "value binary, topic string, partition int, offset bigint, kafkaTimestamp timestamp"
COLUMNS = ("value", "topic", "partition", "offset", "kafkaTimestamp", "reason", "night")
_FILE_BYTES = 64_000_000

Key = tuple[str, int, int, bytes]


@dataclass(frozen=True)
class Rejected:
    """A rejected message: where and when it came, why it was rejected, its bytes."""

    topic: str
    partition: int
    offset: int
    time: datetime | None
    night: str
    reason: str
    value: bytes

    @property
    def key(self) -> Key:
        """What it is known by: a message of several records may have been rejected several times."""
        return self.topic, self.partition, self.offset, hashlib.sha256(self.value).digest()


def stream(spark: SparkSession, folder: Path) -> DataFrame:
    """The messages that are offered, a file a batch."""
    folder.mkdir(parents=True, exist_ok=True)
    return spark.readStream.schema(MESSAGE).option("maxFilesPerTrigger", 1).parquet(str(folder))


def rejected(raws: Sequence[Path], folder: Path) -> Iterator[Rejected]:
    """The rejected messages that have not been offered since, oldest first.

    Parameters
    ----------
    raws : sequence of Path
        Folders of the raw alerts; what goes through again comes to the last.
    folder : Path
        Folder of the messages that were offered.
    """
    offered = Counter(one.key for file in sorted(folder.glob("*.parquet")) for one in _rows(file, ""))
    for file in (file for raw in raws for file in parquet.committed(raw)):
        if file.partition["status"] != "rejected":
            continue
        for one in _rows(file.path, file.partition["night"]):
            if offered[one.key]:
                offered[one.key] -= 1  # this row was offered: what became of it is a later row
            else:
                yield one


def offer(folder: Path, messages: Iterable[Rejected]) -> list[Path]:
    """Offer messages; the files in which they lie."""
    folder.mkdir(parents=True, exist_ok=True)
    files, rows, size = [], [], 0
    for one in messages:
        rows.append(one)
        size += len(one.value)
        if size >= _FILE_BYTES:
            files.append(_write(folder, rows))
            rows, size = [], 0
    return [*files, _write(folder, rows)] if rows else files


def find(folder: Path, topic: str, partition: int, offset: int) -> bytes | None:
    """An offered message by its place in Kafka, which may not have it any more."""
    for file in sorted(folder.glob("*.parquet"), reverse=True):
        for one in _rows(file, ""):
            if (one.topic, one.partition, one.offset) == (topic, partition, offset):
                return one.value
    return None


def read(file: Path) -> Iterator[Rejected]:
    """The messages of an offered file."""
    return _rows(file, "")


def _rows(file: Path, night: str) -> Iterator[Rejected]:
    columns = [name for name in COLUMNS if name != "night"]
    for batch in pq.ParquetFile(file).iter_batches(batch_size=64, columns=columns):
        for row in batch.to_pylist():
            values: dict[str, Any] = row
            yield Rejected(
                values["topic"],
                values["partition"],
                values["offset"],
                values["kafkaTimestamp"],
                night,
                values["reason"] or "",
                values["value"] or b"",
            )


def _write(folder: Path, rows: Sequence[Rejected]) -> Path:
    """One file, there at once with all that is in it: Spark passes over names that begin with a dot."""
    table = pa.table(
        {
            "value": pa.array([one.value for one in rows], pa.binary()),
            "topic": [one.topic for one in rows],
            "partition": pa.array([one.partition for one in rows], pa.int32()),
            "offset": pa.array([one.offset for one in rows], pa.int64()),
            "kafkaTimestamp": pa.array([one.time for one in rows], pa.timestamp("us", tz="UTC")),
            "reason": [one.reason for one in rows],
            "night": [one.night for one in rows],
        }
    )
    file = folder / f"{time.time_ns()}.parquet"
    new = file.with_name(f".{file.name}")
    pq.write_table(table, new, row_group_size=64)
    new.rename(file)
    return file
