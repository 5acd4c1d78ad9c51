"""The HBase tables of a survey, as a query sees them: asked by names and columns, answered with values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType

import pyarrow as pa

from fink_broker.config import Settings
from fink_broker.connectors.hbase import ANNOTATIONS, Place
from fink_broker.connectors.hbase_read import Reader, Rows, Stretch
from fink_broker.errors import UsageError
from fink_broker.infra import hbase
from fink_broker.query.decoded import decoded
from fink_broker.query.times import mjd_zero
from fink_broker.surveys import get
from fink_broker.surveys.lookups import Lookup, Lookups, Question

# Who asks at a prompt does not wait as long as a service does.
_PATIENCE_S = 10.0


class Tables:
    """An open connection to the tables; used by one thread.

    Parameters
    ----------
    settings : Settings
        Where HBase is, and which survey.

    Raises
    ------
    ServerUnavailable
        The embedded HBase does not run.
    UsageError
        The survey has no tables.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings, self.survey = settings, get(settings.survey)
        if self.survey.lookups is None:
            raise UsageError(f"{self.survey.name} has no HBase tables yet")
        self.zero = mjd_zero(self.survey)
        self.lookups: Lookups = self.survey.lookups
        host, port = hbase.address(settings)
        self.reader = Reader(Place(host, port, settings.hbase.table_prefix, patience_s=min(_PATIENCE_S, settings.wait.seconds)))
        self._kinds: dict[str, dict[str, str]] = {}

    def __enter__(self) -> Tables:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.reader.close()

    def lookup(self, question: Question) -> Lookup:
        """Which table answers a question.

        Raises
        ------
        UsageError
            None of this survey does.
        """
        found = self.lookups.by.get(question)
        if found is None:
            raise UsageError(f"{self.survey.name} has no table by {question.replace('_', ' ')}; by {', '.join(self.lookups.by)}")
        return found

    def stretches(
        self,
        table: str,
        some: Iterable[Stretch],
        columns: Sequence[str] | None = None,
        limit: int | None = None,
        condition: bytes | None = None,
    ) -> pa.Table:
        """Rows of some stretches of keys; see `Reader.stretches` and `values`."""
        return self.values(table, self.reader.stretches(table, some, self.columns(table, columns), limit, condition))

    def rows(self, table: str, keys: Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
        """Rows by their keys."""
        return self.values(table, self.reader.rows(table, [key.encode() for key in keys], self.columns(table, columns)))

    def values(self, table: str, rows: Rows) -> pa.Table:
        """Cells as values, by the schema rows of the table; annotations are text.

        Raises
        ------
        UsageError
            No schema row names a column.
        """
        present = {column.decode() for _, cells in rows for column in cells}
        notes = {column for column in present if column.startswith(f"{ANNOTATIONS}:")}
        kinds = self.kinds(table, present - notes)
        if unknown := present - notes - set(kinds):
            raise UsageError(f"no schema row of {table} says what {', '.join(sorted(unknown))} is: it was not written by this broker")
        return decoded(rows, kinds | dict.fromkeys(sorted(notes), "string"))

    def kinds(self, table: str, columns: Iterable[str] = ()) -> dict[str, str]:
        """Types of a table's columns; read again if it does not know one of these."""
        if not set(columns) <= self._kinds.setdefault(table, {}).keys() or not self._kinds[table]:
            self._kinds[table] = self.reader.kinds(table)
        return self._kinds[table]

    def columns(self, table: str, wanted: Sequence[str] | None) -> list[str] | None:
        """Columns of a table by their names, with or without the family; None, for all but annotations, as the families.

        Raises
        ------
        UsageError
            There is no such column.
        """
        kinds = self.kinds(table, wanted or ())
        if not kinds:
            return None  # nothing is in it yet
        if wanted is None:
            defined = next((one.families for one in self.survey.tables if one.name == table), None)
            return list(defined or dict.fromkeys(column.partition(":")[0] for column in kinds))
        names: dict[str, str] = {}
        for column in kinds:
            names.setdefault(column.partition(":")[2], column)
        whole = {ANNOTATIONS, *(column.partition(":")[0] for column in kinds)}
        found = []
        for one in wanted:
            full = one if one in kinds or one in whole or one.startswith(f"{ANNOTATIONS}:") else names.get(one)
            if full is None:
                raise UsageError(f"{table} has no column '{one}'; there are {', '.join(kinds)}"[:600])
            found.append(full)
        return found
