"""Writes the rows of a batch into the HBase tables: what runs in Spark's executors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fink_broker.connectors.hbase import Client, Collision, Place, Row
from fink_broker.transforms.cells import encode
from fink_broker.transforms.rows import ROW_KEY, Layout

# What comes back: so many alerts ("alerts"), rows of a table ("rows"), a version of broker and science ("version"), a collision.
OUTCOME = "what string, name string, n long"

_SLICE = 500  # alerts that are in Python at a time


class Table(NamedTuple):
    """The rows of one table among the alerts of a partition.

    Parameters
    ----------
    layout : Layout
        Its columns.
    rows : pa.Table
        `alert` (its number, ascending), `version` and `key`; with `each` also `row`. A key comes once.
    collisions : set of Collision
        Alerts of this partition that have the same key.
    """

    layout: Layout
    rows: pa.Table
    collisions: set[Collision]


def writer(target: Place, layouts: Sequence[Layout]) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function that writes the alerts of one partition and tells what it has done, see `OUTCOME`."""
    # Spark tries a task four times: together they are as patient as anybody else.
    impatient = replace(target, patience_s=target.patience_s / 4)

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        arrived = list(batches)
        if not arrived:
            return
        # Of those that share a row the last one has it; two alerts at one moment are told apart by their ids, the same in every run.
        order: Any = [(name, "ascending") for name in ("time", "processed", "id")]
        alerts = pa.Table.from_batches(arrived).sort_by(order).combine_chunks()
        tables = [_table(alerts, layout) for layout in layouts]
        client = _client(impatient)
        for start in range(0, len(alerts), _SLICE):
            part = alerts.slice(start, _SLICE)
            values: dict[str, list[bytes | None]] = {}
            for table in tables:
                first, end = np.searchsorted(table.rows["alert"].to_numpy(), [start, start + _SLICE])
                rows = table.rows.slice(first, end - first)
                if len(rows):
                    put = _entries(rows, table.layout) if table.layout.each else _rows(rows, table.layout, part, start, values)
                    found = client.write(table.layout.table, put, keep=table.layout.each, shared=table.layout.last)
                    if table.layout.unique:
                        table.collisions.update(found)
        told = [("alerts", "", len(alerts)), *[("version", version, 1) for version in alerts["versions"].unique().to_pylist()]]
        for table in tables:
            told.append(("rows", table.layout.table, len(table.rows)))
            told += [("collision", _text(table.layout.table, collision), 1) for collision in table.collisions]
        yield pa.RecordBatch.from_pylist([dict(zip(("what", "name", "n"), one, strict=True)) for one in told])

    return write


@cache
def _client(target: Place) -> Client:
    """One connection a worker, kept from batch to batch; it comes back by itself if the server has closed it."""
    return Client(target)


def _table(alerts: pa.Table, layout: Layout) -> Table:
    """Which alerts have a row in a table, the last of those that share one."""
    column = alerts[layout.key].combine_chunks()
    if layout.each:
        numbers, column = pc.list_parent_indices(column), pc.list_flatten(column)
        rows = pa.table({"alert": numbers, "key": pc.struct_field(column, ROW_KEY), "row": column})
    else:
        rows = pa.table({"alert": pa.array(range(len(alerts)), pa.int64()), "key": column})
        rows = rows.filter(rows["key"].is_valid())
    latest: dict[str, int] = {}
    collisions = set()
    keys: list[Any] = rows["key"].to_pylist()
    for index, key in enumerate(keys):
        if layout.unique and key in latest:
            one, other = (_id(alerts, rows["alert"][place].as_py()) for place in (latest[key], index))
            if one != other:
                collisions.add(Collision(key.encode(), one, other))
        latest[key] = index
    rows = rows.take(pa.array(sorted(latest.values()), pa.int64()))
    return Table(layout, rows.append_column("version", alerts[layout.version].take(rows["alert"])), collisions)


def _id(alerts: pa.Table, index: int) -> bytes:
    [cell] = encode(alerts["id"].slice(index, 1).combine_chunks())
    assert cell is not None  # an alert without an id is rejected
    return cell


def _rows(rows: pa.Table, layout: Layout, part: pa.Table, start: int, values: dict[str, list[bytes | None]]) -> Iterator[Row]:
    """Rows of one table among some alerts; `values` keeps what is encoded for the tables after it."""
    for _, name in layout.cells:
        if name not in values:
            values[name] = encode(part[name].combine_chunks())
    columns = [(column, values[name]) for column, name in layout.cells]
    where: Any = zip(*[rows[name].to_pylist() for name in ("alert", "key", "version")], strict=True)
    for number, key, version in where:
        cells = {column: cell for column, cells in columns if (cell := cells[number - start]) is not None}
        yield Row(key.encode(), version, cells)


def _entries(rows: pa.Table, layout: Layout) -> Iterator[Row]:
    """Rows of a table of the entries of an array."""
    entries = rows["row"].combine_chunks()
    columns = [(column, encode(pc.struct_field(entries, name))) for column, name in layout.cells]
    where: Any = zip(rows["key"].to_pylist(), rows["version"].to_pylist(), strict=True)
    for number, (key, version) in enumerate(where):
        yield Row(key.encode(), version, {column: cell for column, cells in columns if (cell := cells[number]) is not None})


def _text(table: str, collision: Collision) -> str:
    """A collision in one line; the same whichever of the two came first."""
    ids = sorted(str(int.from_bytes(cell, "big", signed=True)) for cell in (collision.there, collision.new))
    return f"{table} {collision.key.decode()}: {' and '.join(ids)}"
