"""How fast a service is now: its rate, and how long the alerts of its newest batches took to its output.

The clocks are those of Kafka's messages (when the telescope sent them), of the broker (when the batch that took them in began: the survey's
`ingest_time`) and of the file system (when a file was closed).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from fink_broker.connectors import parquet
from fink_broker.connectors.parquet import File
from fink_broker.monitoring.counts import Books

_RECENT_S = 60.0
_BATCHES = 10
_FILES = 20  # of a batch: where the log does not tell old batches apart, one may have any number
_MJD_OF_1970 = 40587.0

Spans = Mapping[str, Sequence[np.ndarray]]


@dataclass(frozen=True)
class Stage:
    """A span of time that alerts take: its median and the time that all but one in a hundred do not exceed, in seconds."""

    p50: float
    p99: float


@dataclass(frozen=True)
class Batch:
    """A batch: its number, its alerts, when its last file was closed (Unix time in seconds), and its stages by name."""

    number: int
    alerts: int
    closed: float
    stages: dict[str, Stage]


@dataclass(frozen=True)
class Speed:
    """Alerts that a service gave out in the last minute, in a second; and its newest batches, oldest first."""

    rate: float
    batches: list[Batch]


def speed(books: Books, service: str) -> Speed | None:
    """How fast a service is; None for one that writes no files, or none yet.

    Parameters
    ----------
    books : Books
        Files, of whichever night.
    service : str
        Name.
    """
    if service not in _SPANS:
        return None
    files = [file for file in _OUTPUT[service](books) if file.partition.get("status", "ok") == "ok"]
    if not files:
        return None
    since = time.time() - _RECENT_S
    recent = sum(file.rows for file in files if file.closed >= since)
    batches: dict[int, list[File]] = {}
    # As long as there are new alerts, the age of a backlog's says nothing of them.
    beside = set(books.beside)
    for file in [file for file in files if file not in beside] or files:
        batches.setdefault(file.batch, []).append(file)
    newest = list(batches.items())[-_BATCHES:]
    return Speed(recent / _RECENT_S, [_batch(number, some, _SPANS[service](books, number, some[-_FILES:])) for number, some in newest])


def _batch(number: int, files: Sequence[File], spans: Spans) -> Batch:
    stages = {name: _stage(np.concatenate(parts)) for name, parts in spans.items() if parts}
    return Batch(number, sum(file.rows for file in files), max(file.closed for file in files), stages)


def _stage(spans: np.ndarray) -> Stage:
    p50, p99 = np.percentile(spans, [50, 99])
    return Stage(round(float(p50), 3), round(float(p99), 3))


def _of_raw(books: Books, _batch: int, files: Sequence[File]) -> Spans:
    spans: dict[str, list[np.ndarray]] = {"telescope to broker": [], "broker to raw": [], "telescope to raw": []}
    for file, (sent, begun) in _clocks(files, "kafkaTimestamp", books.survey.ingest_time[0]):
        for stage, span in zip(spans.values(), (begun - sent, file.closed - begun, file.closed - sent), strict=True):
            stage.append(span)
    return spans


def _of_science(books: Books, batch: int, files: Sequence[File]) -> Spans:
    """From raw on, all that was read counts, whether it is in science or was cut: a file of raw waits and is worked on as a whole."""
    closed = max(file.closed for file in files)
    waited = [np.full(file.rows, closed - file.closed) for file in books.read_in(batch)]
    clocks = _clocks(files, books.survey.ingest_time[0])
    return {"raw to science": waited, "broker to science": [file.closed - begun for file, (begun,) in clocks]}


def _clocks(files: Sequence[File], *columns: str) -> Iterable[tuple[File, list[np.ndarray]]]:
    """Columns of times, Unix time in seconds."""
    for file, table in zip(files, parquet.read(files, columns), strict=True):
        yield file, [_seconds(table[name]) for name in columns]


def _seconds(times: pa.ChunkedArray[Any]) -> np.ndarray:
    """A survey's times are timestamps, or numbers: MJD (UTC) in days."""
    if pa.types.is_timestamp(times.type):
        return times.to_numpy().astype("datetime64[us]").astype(np.int64) / 1e6
    return (times.to_numpy() - _MJD_OF_1970) * 86400.0


_SPANS = {"stream2raw": _of_raw, "raw2science": _of_science}
_OUTPUT = {"stream2raw": lambda books: books.raw_files, "raw2science": lambda books: books.science_files}
