"""The Parquet archive: where its nights lie, what was merged into each, and how much of them is nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow.parquet as pq

from fink_broker.config import Settings
from fink_broker.connectors import ledger

# What a merge notes in the folder it makes; Spark passes over names that begin with an underscore.
_NOTE = "_merge.json"


@dataclass(frozen=True)
class Note:
    """What the last merge noted: the names of the files that it has merged and that were in the log, and how many alerts it wrote."""

    files: Sequence[str] = ()
    rows: int = 0

    def save(self, folder: Path) -> None:
        """Write it into the folder of a night."""
        (folder / _NOTE).write_text(json.dumps(asdict(self)), encoding="utf-8")


def note(folder: Path) -> Note:
    """The note of a night's folder; an empty one if it was never merged."""
    try:
        return Note(**json.loads((folder / _NOTE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Note()


def folder(settings: Settings, kind: str, night: str) -> Path:
    """Folder of a night; `kind` is ``raw`` or ``science``."""
    return settings.archive_folder / kind / f"year={night[:4]}" / f"month={night[4:6]}" / f"day={night[6:]}"


def files(settings: Settings, kind: str) -> list[Path]:
    """The Parquet files of the archive, oldest night first."""
    return sorted((settings.archive_folder / kind).glob("year=*/month=*/day=*/*.parquet"))


def nights(settings: Settings, kind: str) -> set[str]:
    """The nights that the archive has."""
    days = (settings.archive_folder / kind).glob("year=*/month=*/day=*")
    return {"".join(part.partition("=")[2] for part in day.parts[-3:]) for day in days}


def rows(paths: Iterable[Path]) -> int:
    """Rows of Parquet files, from their footers."""
    return sum(int(pq.read_metadata(path).num_rows) for path in paths)


def nowhere_else(settings: Settings, kind: str, night: str) -> int:
    """Alerts of a night that have left the logs (`services.prune`) and are in the archive only."""
    counts = ledger.load(settings.raw.parent).counts.get(night, {}).get("stream2raw" if kind == "raw" else "raw2science", {})
    return int(counts.get("given", 0))
