"""How fast a service is now: its rate, and how long alerts took to its output, from its newest files.

The clocks are those of Kafka's messages (when the telescope sent them), of the machine that decoded them (`brokerIngestTimestamp`) and of
the file system (when a file was closed).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fink_broker.config import Settings
from fink_broker.connectors import parquet
from fink_broker.connectors.parquet import File

_RECENT_S = 60.0
_FILES = 20


@dataclass(frozen=True)
class Stage:
    """A span of time that alerts take: its median and the time that all but one in a hundred do not exceed, in seconds."""

    p50: float
    p99: float


@dataclass(frozen=True)
class Speed:
    """Alerts that a service gave out in the last minute, in a second, and its stages by name, over its newest files."""

    rate: float
    stages: dict[str, Stage]


# By service: folder of the output, and the stages between two clocks.
_SENT, _DECODED, _CLOSED = "kafkaTimestamp", "brokerIngestTimestamp", ""
_STAGES = {
    "stream2raw": {"telescope to broker": (_SENT, _DECODED), "broker to raw": (_DECODED, _CLOSED), "telescope to raw": (_SENT, _CLOSED)},
    "raw2science": {"broker to science": (_DECODED, _CLOSED)},
}


def speed(settings: Settings, service: str) -> Speed | None:
    """How fast a service is; None for one that writes no files, or none yet.

    Parameters
    ----------
    settings : Settings
        Folders.
    service : str
        Name.
    """
    if service not in _STAGES:
        return None
    folder = settings.raw if service == "stream2raw" else settings.science
    files = [file for file in parquet.committed(folder) if file.partition.get("status", "ok") == "ok"]
    if not files:
        return None
    since = time.time() - _RECENT_S
    recent = sum(file.rows for file in files if _closed(file.path) >= since)
    newest = files[-_FILES:]
    return Speed(recent / _RECENT_S, {name: _stage(newest, *clocks) for name, clocks in _STAGES[service].items()})


def _closed(path: Path) -> float:
    return path.stat().st_mtime


def _stage(files: Sequence[File], start: str, end: str) -> Stage:
    columns = [name for name in (start, end) if name]
    spans = []
    for file, table in zip(files, parquet.read(files, columns), strict=True):
        clocks = {name: table[name].to_numpy().astype("datetime64[us]").astype(np.int64) / 1e6 for name in columns}
        spans.append((clocks[end] if end else _closed(file.path)) - clocks[start])
    p50, p99 = np.percentile(np.concatenate(spans), [50, 99])
    return Stage(round(float(p50), 3), round(float(p99), 3))
