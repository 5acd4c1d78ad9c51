"""What science modules cost: from the notes that their workers leave in the alerts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fink_broker.monitoring.counts import Books

_FILES = 20


@dataclass(frozen=True)
class Costs:
    """Of the newest batches, CPU milliseconds an alert by module, and the peak memory of one worker."""

    cpu_ms: dict[str, float] = field(default_factory=dict)
    memory_mb: int = 0


def newest(books: Books) -> Costs:
    """Costs over the newest files of science alerts; those of a broker before this one have no notes."""
    tables = [table for table in list(books.science.values())[-_FILES:] if "science_cost" in table.column_names]
    return total(note for table in tables for note in table["science_cost"].drop_null().to_pylist())


def total(notes: Iterable[Any]) -> Costs:
    """Costs out of notes, see `worker.batch`."""
    spent: Counter[str] = Counter()
    alerts: Counter[str] = Counter()
    memory = 0
    for note in map(json.loads, notes):
        memory = max(memory, note["memory_mb"])
        for name, (cpu_ms, number, _) in note["modules"].items():
            spent[name] += cpu_ms
            alerts[name] += number
    return Costs({name: round(spent[name] / number, 3) for name, number in alerts.items()}, memory)
