"""The strangest alerts of each night."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from fink_broker.connectors.hbase_read import Stretch
from fink_broker.errors import UsageError
from fink_broker.query.named import chosen
from fink_broker.query.tables import Tables
from fink_broker.query.times import days, night

A_NIGHT = 10
"""How many of a night Fink keeps (fink-broker, ``archive_anomaly``)."""


def anomalies(
    tables: Tables, n: int, columns: Sequence[str] | None = None, *, since: float | None = None, until: float | None = None
) -> pa.Table:
    """The alerts with the lowest anomaly scores of the newest nights, ten a night, the newest first.

    Parameters
    ----------
    tables : Tables
        Where to look.
    n : int
        How many.
    columns : sequence of str, optional
        All of the table without.
    since, until : float, optional
        Both included; in days, as the survey counts them.

    Raises
    ------
    UsageError
        The survey has no such scores.
    """
    lookup, known = tables.lookup("anomaly"), tables.lookups
    if known.score is None:
        raise UsageError(f"{tables.survey.name} has no anomaly scores")
    begin = lookup.begin("")
    keys: list[tuple[float, str]] = []
    while len(keys) < n:
        newest = tables.stretches(lookup.table, [Stretch.times(begin, since, until, backwards=True)], [known.time], limit=1)
        if not newest.num_rows:
            break
        # A night is a date of UTC; what is looked for next ends before it.
        dawn = days(night(newest[known.time][0].as_py(), tables.zero), tables.zero)
        stretch = Stretch.times(begin, max(dawn, since or dawn), until)
        scored = tables.stretches(lookup.table, [stretch], [known.time, known.score]).sort_by(known.score).slice(0, A_NIGHT)
        keys += sorted(((float(row[known.time]), str(row["rowkey"])) for row in scored.to_pylist()), reverse=True)
        until = dawn - 1e-6
    wanted = None if columns is None else [*columns, known.time]
    rows = tables.rows(lookup.table, [key for _, key in keys[:n]], wanted)
    if rows.num_rows:
        rows = rows.sort_by([(known.time, "descending")])
    return chosen(tables, lookup.table, rows, columns)
