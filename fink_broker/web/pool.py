"""Connections to the tables, each used by one request at a time and kept for the next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue

from fink_broker import query
from fink_broker.config import Settings
from fink_broker.infra import hbase


class Pool:
    """Open connections; as many as there are requests at once.

    Parameters
    ----------
    settings : Settings
        Where HBase is, and which survey.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._free: SimpleQueue[query.Tables] = SimpleQueue()

    @contextmanager
    def tables(self) -> Iterator[query.Tables]:
        """The tables, for one request.

        Raises
        ------
        ServerUnavailable
            The embedded HBase does not run.
        """
        # A connection to an embedded HBase that has ended would try for seconds.
        hbase.address(self.settings)
        try:
            tables = self._free.get_nowait()
        except Empty:
            tables = query.Tables(self.settings)
        try:
            yield tables
        except BaseException:
            # A server that does not answer may be somewhere else when it is asked again; of other faults nobody knows what they have left.
            tables.__exit__(None, None, None)
            raise
        self._free.put(tables)
