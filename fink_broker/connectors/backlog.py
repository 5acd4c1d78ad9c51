"""Which of Kafka's offsets have been left to the backlog's query: one folder a handover, a file for what one batch of that query takes.

``HOME/data/backlog/12`` says what the batches 12 and after of the live query have passed over. As long as that is being settled, the
folder's name begins with a dot, and the live query takes nothing in. Making the folder and renaming it are the two steps; each is
atomic, so a handover has not begun, is to be finished, or is done, whenever the machine stops.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from fink_broker.connectors.ranges import Range

_SCHEMA = "topic string, partition int, start bigint, until bigint"


def stream(spark: SparkSession, folder: Path) -> DataFrame:
    """The ranges that have been left, one file a batch, in the order in which they were written."""
    folder.mkdir(parents=True, exist_ok=True)
    # Spark would pass over a file that is a week older than the newest.
    files = spark.readStream.schema(_SCHEMA).options(maxFilesPerTrigger=1, recursiveFileLookup=True, maxFileAge="100000d")
    return files.json(str(folder))


def opened(folder: Path) -> int | None:
    """First batch of the handover that has begun and is not done."""
    return next((int(one.name[1:]) for one in folder.glob(".[0-9]*")), None)


def taken(folder: Path, batch: int) -> int:
    """The newest batch of the live query, up to a given one, that has not passed over anything of a handover that is not done."""
    first = opened(folder)
    return batch if first is None else min(batch, first - 1)


def open_(folder: Path, batch: int) -> None:
    """Begin a handover: the live query passes over what it finds from this batch on."""
    (folder / f".{batch}").mkdir(parents=True)


def close(folder: Path, ranges: Iterable[Range], most: int) -> None:
    """Be done with the handover: leave these ranges to the backlog's query, in pieces of so many messages at most."""
    batch = opened(folder)
    new = folder / f".{batch}"
    for left in new.iterdir():  # by a handover that ended here before
        left.unlink()
    ranges = [one for one in ranges if one.size > 0]
    count = -(-sum(one.size for one in ranges) // most)
    now = time.time_ns()
    for number in range(count):
        # All partitions side by side, the oldest first in each.
        cut = [one._replace(start=_part(one, number, count), until=_part(one, number + 1, count)) for one in ranges]
        file = new / f"{number:06}.json"
        file.write_text("\n".join(json.dumps(one._asdict()) for one in cut if one.size), encoding="utf-8")
        # Spark goes by the time of a file, in milliseconds.
        os.utime(file, ns=(now, now - (count - number) * 1_000_000))
    new.rename(folder / str(batch))


def _part(one: Range, number: int, count: int) -> int:
    return one.start + one.size * number // count


def pieces(folder: Path) -> list[Path]:
    """The files of all handovers that are done."""
    return sorted(folder.glob("[0-9]*/*.json"))


def read(file: Path) -> list[Range]:
    """The ranges of one of them."""
    return [Range(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]


def messages(files: Iterable[Path]) -> int:
    """How many messages some of them are about."""
    return sum(one.size for file in files for one in read(file))
