"""The ledger: the nights that have left the sinks' logs, and what was counted of them.

A sink's log would hold every file ever written, and each reader goes through all of it for every batch. So a night that is merged and
read by all leaves it (`services.prune`). Here is written first until when its files have left: what the log still names of them does
not count.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fink_broker.files import write_whole

_FILE = "ledger.json"


@dataclass(frozen=True)
class Ledger:
    """What has left.

    Parameters
    ----------
    data : Path
        Folder that holds those of the sinks.
    until : dict
        Folder of a night (relative to `data`) to the time of the newest file that has left it, Unix time in seconds.
    counts : dict
        Night to service to the fields of its `monitoring.counts.Counts`.
    """

    data: Path
    until: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)

    def key(self, folder: Path) -> str:
        """Name of a night's folder in `until`."""
        return folder.relative_to(self.data).as_posix() if folder.is_relative_to(self.data) else ""

    def has_left(self, path: Path, time: float) -> bool:
        """Whether a file, last changed at a time (s), has left the log."""
        return time <= self.until.get(self.key(path.parent), -1)

    def save(self) -> None:
        """Write it in one step."""
        write_whole(self.data / _FILE, json.dumps({name: value for name, value in asdict(self).items() if name != "data"}))


def load(data: Path) -> Ledger:
    """The ledger of a data folder; empty if nothing has left yet."""
    try:
        return Ledger(data, **json.loads((data / _FILE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Ledger(data)
