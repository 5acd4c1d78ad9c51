"""Rows of index tables that alerts of a night have no more: a track was found, or science made anew says something else of them."""

from __future__ import annotations

import re
from collections.abc import Iterator

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


def rows(reader: Reader, table: Table, survey: Survey, alerts: DataFrame) -> list[tuple[bytes, int]]:
    """Keys of such rows, whatever made them, each with the newest version that may go.

    Parameters
    ----------
    reader : Reader
        The tables.
    table : Table
        One that `depends`.
    survey : Survey
        Its columns.
    alerts : DataFrame
        All science alerts of a night, each once.
    """
    put, [layout] = puts(alerts, survey, [table])
    now: pa.Table = put.select(F.col(layout.key).alias("key"), "id", F.col(layout.version).alias("version")).toArrow()
    current = set(now["key"].to_pylist())
    gone = [(key, cells) for key, cells in _there(reader, table, survey, alerts) if key.decode() not in current]
    # The first column says whose row it is; those of alerts that came with another night stay.
    owner = next(iter(table.columns)).encode()
    ids = [int.from_bytes(cells[owner], "big", signed=True) for _, cells in gone]
    found = pa.table({"row": pa.array([key for key, _ in gone], pa.binary()), "id": pa.array(ids, now.schema.field("id").type)})
    pairs = found.join(now.select(["id", "version"]), "id", join_type="inner").select(["row", "version"])
    return [(one["row"], one["version"]) for one in pairs.to_pylist()]


def _there(reader: Reader, table: Table, survey: Survey, alerts: DataFrame) -> Iterator[Row]:
    """Rows of the table, with their first column, that may be of these alerts."""
    assert survey.lookups is not None  # a survey with tables
    owner, column = next(iter(table.columns)), survey.lookups.time
    time = f"{survey.current}.{column.partition(':')[2]}"
    varying = sum(_of_fink(part, survey) for part in table.key)
    if not varying and table.key[0] != time:
        yield from _by_key(reader, table, survey, alerts, owner)
        return
    limits = alerts.agg(F.min(F.expr(time)), F.max(F.expr(time))).first()
    assert limits is not None
    if table.key[varying] != time:
        # No place in the keys: HBase looks through the table, which must be one of few rows.
        yield from reader.between(table.name, column, limits[0], limits[1], owner)
    elif varying:
        yield from _after_each(reader, table.name, limits, owner, len(table.key) - varying)
    else:
        yield from reader.stretches(table.name, [Stretch.times("", *limits)], [owner])


def _by_key(reader: Reader, table: Table, survey: Survey, alerts: DataFrame, owner: str) -> Iterator[Row]:
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
