"""The Parquet archive: where its nights lie, what was merged into each, and how much of them is nowhere else.

A night is a folder that is never changed: a merge makes another one beside it, and the two change names in one step. So a reader who
opens a file of a night that has meanwhile been merged does not find it, and asks for the night again; nobody gets half of each.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from fink_broker.config import Settings
from fink_broker.connectors import ledger, parquet
from fink_broker.connectors.parquet import File
from fink_broker.errors import FinkError
from fink_broker.files import exchange, write_whole

# What a merge notes in the folder it makes; Spark passes over names that begin with an underscore.
_NOTE = "_merge.json"


@dataclass(frozen=True)
class Digest:
    """Of ids, in whatever order: how many, and modulo 2^64 their sum, their exclusive or, and the sum of their hashes."""

    rows: int = 0
    total: int = 0
    xor: int = 0
    hashed: int = 0

    def __add__(self, other: Digest) -> Digest:
        total, hashed = ((one + two) % 2**64 for one, two in ((self.total, other.total), (self.hashed, other.hashed)))
        return Digest(self.rows + other.rows, total, self.xor ^ other.xor, hashed)


@dataclass(frozen=True)
class Note:
    """What the last merge noted of a night.

    Parameters
    ----------
    files : sequence of str
        Names of the files in the sink's log whose alerts it has, or has others in place of.
    rows : int
        Alerts that it wrote.
    reprocessed : str, optional
        When its alerts were processed anew (ISO 8601, UTC): what the files hold is older.
    """

    files: Sequence[str] = ()
    rows: int = 0
    reprocessed: str | None = None

    def save(self, folder: Path) -> None:
        """Write it into the folder of a night."""
        write_whole(folder / _NOTE, json.dumps(asdict(self)))


@dataclass(frozen=True)
class Night:
    """What the archive holds of a night: the note and the files of one merge."""

    note: Note = Note()
    files: Sequence[Path] = ()


def note(folder: Path) -> Note:
    """The note of a night's folder; an empty one if it was never merged."""
    try:
        return Note(**json.loads((folder / _NOTE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Note()
    except (ValueError, TypeError) as error:
        raise FinkError(f"{folder / _NOTE} is damaged: reprocess the night, or move its folder away and merge it again") from error


def folder(settings: Settings, kind: str, night: str) -> Path:
    """Folder of a night; `kind` is ``raw`` or ``science``."""
    return settings.archive_folder / kind / f"year={night[:4]}" / f"month={night[4:6]}" / f"day={night[6:]}"


def night(settings: Settings, kind: str, night: str) -> Night:
    """What the archive holds of a night; nothing if it was never merged."""
    place = folder(settings, kind, night)
    while True:
        # Where two renames must do for one step, it has another name between them.
        there = next((one for one in (place, old(place), place) if one.exists()), None)
        if there is None:
            return Night()
        try:
            inode = there.stat().st_ino
            found = Night(note(there), sorted(there.glob("*.parquet")))
            if there.stat().st_ino == inode:
                return found
        except FileNotFoundError:
            continue


def files(settings: Settings, kind: str) -> list[Path]:
    """The Parquet files of the archive, oldest night first."""
    return [file for one in sorted(nights(settings, kind)) for file in night(settings, kind, one).files]


def nights(settings: Settings, kind: str) -> set[str]:
    """The nights that the archive has."""
    days = (settings.archive_folder / kind).glob("year=*/month=*/day=*")
    return {"".join(part.partition("=")[2] for part in day.parts[-3:]) for day in days}


def rows(paths: Iterable[Path]) -> int:
    """Rows of Parquet files, from their footers."""
    return sum(int(pq.read_metadata(path).num_rows) for path in paths)


def digest(paths: Iterable[Path], alert_id: str) -> Digest:
    """Digest of the ids in Parquet files, of which nothing else is read.

    Parameters
    ----------
    paths : iterable of Path
        The files.
    alert_id : str
        Column of 64-bit integers; a dotted name reaches into a struct.
    """
    found = Digest()
    for table in parquet.read([File(0, path) for path in paths], [alert_id]):
        ids = parquet.column(table, alert_id).to_numpy().astype(np.uint64)
        # The finaliser of SplitMix64 (Steele, Lea and Flood 2014, OOPSLA): sums of hashes tell sets apart that sums of ids do not.
        mixed = (ids ^ (ids >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        hashed = (mixed ^ (mixed >> np.uint64(31))).sum(dtype=np.uint64)
        found += Digest(len(ids), int(ids.sum(dtype=np.uint64)), int(np.bitwise_xor.reduce(ids)), int(hashed))
    return found


def new(folder: Path) -> Path:
    """Where a night is made anew."""
    return folder.with_name(f".{folder.name}.new")


def old(folder: Path) -> Path:
    """Where what a night was goes, and stays until the next merge: who is listing it gets to the end."""
    return folder.with_name(f".{folder.name}.old")


def put(folder: Path) -> None:
    """What was made anew becomes the night."""
    shutil.rmtree(old(folder), ignore_errors=True)
    if not folder.exists():
        new(folder).rename(folder)
    elif exchange(new(folder), folder):
        new(folder).rename(old(folder))
    else:
        folder.rename(old(folder))
        new(folder).rename(folder)


def tidy(settings: Settings) -> None:
    """Delete what earlier merges have left beside the nights; a night that one of them was about to replace is put back."""
    for left in settings.archive_folder.glob("*/year=*/month=*/.day=*"):
        night = left.with_name(left.stem.removeprefix("."))
        if left == old(night) and not night.exists():
            left.rename(night)
        else:
            shutil.rmtree(left)


def nowhere_else(settings: Settings, kind: str, night: str) -> int:
    """Alerts of a night that have left the logs (`services.prune`) and are in the archive only."""
    counts = ledger.load(settings.raw.parent).counts.get(night, {}).get("stream2raw" if kind == "raw" else "raw2science", {})
    return int(counts.get("given", 0))
