"""What is asked of HBase's Thrift server to make a table and to put rows: of one connection, without another try."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import happybase
from Hbase_thrift import AlreadyExists
from Hbase_thrift import IOError as ThriftIOError

from fink_broker.errors import ConfigError

ANNOTATIONS = "a"


class Collision(NamedTuple):
    """Two alerts with one row key: what the first column of each holds."""

    key: bytes
    there: bytes
    new: bytes


class Row(NamedTuple):
    """A row to put: key, version of its cells (ms), and ``family:name`` to bytes."""

    key: bytes
    timestamp: int
    cells: dict[bytes, bytes]


def create(connection: happybase.Connection, name: str, families: Sequence[str], compression: str) -> None:
    """Make a table; one that is there is left as it is.

    Raises
    ------
    ConfigError
        HBase cannot load the compression.
    """
    # Asked here, so that another try finds what the first, or somebody else, has made.
    if name.encode() in connection.tables():
        return
    options = {"max_versions": 1, "bloom_filter_type": "ROW", "block_cache_enabled": True, "compression": compression.upper()}
    try:
        connection.create_table(name, {family: dict(options) for family in [*families, ANNOTATIONS]})
    except ThriftIOError as error:
        message = str(error.message)
        if "Compression" in message:
            raise ConfigError(f"this HBase cannot load the compression {compression}: set [hbase] compression to gz or none") from error
        raise
    except AlreadyExists:
        return


def requests(rows: Iterable[Row], cells: int) -> Iterator[list[Row]]:
    """Rows, some at a time: as many as have so many cells."""
    some: list[Row] = []
    size = 0
    for row in rows:
        some.append(row)
        size += len(row.cells)
        if size >= cells:
            yield some
            some, size = [], 0
    if some:
        yield some


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """A request is made of one object a cell: looking for cycles among them would take a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def write(
    connection: happybase.Connection, *, name: str, rows: Sequence[Row], keep: bool, shared: bool, collisions: set[Collision]
) -> None:
    """Put rows as `Client.write` says, and note the collisions."""
    table = connection.table(name)
    marker = next(iter(rows[0].cells))
    there = {key: cells[marker] for key, cells in table.rows([row.key for row in rows], [marker], include_timestamp=True)}
    # No version may lie in the future: it would outlive what comes after it.
    now = time.time_ns() // 1_000_000
    versions: dict[int, list[Row]] = {}
    for row in rows:
        version = min(row.timestamp, now)
        before, since = there.get(row.key, (row.cells[marker], 0))
        # Noted before anything is put: another try finds the new row.
        if before != row.cells[marker]:
            collisions.add(Collision(row.key, before, row.cells[marker]))
        if since == 0 or (since <= version and not keep):
            versions.setdefault(version, []).append(row)
    for version, some in sorted(versions.items()):
        # Deleted just below the new version (a delete hides puts of its own version), so that no cell of the old row shines through.
        with table.batch(timestamp=version - 1, transaction=True) as deletes:
            for row in some:
                if shared or (row.key in there and there[row.key][1] < version):
                    deletes.delete(row.key, sorted({column.partition(b":")[0] for column in row.cells}))
        with table.batch(timestamp=version, transaction=True) as batch:
            for row in some:
                batch.put(row.key, row.cells)
