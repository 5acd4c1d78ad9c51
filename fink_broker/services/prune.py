"""What is merged and read by all leaves the logs, then the disk: a night at a time, in two runs of the nightly merge.

The first run notes in the ledger what was counted of the night, and takes its files out of the sinks' logs; the next one, when no query
holds the logs as they were, takes them out of what the readers have noted as read, and deletes them. What was rejected stays: it is
nowhere else. Each step may be interrupted, and is done again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fink_broker.config import Settings
from fink_broker.connectors import ledger, parquet, sparklog
from fink_broker.connectors.ledger import Ledger
from fink_broker.connectors.parquet import File
from fink_broker.monitoring.counts import Books
from fink_broker.services import registry
from fink_broker.services.merge import KINDS, by_night, is_merged
from fink_broker.surveys import Survey

_DAY_S = 24 * 3_600


def prune(settings: Settings, survey: Survey, now: float | None = None) -> list[str]:
    """Let those nights leave whose files are all older than `[archive] retention_days`, merged, and read by every service.

    Parameters
    ----------
    settings, survey : Settings, Survey
        Folders; columns to count by.
    now : float, optional
        Unix time in s; default the clock's.

    Returns
    -------
    list of str
        The nights that have left with this run.
    """
    data = settings.raw.parent
    book = ledger.load(data)
    _delete(settings, book)
    before = (time.time() if now is None else now) - settings.archive.retention_days * _DAY_S
    present = {kind: by_night(settings, kind) for kind in KINDS}
    left = []
    for night in sorted(set(present["raw"]) | set(present["science"])):
        files = {kind: present[kind].get(night, []) for kind in KINDS}
        if all(file.closed < before for some in files.values() for file in some) and _may_leave(settings, survey, night, files):
            entered = _enter(settings, survey, book, night, [file for some in files.values() for file in some])
            if any(len(by_night(settings, kind).get(night, [])) != len(some) for kind, some in files.items()):
                continue  # late alerts have come at this very moment, and may have been counted: another time
            book = entered
            book.save()
            left.append(night)
    for folder in (*settings.raws, settings.science):
        sparklog.trim(
            folder / parquet.LOG, lambda entry: book.has_left(parquet.local_path(entry["path"]), entry["modificationTime"] / 1000)
        )
    return left


def _may_leave(settings: Settings, survey: Survey, night: str, files: dict[str, list[File]]) -> bool:
    if not all(is_merged(settings, kind, night, some) for kind, some in files.items() if some):
        return False
    books = Books(settings, survey, night)
    if books.present("raw2science").lag:
        return False
    # A service that has never read science alerts (it was never started, or reads something else) keeps nobody waiting.
    readers = [name for name in _services(settings) if name not in ("stream2raw", "raw2science", "mirror")]
    readers = [name for name in readers if Books(settings, survey).present(name).taken]
    return not any(books.present(name).lag for name in readers)


def _services(settings: Settings) -> list[str]:
    return [entry.name for entry in registry.known(settings).values() if entry.kind == "stream" and entry.counted]


def _enter(settings: Settings, survey: Survey, book: Ledger, night: str, files: Sequence[File]) -> Ledger:
    until = dict(book.until)
    for file in files:
        key = book.key(file.path.parent)
        until[key] = max(until.get(key, 0), file.closed)
    books = Books(settings, survey, night)
    services = {name: asdict(books.left(name)) for name in _services(settings) if name != "mirror"}
    return replace(book, until=until, counts={**book.counts, night: services})


def _is_out(book: Ledger, named: set[Path], entry: dict[str, Any]) -> bool:
    path = parquet.local_path(entry["path"])
    return path not in named and book.has_left(path, entry["timestamp"] / 1000)


def _delete(settings: Settings, book: Ledger) -> None:
    """Take what is out of the sinks' logs out of the readers' too, and delete it, with what crashes have left beside it."""
    named = {file.path for folder in (*settings.raws, settings.science) for file in parquet.logged(folder)}
    for source in (settings.root / "checkpoints").glob("*/sources/*"):
        sparklog.trim(source, lambda entry: _is_out(book, named, entry))
    for key, until in book.until.items():
        for path in (book.data / key).glob("*.parquet"):
            if path not in named and path.stat().st_mtime_ns // 1_000_000 / 1000 <= until:
                path.with_name(f".{path.name}.crc").unlink(missing_ok=True)
                path.unlink()
