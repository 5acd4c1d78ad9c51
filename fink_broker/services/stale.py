"""Rows of index tables that alerts of a night have no more: a track was found, or science made anew says something else of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fink_broker.connectors.hbase import SCHEMA_PREFIX
from fink_broker.connectors.hbase_read import Reader, Rows, Stretch
from fink_broker.surveys import Survey, Table
from fink_broker.transforms.rows import puts

Row = tuple[bytes, dict[bytes, bytes]]

_KEYS = 1_000  # in one question


def depends(table: Table, survey: Survey) -> bool:
    """Whether it depends on what Fink adds in which rows of a table an alert is."""
    return table.unique and _of_fink(" ".join([*table.key, table.where or ""]), survey)


def rows(reader: Reader, tables: Sequence[Table], survey: Survey, alerts: DataFrame) -> dict[str, list[tuple[bytes, int]]]:
    """Keys of such rows by table, whatever made them, each with the newest version that may go.

    Parameters
    ----------
    reader : Reader
        The tables.
    tables : sequence of Table
        Those that it depends on.
    survey : Survey
        Its columns.
    alerts : DataFrame
        All science alerts of a night, each once. Their keys are held in memory.
    """
    put, layouts = puts(alerts, survey, tables)
    now: pa.Table = put.select("id", "processed", *[layout.key for layout in layouts]).toArrow()
    limits = alerts.agg(F.min(F.expr(_time(survey))), F.max(F.expr(_time(survey)))).first()
    assert limits is not None
    found = {}
    for table, layout in zip(tables, layouts, strict=True):
        current, owner = set(now[layout.key].to_pylist()), next(iter(table.columns))
        there = [row for row in _there(reader, table, survey, alerts, limits) if row[0].decode() not in current]
        # The first column says whose row it is; those of alerts that came with another night stay.
        ids = [int.from_bytes(cells[owner.encode()], "big", signed=True) for _, cells in there]
        named = pa.table({"row": pa.array([key for key, _ in there], pa.binary()), "id": pa.array(ids, now.schema.field("id").type)})
        gone = named.join(now.select(["id", "processed"]), "id", join_type="inner")
        found[table.name] = [(one["row"], one["processed"]) for one in gone.to_pylist()]
    return found


def _time(survey: Survey) -> str:
    """The time that row keys have."""
    assert survey.lookups is not None  # a survey with tables
    return f"{survey.current}.{survey.lookups.time.partition(':')[2]}"


def _there(reader: Reader, table: Table, survey: Survey, alerts: DataFrame, limits: tuple[float, float]) -> Iterable[Row]:
    """Rows of the table, with the column that says whose they are, that may be of these alerts."""
    assert survey.lookups is not None
    owner = next(iter(table.columns))
    varying = sum(_of_fink(part, survey) for part in table.key)
    if table.key[varying] != _time(survey):
        if not varying:
            return _by_key(reader, table, alerts, owner)
        # No place in the keys: HBase looks through the table, which must be one of few rows.
        return reader.between(table.name, survey.lookups.time, *limits, owner)
    if varying:
        return _after_each(reader, table.name, limits, owner, len(table.key) - varying)
    return reader.stretches(table.name, [Stretch.times("", *limits)], [owner])


def _by_key(reader: Reader, table: Table, alerts: DataFrame, owner: str) -> Iterator[Row]:
    """Rows under the keys of all alerts, also of those that the table is not for."""
    expression = f"concat_ws('_', {', '.join(f'cast({part} as string)' for part in table.key)})"
    keys = [str(key).encode() for key in alerts.select(F.expr(expression).alias("key")).toArrow()["key"].to_pylist()]
    for start in range(0, len(keys), _KEYS):
        yield from reader.rows(table.name, keys[start : start + _KEYS], [owner])


def _after_each(reader: Reader, table: str, limits: tuple[float, float], owner: str, parts: int) -> Iterator[Row]:
    """Rows between two times, whatever comes before the time in their keys: from each such beginning on to the next.

    One beginning may go on where another ends (``Seyfert``, ``Seyfert_1``): what is passed over begins with a digit and another digit.
    """
    at, done = b"", set[str]()
    while row := _first(reader, table, at, owner):
        begin, time, *_ = row[0][0].decode().rsplit("_", parts)
        if begin not in done:
            done.add(begin)
            yield from reader.stretches(table, [Stretch.times(f"{begin}_", *limits)], [owner])
        at = f"{begin}_{time[0]}:".encode()


def _first(reader: Reader, table: str, at: bytes, owner: str) -> Rows:
    # Schema rows lie among the others. 0xFF comes after all texts.
    before = [Stretch(at, SCHEMA_PREFIX)] if at < SCHEMA_PREFIX else []
    after = Stretch.prefix(SCHEMA_PREFIX.decode()).end
    return reader.stretches(table, [*before, Stretch(max(at, after), b"\xff")], [owner], limit=1)


def _of_fink(sql: str, survey: Survey) -> bool:
    """Whether an expression names a column that Fink adds, or the record that one lies in."""
    sources = {(column.source or name).partition(".")[0] for name, column in survey.fink_columns.items()}
    return not (sources | set(survey.fink_columns) | {"fink"}).isdisjoint(re.findall(r"\w+", sql))
