"""Offsets that gave no message: gone from Kafka before they were read, or never a message at all.

stream2raw compares each batch's offsets with the rows that it wrote. What is missing is looked for in Kafka: below the earliest offset it
is lost; where Kafka has no message either, there never was one (the marks of transactions, compacted topics). What Kafka still has is
not explained here: the sums do not meet. Notes are one file a batch, in ``HOME/data/gaps``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from confluent_kafka import KafkaException
from pyspark.sql.streaming.query import StreamingQuery

from fink_broker.config import Settings
from fink_broker.connectors import backlog, parquet
from fink_broker.connectors.parquet import File
from fink_broker.connectors.ranges import Offsets, Range, between, next_messages
from fink_broker.connectors.security import Connection
from fink_broker.connectors.sparklog import newest, offsets
from fink_broker.errors import ServerUnavailable
from fink_broker.files import write_whole

_LIVE = "stream2raw"
_CHECKED = "checked"
_PLACE: list[tuple[str, pa.DataType]] = [("topic", pa.string()), ("partition", pa.int32()), ("offset", pa.int64())]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Gap:
    """Offsets and what is known of them.

    Parameters
    ----------
    place : Range
        Which.
    kind : {"lost", "none", "gone"}
        Given up by Kafka before they were read; never messages; or read, of a partition that has gone since, with its topic.
    """

    place: Range
    kind: Literal["lost", "none", "gone"]


def noted(settings: Settings) -> list[Gap]:
    """All that is known."""
    found = (json.loads(file.read_text(encoding="utf-8")) for file in sorted(settings.gaps.glob("*.json")))
    return [Gap(Range(*one["place"]), one["kind"]) for gaps in found for one in gaps]


def total(gaps: Iterable[Gap], kind: str) -> int:
    """How many offsets are in the gaps of a kind."""
    return sum(gap.place.size for gap in gaps if gap.kind == kind)


def began(checkpoint: Path) -> Offsets:
    """The offsets that a query began with."""
    first = checkpoint / "sources" / "0" / "0"
    # A zero byte and a version line come before the JSON.
    return dict(json.loads(first.read_text(encoding="utf-8").splitlines()[-1])) if first.exists() else {}


def check(settings: Settings, connection: Connection, query: StreamingQuery | None = None, *, passed_over: bool = False) -> None:
    """Look at the batches of the live query since the last look; one that by its progress has all of its messages is sound.

    Parameters
    ----------
    settings : Settings
        Where the query's logs and the notes are.
    connection : Connection
        The Kafka that knows what became of an offset.
    query : StreamingQuery, optional
        The one that has run the last of them.
    passed_over : bool
        Whether the batches were to take nothing.
    """
    done, last = newest(settings.raw / parquet.LOG), _checked(settings)
    done = done if passed_over else backlog.taken(settings.backlog, done)
    if done <= last:
        return
    # Each report is a question to the JVM: as a rule there is one batch since the last look.
    reports: list[Any] = [] if query is None else [query.lastProgress] if done == last + 1 else query.recentProgress
    rows = {one["batchId"]: one["sources"][0]["numInputRows"] for one in reports if one}
    try:
        for batch in range(last + 1, done + 1):
            ranges, gone = _read(settings, batch)
            ranges = [] if passed_over else ranges
            expected = sum(one.size for one in ranges)
            if gone or rows.get(batch, 0) != expected:
                files = [file for file in parquet.committed(settings.raw) if file.batch == batch]
                note(settings, connection, f"{_LIVE}-{batch}", ranges, files, gone=gone)
    except (KafkaException, ServerUnavailable) as error:
        log.warning("cannot look for what is gone from Kafka now: %s", error)
        return
    settings.gaps.mkdir(parents=True, exist_ok=True)
    write_whole(settings.gaps / _CHECKED, str(done))


def _checked(settings: Settings) -> int:
    file = settings.gaps / _CHECKED
    checked = int(file.read_text(encoding="utf-8")) if file.exists() else -1
    # Spark keeps the offsets of the last hundred batches.
    kept = [int(one.name) for one in (settings.checkpoint(_LIVE) / "offsets").glob("[0-9]*")]
    oldest = min(kept, default=0)
    return max(checked, oldest) if oldest else checked


def _read(settings: Settings, batch: int) -> tuple[list[Range], list[Gap]]:
    """What a batch of the live query has read; what had been read of partitions that are not there, or begin anew, in it."""
    checkpoint = settings.checkpoint(_LIVE)
    first = began(checkpoint)
    before: Offsets = offsets(checkpoint, batch - 1) if batch else first
    after: Offsets = offsets(checkpoint, batch)
    gone = [one for one in between({}, before) if after.get(one.topic, {}).get(str(one.partition), -1) < one.until]
    known = noted(settings) if gone else []
    return between(before, after), [Gap(one._replace(start=start(one, first, known)), "gone") for one in gone]


def start(place: Range, first: Offsets, known: Iterable[Gap]) -> int:
    """Where a partition began, if the query began with `first`; one that was made anew at 0."""
    again = any(gap.kind == "gone" and gap.place[:2] == place[:2] for gap in known)
    return 0 if again else first.get(place.topic, {}).get(str(place.partition), 0)


def note(
    settings: Settings, connection: Connection, name: str, ranges: Sequence[Range], files: Sequence[File], *, gone: Sequence[Gap] = ()
) -> None:
    """Look for the offsets of a batch that its files do not have, and note what became of them.

    Parameters
    ----------
    settings : Settings
        Where notes are.
    connection : Connection
        The Kafka that knows.
    name : str
        Of the note; a batch that is looked at again has the same.
    ranges : sequence of Range
        What the batch has read.
    files : sequence of File
        What it has written.
    gone : sequence of Gap
        To be noted with it.
    """
    gaps = list(gone)
    runs = list(_missing(ranges, files))
    for run, (earliest, following) in zip(runs, next_messages(connection, runs), strict=True):
        lost = run._replace(until=max(run.start, min(run.until, earliest)))
        left = run._replace(start=following)
        found = [Gap(lost, "lost"), Gap(Range(run.topic, run.partition, lost.until, following), "none")]
        gaps += [gap for gap in found if gap.place.size > 0]
        if left.size:
            log.error("of %s/%s the messages from offset %d to %d are in Kafka, but were not taken in", *left[:3], left.until - 1)
    if not gaps:
        return
    _tell(gaps, noted(settings))
    settings.gaps.mkdir(parents=True, exist_ok=True)
    write_whole(settings.gaps / f"{name}.json", json.dumps([asdict(gap) for gap in gaps]))


def _tell(gaps: Iterable[Gap], known: Iterable[Gap]) -> None:
    """One line for what is lost or gone; a gap that only goes on has had its line."""
    ends = {(*gap.place[:2], gap.place.until) for gap in known}
    for place, kind in ((gap.place, gap.kind) for gap in gaps):
        where = f"{place.topic}/{place.partition}"
        if kind == "gone":
            log.warning("%s is gone from Kafka, or was made anew; it had been read up to offset %d", where, place.until - 1)
        elif kind == "lost" and place[:3] not in ends:
            log.warning("LOST: the messages of %s from offset %d on were gone from Kafka before they were read", where, place.start)


def _missing(ranges: Iterable[Range], files: Sequence[File]) -> Iterator[Range]:
    """The offsets of some ranges that are in none of the files."""
    place = pa.schema(_PLACE)
    rows = pa.concat_tables([place.empty_table(), *(table.cast(place) for table in parquet.read(files, place.names))])
    for one in ranges:
        here = (pc.field("topic") == one.topic) & (pc.field("partition") == one.partition)
        inside = here & (pc.field("offset") >= one.start) & (pc.field("offset") < one.until)
        edges = [one.start - 1, *np.unique(rows.filter(inside)["offset"].to_numpy()).tolist(), one.until]
        yield from (one._replace(start=left + 1, until=right) for left, right in pairwise(edges) if right > left + 1)
