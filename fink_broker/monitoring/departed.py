"""What the archive has of a night that has left the logs (`services.prune`), and what was counted of it when it left."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fink_broker.connectors import archive, ledger, parquet
from fink_broker.connectors.parquet import File
from fink_broker.monitoring.counts import Books

_NO_IDS = np.empty(0, np.int64)


@dataclass(frozen=True)
class Departed:
    """Alerts of a night that are in the archive only.

    Parameters
    ----------
    messages, sound : int
        Messages, and the sound alerts in them, as they were counted when the night left.
    raw_ids, science_ids : array of int64
        Ids in the archive, also of late alerts that were added to it.
    faults : list of str
        What the archive lacks, one line each.
    """

    messages: int = 0
    sound: int = 0
    raw_ids: np.ndarray = field(default_factory=lambda: _NO_IDS)
    science_ids: np.ndarray = field(default_factory=lambda: _NO_IDS)
    faults: list[str] = field(default_factory=list)


def of(books: Books) -> Departed:
    """What has left of the night that the books are of; nothing of a night that has not."""
    settings, night = books.settings, books.night
    counts = ledger.load(settings.raw.parent).counts.get(night or "")
    if night is None or counts is None:
        return Departed()
    intake, science = (counts.get(name, {}) for name in ("stream2raw", "raw2science"))
    expected = {"raw": int(intake.get("given", 0)), "science": int(science.get("given", 0))}
    found = {kind: _ids(books, kind, night) for kind in expected}
    faults = [
        f"{number - len(found[kind]):,} {kind} alerts that are nowhere else are not in the archive"
        for kind, number in expected.items()
        if len(found[kind]) < number
    ]
    return Departed(int(intake.get("taken", 0)), expected["raw"], found["raw"], found["science"], faults)


def _ids(books: Books, kind: str, night: str) -> np.ndarray:
    name, files = books.survey.alert_id, [File(0, path) for path in archive.night(books.settings, kind, night).files]
    return np.concatenate([_NO_IDS, *(parquet.column(table, name).to_numpy() for table in parquet.read(files, [name]))])
