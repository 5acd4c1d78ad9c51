"""checkstream: what comes in from Kafka, measured and not decoded: how much, how fast, how large; a line every 2 s."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import functions as F
from pyspark.sql.streaming.listener import (
    QueryIdleEvent,
    QueryProgressEvent,
    QueryStartedEvent,
    QueryTerminatedEvent,
    StreamingQueryListener,
)
from pyspark.sql.streaming.query import StreamingQuery

from fink_broker.services import telescope
from fink_broker.services.context import Context, trigger

NAME = "checkstream"

_EVERY_S = 2.0

# Messages between two lines at most: 1.3 GB of alerts are read in a few seconds.
_MOST = 20_000

_OBSERVED = "messages"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """What one batch was.

    Parameters
    ----------
    timestamp : str
        When it began, ISO 8601, UTC.
    input_rate, processed_rate : float
        Messages that came, and that were read, in a second; NaN where there is nothing to compare with yet.
    lag : dict
        Messages that Kafka holds behind those read, by ``topic/partition``.
    messages, size, largest : int
        Their number; bytes of all of them and of the largest.
    """

    timestamp: str
    input_rate: float = 0.0
    processed_rate: float = 0.0
    lag: dict[str, int] = field(default_factory=dict)
    messages: int = 0
    size: int = 0
    largest: int = 0

    @property
    def line(self) -> str:
        """One line for people and for ``awk``: names and values by turns. Partitions without lag are not listed."""
        behind = " ".join(f"{partition}={n}" for partition, n in self.lag.items() if n)
        return (
            f"{self.timestamp}  inputRowsPerSecond {_rate(self.input_rate)}  processedRowsPerSecond {_rate(self.processed_rate)}"
            f"  lag {sum(self.lag.values())}{f' ({behind})' if behind else ''}"
            f"  bytesPerMessage {round(self.size / self.messages) if self.messages else '-'}  largest {self.largest or '-'}"
        )


def _rate(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else "-"


def report(progress: Any) -> Report:
    """The report of a query's progress.

    Parameters
    ----------
    progress : pyspark.sql.streaming.listener.StreamingQueryProgress
        Of a query of `start`.
    """
    [source] = progress.sources
    seen = progress.observedMetrics.get(_OBSERVED)
    return Report(
        progress.timestamp,
        progress.inputRowsPerSecond,
        progress.processedRowsPerSecond,
        _lag(source.latestOffset, source.endOffset),
        progress.numInputRows,
        (seen and seen.size) or 0,
        (seen and seen.largest) or 0,
    )


def _lag(latest: str | None, reached: str | None) -> dict[str, int]:
    """By partition, from Spark's JSON of offsets."""
    ends: dict[str, dict[str, int]] = json.loads(latest or "null") or {}
    read: dict[str, dict[str, int]] = json.loads(reached or "null") or {}
    return {
        f"{topic}/{part}": max(0, end - read.get(topic, {}).get(part, 0))
        for topic, parts in sorted(ends.items())
        for part, end in sorted(parts.items(), key=lambda one: int(one[0]))
    }


class Reporter(StreamingQueryListener):
    """Says each report, and the sum at the end.

    Parameters
    ----------
    say : callable
        Takes a line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._messages = self._size = self._largest = 0

    def onQueryStarted(self, event: QueryStartedEvent) -> None:
        """Nothing to say yet."""

    def onQueryProgress(self, event: QueryProgressEvent) -> None:
        """A batch has been read."""
        found = report(event.progress)
        self._messages += found.messages
        self._size += found.size
        self._largest = max(self._largest, found.largest)
        self._say(found.line)

    def onQueryIdle(self, event: QueryIdleEvent) -> None:
        """Nothing came."""
        self._say(Report(event.timestamp).line)

    def onQueryTerminated(self, event: QueryTerminatedEvent) -> None:
        """It was told to end, or with ``--once`` has seen all."""
        mean = round(self._size / self._messages) if self._messages else "-"
        self._say(f"in all: messages {self._messages}  bytes {self._size}  bytesPerMessage {mean}  largest {self._largest or '-'}")


def _say(line: str) -> None:
    log.info(line)
    handlers = [handler for handler in logging.getLogger().handlers if isinstance(handler, logging.FileHandler)]
    if any(os.path.samestat(os.fstat(1), os.stat(handler.baseFilename)) for handler in handlers):
        return  # detached: it would stand in the log twice
    try:
        print(line, flush=True)
    except BrokenPipeError:
        # The reader has gone (fink start checkstream | head): this is not the main thread, which has to end.
        signal.raise_signal(signal.SIGTERM)


def start(context: Context) -> StreamingQuery:
    """Start the query: from now on, or with `once` over all that Kafka holds; nothing is remembered for the next time."""
    settings, options = context.settings, context.options
    # A session of its own: what is set here is not for the other services of the application, and their batches are not reported.
    spark = context.spark.newSession()
    spark.conf.set("spark.sql.streaming.noDataProgressEventInterval", round(_EVERY_S * 1000))
    spark.streams.addListener(Reporter(_say))
    messages = telescope.stream(context, "earliest" if options.once else "latest", _MOST, spark)
    size = F.coalesce(F.length("value"), F.lit(0))
    measured = messages.select(size.alias("size")).observe(_OBSERVED, F.sum("size").alias("size"), F.max("size").alias("largest"))
    shutil.rmtree(settings.checkpoint(NAME), ignore_errors=True)
    sink = measured.writeStream.format("noop").option("checkpointLocation", str(settings.checkpoint(NAME)))
    return sink.queryName(NAME).trigger(**trigger(options, _EVERY_S)).start()
