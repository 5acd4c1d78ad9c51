"""What the pages show of the services: looked at when somebody asks, and not more often than every two seconds whoever asks."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from fink_broker.config import Settings
from fink_broker.connectors import parquet
from fink_broker.connectors.parquet import File
from fink_broker.monitoring import statistics
from fink_broker.monitoring.servers import servers
from fink_broker.monitoring.shelf import Kept
from fink_broker.monitoring.status import status

FRESH_S = 2.0

T = TypeVar("T")


class Cached(Generic[T]):
    """A value that is worked out anew when it is asked for and older than some seconds; by one thread, the others wait for it."""

    def __init__(self, make: Callable[[], T], seconds: float = FRESH_S) -> None:
        self._make, self._seconds = make, seconds
        self._lock = threading.Lock()
        self._value: tuple[float, T] | None = None

    def __call__(self) -> T:
        """The value."""
        with self._lock:
            if self._value is None or time.monotonic() >= self._value[0] + self._seconds:
                value = self._make()
                self._value = (time.monotonic(), value)
            return self._value[1]


class State:
    """What the pages read.

    Parameters
    ----------
    settings : Settings
        Which broker.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        read: Kept = {}
        self.services = Cached(lambda: status(settings, kept=read))
        self.servers = Cached(lambda: [finding._asdict() for finding in servers(settings)])
        self._files = Cached(self._committed)
        self._known: dict[Path, File] = {}  # with the rows that were read from their footers

    def _committed(self) -> dict[str, list[File]]:
        raws = [file for folder in self.settings.raws for file in parquet.committed(folder)]
        sound = [file for file in raws if file.partition["status"] == "ok"]
        rejected = [file for file in raws if file.partition["status"] != "ok"]
        found = {"raw": sound, "rejected": rejected, "science": parquet.committed(self.settings.science)}
        known = {file.path: self._known.get(file.path, file) for files in found.values() for file in files}
        self._known = known
        return {kind: [known[file.path] for file in files] for kind, files in found.items()}

    def nights(self) -> list[dict[str, Any]]:
        """Alerts by night, the newest first: in raw, rejected, in science."""
        counts = {kind: _sums(files) for kind, files in self._files().items()}
        nights = sorted({night for one in counts.values() for night in one}, reverse=True)
        return [{"night": night, **{kind: counts[kind][night] for kind in counts}} for night in nights]

    def counted(self, night: str | None = None) -> dict[str, dict[str, int]]:
        """What the service aggregation has counted, of one night or of all: by class, field, band, hour and filter."""
        total: dict[str, Counter[str]] = {}
        for one in [night] if night else statistics.nights(self.settings):
            for name, values in statistics.load(self.settings, one).by.items():
                total.setdefault(name, Counter()).update(values)
        return {name: dict(counts.most_common()) for name, counts in total.items()}

    def history(self, seconds: float | None, bins: int = 120) -> dict[str, Any]:
        """Alerts over time: how many each kind of file holds, by the time it was closed.

        Parameters
        ----------
        seconds : float, optional
            Back to when; by default to the first file.
        bins : int
            Into how many spans the time is divided.

        Returns
        -------
        dict
            ``step_s``, ``times`` (beginnings of the spans, ISO 8601, UTC) and for each kind the alerts of each span.
        """
        files, now = self._files(), time.time()
        first = min((file.closed for some in files.values() for file in some), default=now)
        begin = first if seconds is None else now - seconds
        step = max((now - begin) / bins, 1.0)
        number = int((now - begin) // step) + 1
        found: dict[str, Any] = {kind: [0] * number for kind in files}
        for kind, some in files.items():
            for file in some:
                if begin <= file.closed <= now:
                    found[kind][int((file.closed - begin) // step)] += file.rows
        times = [datetime.fromtimestamp(begin + place * step, UTC).isoformat(timespec="seconds") for place in range(number)]
        return {"step_s": round(step, 1), "times": times} | found


def _sums(files: Sequence[File]) -> Counter[str]:
    counts = Counter[str]()
    for file in files:
        counts[file.partition["night"]] += file.rows
    return counts
