"""Folders as Spark's sinks leave them, written by hand: files, logs, checkpoints."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fink_broker.config import Settings

Row = Mapping[str, Any]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Home:
    """A broker's home, batch by batch.

    Parameters
    ----------
    settings : Settings
        Of the home.
    raw, science, again : Schema
        Columns of the files in raw, science, and of messages that were offered again.
    """

    settings: Settings
    raw: pa.Schema
    science: pa.Schema
    files: list[Path] = field(default_factory=list)
    read: int = 0

    def raw_batch(self, number: int, *parts: tuple[str, str, Sequence[Row], float]) -> None:
        """A batch of stream2raw: for each file status, night, rows, and when it was closed (Unix time in seconds)."""
        made = [
            (self._write(self.settings.raw / f"status={status}" / f"night={night}", number, self.raw, rows), closed)
            for status, night, rows, closed in parts
        ]
        self.files += [path for (path, _), (status, *_) in zip(made, parts, strict=True) if status == "ok"]
        _log(self.settings.raw / "_spark_metadata", number, made)
        _offsets(self.settings.checkpoint("stream2raw"), number, {"t": {"0": 0}}, {"logOffset": number})

    def science_batch(self, number: int, *parts: tuple[str, Sequence[Row], float], read: int = 1) -> None:
        """A batch of raw2science: for each file night, rows, and when it was closed; how many more files of raw it has read."""
        made = [
            (self._write(self.settings.science / f"night={night}", number, self.science, rows), closed) for night, rows, closed in parts
        ]
        _log(self.settings.science / "_spark_metadata", number, made)
        checkpoint = self.settings.checkpoint("raw2science")
        entries = [{"path": path.as_uri(), "timestamp": 0, "batchId": number} for path in self.files[self.read : self.read + read]]
        self.read += read
        _lines(checkpoint / "sources" / "0" / str(number), entries)
        _offsets(checkpoint, number, {"logOffset": number})

    def reader_batch(self, service: str, number: int, *files: Path, begun: float, committed: float) -> None:
        """A batch of a service that reads science: its files, when it was planned and committed."""
        checkpoint = self.settings.checkpoint(service)
        _lines(checkpoint / "sources" / "0" / str(number), [{"path": path.as_uri(), "batchId": number} for path in files])
        _offsets(checkpoint, number, {"logOffset": number})
        (checkpoint / "commits").mkdir(exist_ok=True)
        (checkpoint / "commits" / str(number)).write_text("v1\n{}")
        for kind, when in (("offsets", begun), ("commits", committed)):
            os.utime(checkpoint / kind / str(number), (when, when))

    def send_again(self, number: int, rows: Sequence[Row]) -> None:
        """Rejected messages that stream2raw takes once more, in one of its batches."""
        columns = [pa.field(name, self.raw.field(name).type) for name in ("topic", "partition", "offset", "reason")]
        schema = pa.schema([*columns, pa.field("night", pa.string())])
        path = self._write(self.settings.replay, number, schema, rows)
        _lines(self.settings.checkpoint("stream2raw") / "sources" / "1" / str(number), [{"path": path.as_uri(), "batchId": number}])

    def _write(self, folder: Path, number: int, schema: pa.Schema, rows: Sequence[Row]) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"part-{number:05}.parquet"
        pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema), path)
        return path


def _log(log: Path, number: int, files: Sequence[tuple[Path, float]]) -> None:
    _lines(
        log / str(number), [{"path": path.as_uri(), "action": "add", "modificationTime": round(closed * 1000)} for path, closed in files]
    )


def _offsets(checkpoint: Path, number: int, *sources: Any) -> None:
    (checkpoint / "offsets").mkdir(parents=True, exist_ok=True)
    (checkpoint / "offsets" / str(number)).write_text("\n".join(["v1", "{}", *map(json.dumps, sources)]))


def _lines(file: Path, entries: Sequence[Mapping[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(["v1", *map(json.dumps, entries)]))


def moment(seconds: float) -> datetime:
    """A time as Parquet has it, microseconds exact."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
