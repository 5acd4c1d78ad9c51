"""What the archive service has written: a line for each batch."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from fink_broker.config import Settings


class Written(NamedTuple):
    """What was written.

    Parameters
    ----------
    alerts : int
        Alerts that came.
    rows : dict
        Rows put, by table.
    collisions : list of str
        Pairs of alerts with one row key.
    """

    alerts: int
    rows: dict[str, int]
    collisions: list[str]


def file_of(settings: Settings) -> Path:
    """Where the rows of each batch are counted: a line of JSON a batch, the last one of a number is right."""
    return settings.root / "data" / "metrics" / "archive.jsonl"


def keep(settings: Settings, batch: int, written: Written) -> None:
    """Note what a batch wrote."""
    path = file_of(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"batch": batch, "in": written.alerts, "rows": written.rows, "collisions": written.collisions}) + "\n")


def counts(settings: Settings) -> Written:
    """What was archived in all; a batch that ran twice counts once, and so does a collision, whichever run has met it."""
    path = file_of(settings)
    batches, collisions = {}, set()
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        entry = json.loads(line)
        batches[entry["batch"]] = entry
        collisions.update(entry.get("collisions", []))
    total = Counter[str]()
    for entry in batches.values():
        total.update(entry["rows"])
    return Written(sum(entry["in"] for entry in batches.values()), dict(total), sorted(collisions))
