"""Histograms of what batches and their alerts took: each batch is counted once, when somebody first looks after it was committed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
from prometheus_client.core import HistogramMetricFamily, Metric

from fink_broker.monitoring.latency import BOUNDS


@dataclass
class _Sums:
    """Alerts (or batches) by bucket, and the sum of what they took, seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0

    def add(self, counts: list[int], total: float) -> None:
        """Count more."""
        self.counts = [one + more for one, more in zip(self.counts, counts, strict=True)]
        self.total += total


class Histograms:
    """The histograms of latency, by service and stage, and of the duration of batches, by service.

    Parameters
    ----------
    since : float
        Batches that were closed after this count (Unix time, seconds).
    """

    def __init__(self, since: float) -> None:
        self._since = since
        self._reached: dict[str, float] = {}
        self._stages: dict[tuple[str, str], _Sums] = {}
        self._batches: dict[str, _Sums] = {}

    def add(self, services: Mapping[str, Mapping[str, Any]]) -> None:
        """Count the batches that are new. Who looks every quarter of a minute misses none: the state has the newest ten."""
        for service, state in services.items():
            after = self._reached.get(service, self._since)
            # Of one that is not committed yet, only its files are there.
            for batch in (one for one in state["batches"] if one["seconds"] is not None):
                new = batch["closed"] > after
                for stage, span in batch["stages"].items():
                    sums = self._stages.setdefault((service, stage), _Sums())
                    if new:
                        sums.add(span["counts"], span["sum"])
                sums = self._batches.setdefault(service, _Sums())
                if new:
                    counts = np.bincount([np.searchsorted(BOUNDS, batch["seconds"])], minlength=len(BOUNDS) + 1)
                    sums.add(counts.tolist(), batch["seconds"])
                self._reached[service] = max(batch["closed"], self._reached.get(service, self._since))

    def collect(self) -> Iterator[Metric]:
        """The histograms as Prometheus has them: each bucket counts those below it too."""
        says = "What alerts took, by stage, until the batch was committed"
        latency = HistogramMetricFamily("fink_latency_seconds", says, labels=["service", "stage"])
        for (service, stage), sums in self._stages.items():
            latency.add_metric([service, stage], _buckets(sums), sums.total)
        yield latency
        durations = HistogramMetricFamily("fink_batch_duration_seconds", "What batches took, from plan to commit", labels=["service"])
        for service, sums in self._batches.items():
            durations.add_metric([service], _buckets(sums), sums.total)
        yield durations


def _buckets(sums: _Sums) -> list[tuple[str, float]]:
    return list(zip([*map(str, BOUNDS), "+Inf"], accumulate(sums.counts), strict=True))
