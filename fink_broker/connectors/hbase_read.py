"""Reading the HBase tables: rows by key, by stretches of keys and by a cell. No Spark here."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import happybase
from Hbase_thrift import TScan

from fink_broker.connectors.hbase import SCHEMA_PREFIX, Client
from fink_broker.errors import UsageError

_SCAN_ROWS = 1_000

Rows = list[tuple[bytes, dict[bytes, bytes]]]
T = TypeVar("T")


@dataclass(frozen=True)
class Stretch:
    """A stretch of the keys of a table, from `first` on to before `end`; from its end back to its beginning if so."""

    first: bytes
    end: bytes
    backwards: bool = False

    @classmethod
    def prefix(cls, begin: str) -> Stretch:
        """The keys that begin so."""
        return cls(begin.encode(), _after(begin.encode()))

    @classmethod
    def only(cls, key: str) -> Stretch:
        """One key."""
        return cls(key.encode(), key.encode() + b"\0")

    @classmethod
    def times(cls, begin: str, since: float | None = None, until: float | None = None, *, backwards: bool = False) -> Stretch:
        """The keys that begin so and go on with a time in days, from `since` to `until`, both included.

        Times of a survey have the same number of digits before the point, so their texts sort as they do.
        """
        first = f"{begin}{'0' if since is None else since}".encode()
        # The colon comes after all digits.
        end = f"{begin}:".encode() if until is None else _after(f"{begin}{until}".encode())
        return cls(first, end, backwards)


def _after(key: bytes) -> bytes:
    """The first key behind all that begin so, empty behind all there are; these are texts, without a byte 255."""
    return key and key[:-1] + bytes([key[-1] + 1])


def _before(key: bytes) -> bytes:
    """A key between this one and all texts before it."""
    return key[:-1] + bytes([key[-1] - 1, 255])


class Reader(Client):
    """Reads tables. A thread needs a reader of its own."""

    def stretches(
        self,
        table: str,
        some: Iterable[Stretch],
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        condition: bytes | None = None,
    ) -> Rows:
        """Rows of some stretches of keys, in their order, without schema rows.

        Parameters
        ----------
        table : str
            Table.
        some : iterable of Stretch
            Which keys.
        columns : sequence of str, optional
            ``family:name``, or ``family`` for all of one; all without. A row that has none of them is left out.
        limit : int, optional
            How many rows at most.
        condition : bytes, optional
            In HBase's filter language, on columns that are read; see `within`.

        Raises
        ------
        UsageError
            There is no such table.
        ServerUnavailable
            HBase did not answer in time.
        """
        found: Rows = []
        for one in some:
            left = None if limit is None else limit - len(found)
            if left == 0:
                break
            rows = self._about(table, _scan(one, _encoded(columns), left, condition))
            found += [row for row in rows if not row[0].startswith(SCHEMA_PREFIX)]
        return found

    def rows(self, table: str, keys: Sequence[bytes], columns: Sequence[str] | None = None) -> Rows:
        """Rows by their keys; see `stretches`."""
        return self._about(table, lambda opened: opened.rows(keys, _encoded(columns)))

    def containing(self, table: str, column: str, text: str) -> Rows:
        """Rows whose cell of a column is this text: region servers look through the whole table."""
        family, _, name = column.partition(":")
        value = text.replace("'", "''")  # as HBase's filter language has it
        condition = f"SingleColumnValueFilter('{family}', '{name}', =, 'binary:{value}', true, true)"
        return self._about(table, lambda opened: list(opened.scan(filter=condition, batch_size=_SCAN_ROWS)))

    def between(self, table: str, column: str, since: float, until: float, *more: str) -> Rows:
        """Rows whose cell of a column, a double, is between two positive numbers, both included, with that column and some more."""
        wanted, condition = _encoded([column, *more]), within(column, since, until)
        return self._about(table, lambda opened: list(opened.scan(columns=wanted, filter=condition, batch_size=_SCAN_ROWS)))

    def put(self, table: str, key: bytes, cells: Mapping[str, str], version: int) -> None:
        """Put cells of text beside what a row has; `version` in ms."""
        encoded = {column.encode(): text.encode() for column, text in cells.items()}
        self._about(table, lambda opened: opened.put(key, encoded, timestamp=version))

    def kinds(self, table: str) -> dict[str, str]:
        """Types of the columns of a table, each by the newest of its schema rows that names it."""
        rows = self._about(table, lambda opened: list(opened.scan(row_prefix=SCHEMA_PREFIX, include_timestamp=True)))
        rows.sort(key=lambda row: max(written for _, written in row[1].values()))
        return {column.decode(): kind.decode() for _, cells in rows for column, (kind, _) in cells.items()}

    def _timeout_ms(self) -> int:
        """No longer than who asks is patient."""
        return min(super()._timeout_ms(), max(1, round(1000 * self.place.patience_s)))

    def _about(self, table: str, question: Callable[[happybase.Table], T]) -> T:
        name = self._full(table)

        def ask(connection: happybase.Connection) -> T:
            try:
                return question(connection.table(name))
            except Exception as error:
                # Thrift has one error for all that HBase refuses; this one does not go away by itself.
                # Its text may be bytes, of which `str` makes none.
                if "TableNotFound" in repr(error):
                    raise UsageError(
                        f"HBase has no table '{name}' yet: the archive service makes the tables (fink start archive)"
                    ) from error
                raise

        return self._ask(ask)


def within(column: str, since: float, until: float) -> bytes:
    """Condition, in HBase's filter language, that a double lies between two numbers, both included; a cell that is not there meets it.

    HBase compares bytes: those of two doubles of one sign are in the order of what they are without it.
    """
    if since < 0 <= until:
        return b"(" + _of_one_sign(column, -0.0, since) + b" OR " + _of_one_sign(column, 0.0, until) + b")"
    return _of_one_sign(column, *sorted((since, until), key=abs))


def _of_one_sign(column: str, least: float, most: float) -> bytes:
    return b"(" + _compared(column, b">=", least) + b" AND " + _compared(column, b"<=", most) + b")"


def _compared(column: str, how: bytes, number: float) -> bytes:
    family, _, name = column.encode().partition(b":")
    value = struct.pack(">d", number).replace(b"'", b"''")
    return b"SingleColumnValueFilter('%b', '%b', %b, 'binary:%b', false, true)" % (family, name, how, value)


def _scan(
    stretch: Stretch, columns: Sequence[bytes] | None, limit: int | None, condition: bytes | None
) -> Callable[[happybase.Table], Rows]:
    first, end = (stretch.end, _before(stretch.first)) if stretch.backwards else (stretch.first, stretch.end)
    size = min(limit or _SCAN_ROWS, _SCAN_ROWS)
    scan = TScan(startRow=first, stopRow=end, columns=columns, caching=size, filterString=condition, reversed=stretch.backwards or None)

    def ask(opened: happybase.Table) -> Rows:
        """As happybase's `scan`, which asks whether there is more also where fewer have come than were asked for: a question of four."""
        client = opened.connection.client
        number = client.scannerOpenWithScan(opened.name, scan, {})
        try:
            found: Rows = []
            while wanted := size if limit is None else min(size, limit - len(found)):
                some = client.scannerGetList(number, wanted)
                found += [(row.row, {name: cell.value for name, cell in row.columns.items()}) for row in some]
                if len(some) < wanted:
                    break
            return found
        finally:
            client.scannerClose(number)

    return ask


def _encoded(columns: Sequence[str] | None) -> list[bytes] | None:
    return None if columns is None else [column.encode() for column in columns]
