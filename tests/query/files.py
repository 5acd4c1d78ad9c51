"""A HOME whose science alerts are Parquet files: merged nights, and files of the sink that are not merged yet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fink_broker.config import Settings
from fink_broker.connectors import archive
from fink_broker.connectors.archive import Note

JD = 2461121.5  # the beginning of the night 20260322


def alerts(first: int, last: int, **more: Any) -> pa.Table:
    """Alerts by number, one each 0.001 days, each at its own place; the archive's order is theirs."""
    numbers = range(first, last)
    candidate = [
        {"jd": JD + n * 0.001, "ra": n * 0.01 % 360, "dec": n * 0.01 % 180 - 90, "magpsf": 15 + n % 50 / 10, "fid": 1 + n % 2}
        for n in numbers
    ]
    columns = {"objectId": [f"ZTF{n}" for n in numbers], "candid": list(numbers), "candidate": candidate}
    images = {name: [{"stampData": f"{name} {n}".encode()} for n in numbers] for name in ("cutoutScience", "cutoutTemplate")}
    added = {name: [value] * len(numbers) for name, value in more.items()}
    return pa.table({**columns, "roid": [n % 4 for n in numbers], **images, **added})


def merged(settings: Settings, night: str, rows: pa.Table, files: list[str], kind: str = "science") -> Path:
    """A night of the archive, in row groups of 100, that these files of the sink were merged into."""
    folder = archive.folder(settings, kind, night)
    folder.mkdir(parents=True)
    pq.write_table(rows, folder / "part.parquet", row_group_size=100)
    Note(files, rows.num_rows).save(folder)
    return folder / "part.parquet"


def committed(settings: Settings, batch: int, night: str, rows: pa.Table) -> str:
    """A file of the sink, with its entry in the log; its name."""
    path = settings.science / f"night={night}" / f"batch{batch}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path)
    log = settings.science / "_spark_metadata"
    log.mkdir(exist_ok=True)
    entry = {"path": path.as_uri(), "size": path.stat().st_size, "modificationTime": 1_000, "action": "add"}
    (log / str(batch)).write_text("v1\n" + json.dumps(entry), encoding="utf-8")
    return path.name
