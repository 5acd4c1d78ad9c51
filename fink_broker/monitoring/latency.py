"""How fast a service is: its rates, and how long the alerts of its newest batches took to its output.

The clocks are those of Kafka's messages (when the telescope sent them), of the broker (when the batch that took them in began: the survey's
`ingest_time`), of the file system (when a file was closed), and of the checkpoint (when a batch was committed).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fink_broker.connectors import parquet
from fink_broker.connectors.parquet import File
from fink_broker.monitoring import batches
from fink_broker.monitoring.batches import Span
from fink_broker.monitoring.shelf import Shelf, numbers
from fink_broker.surveys.conditions import scalar

_RECENT_S = 60.0
_BATCHES = 10
_FILES = 20  # of a batch: where the log does not tell old batches apart, one may have any number
_MJD_OF_1970 = 40587.0
_SENT = "kafkaTimestamp"

# Upper bounds of the histograms' buckets, seconds; what is above all is counted too.
BOUNDS = (0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 21600.0, 86400.0)

# How far an alert has come with a service that reads science alerts.
_REACHED = {"distribution": "user", "archive": "table"}

Stages = Mapping[str, Sequence[np.ndarray]]


@dataclass(frozen=True)
class Stage:
    """A span of time that alerts take, in seconds.

    Parameters
    ----------
    p50, p99 : float
        The median, and what all but one in a hundred do not exceed.
    sum : float
        Over all alerts.
    counts : list of int
        Alerts in each bucket: up to the first of `BOUNDS`, up to the second, …, above all.
    """

    p50: float
    p99: float
    sum: float = field(default=0.0, compare=False)
    counts: list[int] = field(default_factory=list, compare=False)


@dataclass(frozen=True)
class Batch:
    """A batch.

    Parameters
    ----------
    number, alerts : int
        Its number, and the alerts that came out of it.
    closed : float
        When its last file was closed, or it was committed; Unix time in seconds.
    stages : dict
        What its alerts took, by name of the stage.
    seconds : float or None
        How long it took; None if its checkpoint does not know it any more.
    """

    number: int
    alerts: int
    closed: float
    stages: dict[str, Stage]
    seconds: float | None = None


@dataclass(frozen=True)
class Speed:
    """Alerts in a second, out of a service, over the last minute and in the mean (see `speed`); its newest batches, oldest first."""

    rate: float
    mean: float
    batches: list[Batch]


def speed(shelf: Shelf, service: str, started: float = 0.0) -> Speed | None:
    """How fast a service is; None if it has done nothing yet, or reads no alerts.

    Parameters
    ----------
    shelf : Shelf
        Files, of whichever night.
    service : str
        Name.
    started : float
        When its process started, Unix time in seconds: the mean rate is that since then, over the batches that the checkpoint still knows.
    """
    spans = batches.spans(shelf.settings.checkpoint(service), started)
    files = _written(shelf, service) if service in _WRITTEN else _read(shelf, service, spans)
    if not files:
        return None
    known = {span.number: span for span in spans}
    # What came out when; without a file of its own, an alert is out when its batch is committed.
    out = [(file.closed if service in _WRITTEN else known[number].ended, file.rows) for number, some in files.items() for file in some]
    now = time.time()
    recent = sum(rows for closed, rows in out if closed >= now - _RECENT_S)
    newest = list(files.items())[-_BATCHES:]
    made = [_batch(shelf, service, number, some, known.get(number)) for number, some in newest]
    return Speed(recent / _RECENT_S, _mean(out, spans, started, now), made)


def _mean(out: Sequence[tuple[float, int]], spans: Sequence[Span], started: float, now: float) -> float:
    """Up to now of a service that runs; up to its last batch of one that does not."""
    if not spans:
        return 0.0
    begun = max(spans[0].begun, started)
    return sum(rows for closed, rows in out if closed >= begun) / max((now if started else spans[-1].ended) - begun, 1e-3)


def _written(shelf: Shelf, service: str) -> dict[int, list[File]]:
    """By batch, the files that a service wrote."""
    files = [file for file in _WRITTEN[service](shelf) if file.partition.get("status", "ok") == "ok"]
    found: dict[int, list[File]] = {}
    # As long as there are new alerts, the age of a backlog's says nothing of them.
    beside = set(shelf.beside)
    for file in [file for file in files if file not in beside] or files:
        found.setdefault(file.batch, []).append(file)
    return found


def _read(shelf: Shelf, service: str, spans: Sequence[Span]) -> dict[int, list[File]]:
    """By batch, the science files that a service read."""
    found = {span.number: shelf.read_by(service, span.number) for span in spans}
    return {number: files for number, files in found.items() if files}


def _batch(shelf: Shelf, service: str, number: int, files: Sequence[File], span: Span | None) -> Batch:
    written = max(file.closed for file in files)
    closed = written if service in _WRITTEN or span is None else span.ended
    if service in _STAGES:
        stages = _STAGES[service](shelf, number, files)
    else:
        stages = _of_reader(shelf, files, closed, _REACHED.get(service, service))
    known = {name: np.concatenate(parts) for name, parts in stages.items() if parts}
    # An alert without one of the times says nothing of how long it took.
    known = {name: some[np.isfinite(some)] for name, some in known.items()}
    made = {name: _stage(some) for name, some in known.items() if len(some)}
    return Batch(number, sum(file.rows for file in files), closed, made, None if span is None else span.seconds)


def _stage(spans: np.ndarray) -> Stage:
    p50, p99 = np.percentile(spans, [50, 99])
    counts = np.bincount(np.searchsorted(BOUNDS, spans), minlength=len(BOUNDS) + 1)
    return Stage(round(float(p50), 3), round(float(p99), 3), round(float(spans.sum()), 3), counts.tolist())


def _of_raw(shelf: Shelf, _batch: int, files: Sequence[File]) -> Stages:
    spans: dict[str, list[np.ndarray]] = {"telescope to broker": [], "broker to raw": [], "telescope to raw": []}
    for file, (sent, begun) in _clocks(shelf, files[-_FILES:], _SENT, shelf.survey.ingest_time[0]):
        for stage, span in zip(spans.values(), (begun - sent, file.closed - begun, file.closed - sent), strict=True):
            stage.append(span)
    return spans


def _of_science(shelf: Shelf, batch: int, files: Sequence[File]) -> Stages:
    """From raw on, all that was read counts, whether it is in science or was cut: a file of raw waits and is worked on as a whole."""
    closed = max(file.closed for file in files)
    waited = [np.full(file.rows, closed - file.closed) for file in shelf.read_in(batch)]
    clocks = _clocks(shelf, files[-_FILES:], shelf.survey.ingest_time[0])
    return {"raw to science": waited, "broker to science": [file.closed - begun for file, (begun,) in clocks]}


def _of_reader(shelf: Shelf, files: Sequence[File], committed: float, to: str) -> Stages:
    """To the commit of the batch: its alerts are with Kafka or HBase by then."""
    some = files[-_FILES:]
    return {
        f"science to {to}": [np.full(file.rows, committed - file.closed) for file in some],
        f"telescope to {to}": [committed - sent for sent in _sent(shelf, some) if len(sent)],
    }


def _sent(shelf: Shelf, files: Sequence[File]) -> Iterable[np.ndarray]:
    """When the telescope sent the alerts of science files: looked up by id in the raw files that these were made from."""
    name = shelf.survey.alert_id
    for file in files:
        raw = shelf.read_in(file.batch)[-_FILES:]
        if not raw:
            continue
        sent = np.concatenate([seconds for _, (seconds,) in _clocks(shelf, raw, _SENT)])
        known, mine = (np.concatenate(list(_ids(shelf, some, name))) for some in (raw, [file]))
        order = np.argsort(known, kind="stable")
        places = np.searchsorted(known[order], mine).clip(max=len(known) - 1)
        found = order[places]
        # Of an alert that was read with an earlier batch, and is here because that ran again, nothing is said.
        yield sent[found[known[found] == mine]]


def _ids(shelf: Shelf, files: Sequence[File], name: str) -> Iterable[np.ndarray]:
    tables = shelf.once("ids", files, lambda new: [numbers([parquet.column(table, name)]) for table in parquet.read(new, [name])])
    return tables.values()


def _clocks(shelf: Shelf, files: Sequence[File], *columns: str) -> Iterable[tuple[File, list[np.ndarray]]]:
    """Columns of times, Unix time in seconds."""

    def read(new: Sequence[File]) -> list[list[np.ndarray]]:
        return [[_seconds(table[name]) for name in columns] for table in parquet.read(new, columns)]

    return shelf.once(columns, files, read).items()


def _seconds(times: pa.ChunkedArray) -> np.ndarray:  # type: ignore[type-arg]
    """A survey's times are timestamps, or numbers: MJD (UTC) in days. One that is missing is NaN."""
    stamps = pa.types.is_timestamp(times.type)
    if stamps:
        times = times.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    found = numbers([pc.fill_null(times.cast(pa.float64()), scalar(np.nan))], pa.float64())
    return found / 1e6 if stamps else (found - _MJD_OF_1970) * 86400.0


_STAGES = {"stream2raw": _of_raw, "raw2science": _of_science}
_WRITTEN = {"stream2raw": lambda shelf: shelf.raw_files, "raw2science": lambda shelf: shelf.science_files}
