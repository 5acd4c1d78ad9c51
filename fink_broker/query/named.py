"""What belongs to a name: the light curve of an object, the newest of a class, a solar-system object, a tracklet, a night's statistics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fink_broker.connectors.hbase import ANNOTATIONS
from fink_broker.connectors.hbase_read import Stretch
from fink_broker.errors import UsageError
from fink_broker.query.decoded import arrow_type
from fink_broker.query.tables import Tables
from fink_broker.surveys.lookups import Question

VALID = "valid"
KEY = "key:key"


def light_curve(
    tables: Tables, name: str, columns: Sequence[str] | None = None, *, limits: bool = False, annotations: bool = False
) -> pa.Table:
    """The alerts of an object, by time.

    Parameters
    ----------
    tables : Tables
        Where to look.
    name : str
        The object's name, such as ``ZTF18abc...`` .
    columns : sequence of str, optional
        ``i:magpsf``, or ``magpsf``; all without.
    limits : bool
        With upper limits and measurements of bad quality, told apart by ``d:tag``: ``valid``, ``upperlim`` or ``badquality``, as Fink's API
        has it.
    annotations : bool
        With the columns ``a:<kind>``, see `annotations`.
    """
    lookup, known = tables.lookup("object"), tables.lookups
    begin = Stretch.times(lookup.begin(name))
    # It is no column of the table, and comes last.
    columns = None if columns is None else [one for one in columns if one not in (known.tag, known.tag.partition(":")[2])]
    wanted = _with(tables, lookup.table, columns, known.time)
    if annotations and (wanted := wanted or tables.columns(lookup.table, None)) is not None:
        wanted = [*wanted, ANNOTATIONS]
    found = tables.stretches(lookup.table, [begin], wanted)
    if limits:
        parts = [_tagged(found, known.tag, VALID)]
        for tag, table in known.limits.items():
            there = set(tables.kinds(table))
            beside = None if columns is None else [one for one in tables.columns(lookup.table, wanted) or () if one in there]
            part = tables.stretches(table, [begin], beside)
            # What an alert was made of is of bad quality only beside it.
            fresh = ~np.isin(_times(part, known.time), _times(found, known.time))
            parts.append(_tagged(part.filter(pa.array(fresh)), known.tag, tag))
        found = pa.concat_tables([part for part in parts if part.num_rows] or parts[:1], promote_options="permissive")
    found = by_time(found, known.time)
    notes = [one for one in found.column_names if one.startswith(f"{ANNOTATIONS}:")]
    return chosen(tables, lookup.table, found, columns, *([known.tag] if limits else []), *notes)


def of(
    tables: Tables,
    question: Question,
    name: str,
    columns: Sequence[str] | None = None,
    *,
    since: float | None = None,
    until: float | None = None,
    limit: int | None = None,
    newest: bool = False,
    keys: bool = False,
    begins: bool = False,
) -> pa.Table:
    """The rows of a name, in the order of the table's keys.

    Parameters
    ----------
    tables : Tables
        Where to look.
    question : {"class", "solar_system", "tracklet", "statistics", "object"}
        What the name is one of. The statistics of a night are those of ``YYYYMMDD``, or of its beginning: ``202603`` is a month.
    name : str
        Class, number or designation, tracklet.
    columns : sequence of str, optional
        All of the table without.
    since, until : float, optional
        Both included; in days, as the survey counts them.
    limit : int, optional
        How many at most.
    newest : bool
        The newest first, and of those the first `limit`.
    keys : bool
        With the row keys as `key:key`, as Fink's API has them.
    begins : bool
        The rows of all names that begin so.

    Raises
    ------
    UsageError
        The survey has no such table, or that no such column or no times in its keys.
    """
    lookup = tables.lookup(question)
    begin, table = lookup.begin(name), lookup.table.format(name)
    if "{}" in lookup.table and not re.fullmatch(r"\w+", name, re.ASCII):
        raise UsageError(f"'{name}' is no name: small letters, digits and _")
    if lookup.whole:
        stretch = Stretch.only(begin)
    elif lookup.timed:
        first, last = tables.lookups.span
        times = (first if since is None else since, last if until is None else until)
        stretch = Stretch.times(begin, *times, backwards=newest)
    else:
        stretch = Stretch.prefix(begin.removesuffix("_") if begins else begin)
    found = tables.stretches(table, [stretch], columns, limit)
    answer = chosen(tables, table, found, columns)
    return answer.add_column(0, KEY, found["rowkey"]) if keys else answer


def by_time(rows: pa.Table, time: str) -> pa.Table:
    """Rows, the oldest first."""
    times = _times(rows, time)
    return rows if np.all(times[:-1] <= times[1:]) else rows.sort_by(time)


def chosen(tables: Tables, table: str, rows: pa.Table, columns: Sequence[str] | None, *more: str) -> pa.Table:
    """The columns that were asked for, in that order, null where no row has one; without the row key, which says nothing new."""
    if columns is None:
        there = [name for name in rows.column_names if name != "rowkey"]
        front = [name for name in (*tables.lookups.first, *more) if name in there]
        return rows.select(list(dict.fromkeys([*front, *there])))
    kinds, there = tables.kinds(table), rows.column_names
    names = [*(tables.columns(table, columns) or []), *more]
    filled = {name: pa.nulls(len(rows), arrow_type(kinds.get(name, "string"))) for name in names if name not in there}
    columns_of: dict[str, Any] = {name: rows[name] if name in there else filled[name] for name in dict.fromkeys(names)}
    return pa.table(columns_of)


def _with(tables: Tables, table: str, columns: Sequence[str] | None, *more: str) -> list[str] | None:
    return None if columns is None else list(dict.fromkeys([*(tables.columns(table, columns) or []), *more]))


def _times(rows: pa.Table, time: str) -> np.ndarray:
    return pc.cast(rows[time], pa.float64()).to_numpy() if time in rows.column_names else np.empty(0)


def _tagged(rows: pa.Table, name: str, tag: str) -> pa.Table:
    return rows.append_column(name, pa.array([tag] * rows.num_rows, pa.string()))


def alert(tables: Tables, name: str, alert_id: int | None = None, columns: Sequence[str] = ()) -> dict[str, Any]:
    """The row of an alert of an object in the main table, with its `rowkey`; the object's last without an id.

    Raises
    ------
    UsageError
        There is no such object or alert.
    """
    known, lookup = tables.lookups, tables.lookup("object")
    wanted = list(dict.fromkeys([known.alert, known.time, *columns]))
    rows = tables.stretches(lookup.table, [Stretch.times(lookup.begin(name))], wanted)
    if not rows.num_rows:
        raise UsageError(f"there is no object '{name}'")
    found = [row for row in rows.sort_by(known.time).to_pylist() if alert_id in (None, row[known.alert])]
    if not found:
        raise UsageError(f"{name} has no alert {alert_id}")
    row: dict[str, Any] = found[-1]
    return row
