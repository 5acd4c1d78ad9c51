"""What was counted of each night: a small JSON file a night in HOME/data/metrics/nights, each alert once, whatever crashes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fink_broker.config import Settings
from fink_broker.files import write_whole

FILTER = "filter"


@dataclass(frozen=True)
class Night:
    """The counts of a night.

    Parameters
    ----------
    batch : int
        The last batch that is in them: batches come in order, and one that comes again changes nothing.
    alerts : int
        Science alerts.
    counts : dict
        Those of the survey's statistics.
    distinct : dict
        The values of which there are few; what is told of them is their number.
    by : dict
        Name (``class``, ``field``, ``band``, ``hour``, ``filter``) to value to number; without value, ``""``. For ``filter`` the values
        are topics.
    reprocessed : str, optional
        When the alerts that are counted were processed anew, see `connectors.archive.Note`.
    """

    batch: int = -1
    alerts: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    distinct: dict[str, list[str]] = field(default_factory=dict)
    by: dict[str, dict[str, int]] = field(default_factory=dict)
    reprocessed: str | None = None


def add(settings: Settings, rows: pa.Table, batch: int) -> list[str]:
    """Count a batch; the nights that it has changed.

    Parameters
    ----------
    settings : Settings
        Folder.
    rows : Table
        Rows of `transforms.statistics.counted`.
    batch : int
        Number of the batch.
    """
    changed = []
    for night in map(str, pc.unique(rows["night"]).to_pylist()):
        before = load(settings, night)
        if before.batch < batch:
            save(settings, night, added(before, rows.filter(pc.field("night") == night), batch))
            changed.append(night)
    return changed


def save(settings: Settings, night: str, counts: Night) -> None:
    """Write the counts of a night, in one step."""
    write_whole(_file(settings, night), json.dumps(asdict(counts), sort_keys=True))


def load(settings: Settings, night: str) -> Night:
    """The counts of a night; none if nothing was counted yet."""
    try:
        return Night(**json.loads(_file(settings, night).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Night()


def nights(settings: Settings) -> list[str]:
    """The nights that have counts, oldest first."""
    return sorted(file.stem for file in settings.statistics.glob("[0-9]*.json"))


def added(before: Night, rows: pa.Table, batch: int) -> Night:
    """Counts of a night with some more of its alerts, that came with a batch."""
    # A count that these alerts do not have (a module is off now) stays what it was.
    counts = before.counts | {name: before.counts.get(name, 0) + (pc.sum(values).as_py() or 0) for name, values in _fields(rows, "counts")}
    distinct = {
        name: sorted({*before.distinct.get(name, ()), *pc.unique(values).drop_null().to_pylist()})
        for name, values in _fields(rows, "distinct")
    }
    by = {name: _more(before.by.get(name, {}), pc.fill_null(values, "")) for name, values in _fields(rows, "by")}
    by[FILTER] = _more(before.by.get(FILTER, {}), pc.list_flatten(rows["topics"]))
    return Night(batch, before.alerts + len(rows), counts, distinct, by, before.reprocessed)


def _fields(rows: pa.Table, record: str) -> list[tuple[str, Any]]:
    return [(name, pc.struct_field(rows[record], name)) for name in rows.schema.field(record).type.names]


def _more(before: dict[str, int], values: Any) -> dict[str, int]:
    new = {one["values"]: one["counts"] for one in pc.value_counts(values).to_pylist()}
    return {value: before.get(value, 0) + new.get(value, 0) for value in (*before, *new)}


def _file(settings: Settings, night: str) -> Path:
    return settings.statistics / f"{night}.json"
