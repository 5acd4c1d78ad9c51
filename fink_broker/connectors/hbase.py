"""HBase through its Thrift server: tables, rows, counts. Used on the driver and in executors: no Spark here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter
from types import TracebackType
from typing import TypeVar

import happybase
from thriftpy2.thrift import TException

from fink_broker.connectors import hbase_write
from fink_broker.connectors.hbase_write import ANNOTATIONS, Collision, Row
from fink_broker.infra.retry import patiently

__all__ = ["ANNOTATIONS", "SCHEMA_PREFIX", "Client", "Collision", "Place", "Row", "wait_for"]

SCHEMA_PREFIX = b"schema_"

# A broken or idle connection, a server that is not there or not ready: all worth another try.
_FAULTS = (TException, OSError)
_TIMEOUT_MS = 60_000
_SCAN_ROWS = 1_000

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Where the tables are, small enough to send to executors.

    Parameters
    ----------
    host, port : str, int
        Thrift server.
    prefix : str
        Set before every table name.
    batch_cells : int
        Cells in one request.
    patience_s : float
        How long to go on trying while the server does not answer, seconds.
    """

    host: str
    port: int
    prefix: str = ""
    batch_cells: int = 20_000
    patience_s: float = 300.0


def wait_for(host: str, port: int, seconds: float) -> None:
    """Wait until the Thrift server at an address, and HBase behind it, answer.

    Raises
    ------
    ServerUnavailable
        They did not within so many seconds.
    """
    with Client(Place(host, port, patience_s=seconds)) as client:
        client.tables()


class Client:
    """A connection that comes back: whatever is asked is tried again, with back-off, while the server does not answer."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._connection: happybase.Connection | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next question opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def create(self, tables: Mapping[str, Sequence[str]], compression: str = "none") -> None:
        """Create the tables that are missing, each of one region.

        Parameters
        ----------
        tables : mapping
            Table name to its column families; that of annotations is added.
        compression : str
            Of the files that hold the cells: ``none``, ``gz``, or another that HBase can load.

        Raises
        ------
        ServerUnavailable
            HBase did not answer in time.
        ConfigError
            HBase cannot load the compression.
        """
        there = set(self.tables())

        def make(name: str) -> None:
            with Client(self.place) as client:
                client._ask(partial(hbase_write.create, name=self._full(name), families=tables[name], compression=compression))

        # Half a second each, which HBase spends waiting: together they take little longer.
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(make, [name for name in tables if name not in there]))

    def tables(self) -> list[str]:
        """Names of the tables, without those that have another prefix."""
        names: list[bytes] = self._ask(happybase.Connection.tables)
        return [name.decode().removeprefix(self.place.prefix) for name in names if name.decode().startswith(self.place.prefix)]

    def write(self, table: str, rows: Iterable[Row], *, keep: bool = False, shared: bool = False) -> set[Collision]:
        """Put rows, each in place of what its key held before; families that a row has no cells in are left alone.

        A row of the same version is put again and nothing changes; a row of an older version than the one that is there is not put.
        All rows have the same first column. A key comes once.

        Parameters
        ----------
        table : str
            Its name.
        rows : iterable of Row
            What to put.
        keep : bool
            Leave rows that are there as they are, whatever their version.
        shared : bool
            Whether somebody else may put another version of these rows at the same moment: the newest one stays whole.

        Returns
        -------
        set of Collision
            Rows whose first column held something else before, whether they were put or not.

        Raises
        ------
        ServerUnavailable
            HBase did not answer in time.
        """
        collisions: set[Collision] = set()
        for some in hbase_write.requests(rows, self.place.batch_cells):
            with hbase_write.no_collection():
                self._ask(partial(hbase_write.write, name=self._full(table), rows=some, keep=keep, shared=shared, collisions=collisions))
        return collisions

    def forget(self, table: str, rows: Iterable[tuple[bytes, int]], families: Sequence[str]) -> None:
        """Delete the cells of rows, given with the newest version that goes, in some families."""

        def ask(connection: happybase.Connection) -> None:
            for version, some in groupby(sorted(rows, key=itemgetter(1)), itemgetter(1)):
                with connection.table(self._full(table)).batch(timestamp=version, transaction=True) as batch:
                    for key, _ in some:
                        batch.delete(key, [family.encode() for family in families])

        rows = list(rows)
        self._ask(ask)

    def row(self, table: str, key: bytes) -> dict[bytes, bytes]:
        """Cells of a row, empty if there is none."""
        cells: dict[bytes, bytes] = self._ask(lambda connection: connection.table(self._full(table)).row(key))
        return cells

    def scan(self, table: str, prefix: bytes = b"", limit: int | None = None) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """Rows whose keys begin with a prefix, schema rows among them, in the order of their keys."""
        return self._ask(
            lambda connection: list(connection.table(self._full(table)).scan(row_prefix=prefix or None, limit=limit, batch_size=_SCAN_ROWS))
        )

    def count(self, table: str) -> int:
        """Number of rows, without schema rows."""

        def ask(connection: happybase.Connection) -> int:
            keys = connection.table(self._full(table)).scan(filter="FirstKeyOnlyFilter() AND KeyOnlyFilter()", batch_size=_SCAN_ROWS)
            return sum(not key.startswith(SCHEMA_PREFIX) for key, _ in keys)

        return self._ask(ask)

    def _timeout_ms(self) -> int:
        """How long one answer may take: a large batch may take longer than a server that is not there is waited for."""
        return _TIMEOUT_MS

    def _full(self, table: str) -> str:
        return self.place.prefix + table

    def _ask(self, question: Callable[[happybase.Connection], T]) -> T:
        def attempt() -> T:
            try:
                if self._connection is None:
                    self._connection = happybase.Connection(self.place.host, self.place.port, timeout=self._timeout_ms())
                return question(self._connection)
            except _FAULTS:
                self.close()
                raise

        return patiently(attempt, _FAULTS, self.place.patience_s, f"HBase at {self.place.host}:{self.place.port}")
