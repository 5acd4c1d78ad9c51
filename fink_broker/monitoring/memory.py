"""The peak memory of processes, sampled while they run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from types import TracebackType

import psutil

from fink_broker.infra.processes import tree_usage


class PeakMemory:
    """Samples the resident memory of process trees in the background; a context manager.

    Parameters
    ----------
    pids : callable
        Gives the process ids to look at, anew for each sample.
    every : float
        Seconds between two samples.
    """

    def __init__(self, pids: Callable[[], Iterable[int]], every: float = 0.5) -> None:
        self._pids = pids
        self._every = every
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.peak = 0
        """Highest sum seen, bytes. Memory that processes share counts in each of them: the true figure is lower."""

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._done.wait(self._every):
            total = 0
            for pid in set(self._pids()):
                try:
                    total += tree_usage(pid).rss
                except psutil.NoSuchProcess:
                    continue  # it ended meanwhile
            self.peak = max(self.peak, total)
