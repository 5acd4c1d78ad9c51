"""aggregation: counts by night, class, field, band and filter, to files and to the survey's table of statistics where HBase runs."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from threading import Lock
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql.streaming.query import StreamingQuery

from fink_broker import __version__
from fink_broker.connectors import archive as parquet_archive
from fink_broker.connectors.hbase import SCHEMA_PREFIX, Client, Place, Row
from fink_broker.connectors.parquet import File
from fink_broker.connectors.sparklog import newest
from fink_broker.errors import ConfigError, ServerUnavailable
from fink_broker.infra import hbase
from fink_broker.monitoring import statistics
from fink_broker.services import raw2science, recount
from fink_broker.services.context import Context, trigger
from fink_broker.services.live import Live
from fink_broker.services.merge import by_night
from fink_broker.surveys import Survey
from fink_broker.transforms.cells import encode
from fink_broker.transforms.statistics import counted
from fink_broker.transforms.workers import Workers
from fink_broker.worker.place import forget

NAME = "aggregation"

_SOON_S = 5.0
_AGAIN_S = 30.0

log = logging.getLogger(__name__)


def check(survey: Survey) -> None:
    """Whether there is anything to do.

    Raises
    ------
    ConfigError
        The survey does not say what to count.
    """
    if survey.statistics is None:
        raise ConfigError(f"{survey.name} does not say what to count of a night: start without {NAME}")


def start(context: Context) -> StreamingQuery:
    """Start the query.

    Raises
    ------
    ConfigError
        What was counted is of another checkpoint: batches would be taken for those that are in it.
    """
    settings, survey = context.settings, context.survey
    checkpoint, known = settings.checkpoint(NAME), statistics.nights(settings)
    last = max((statistics.load(settings, night).batch for night in known), default=-1)
    if last > newest(checkpoint / "offsets"):
        raise ConfigError(f"{settings.statistics} counts {last + 1} batches that {checkpoint} does not know: move both away")
    place = Workers(settings.root / "tmp" / NAME, settings.science_section.worker_memory_mb)
    forget(place.folder)
    science = raw2science.stream(context, settings.aggregation.max_files_per_trigger)
    table: _Table = context.memory.setdefault(NAME, _Table(context, set(known)))
    if settings.aggregation.filters and table.filters is None:
        table.filters = Live(context, science)
    filters = table.filters.filters if table.filters else []
    count = partial(counted, survey=survey, filters=filters, workers=place)
    table.count = count

    def batch(rows: DataFrame, number: int) -> None:
        found = rows.toArrow()
        with table.lock:
            table.stale.update(statistics.add(settings, found, number))

    sink = count(science).writeStream.foreachBatch(batch).option("checkpointLocation", str(checkpoint))
    return sink.queryName(NAME).trigger(**trigger(context.options, settings.aggregation.trigger_seconds)).start()


def review(context: Context, _query: StreamingQuery) -> bool:
    """Bring what has changed to HBase; whether there are other filters to go on with."""
    table: _Table = context.memory[NAME]
    table.recount()
    table.write()
    return table.filters is not None and table.filters.refresh()


def settle(context: Context, _query: StreamingQuery) -> None:
    """Bring the last batches to HBase; after a run that works off all there is, count nights anew too."""
    if NAME in context.memory:
        context.memory[NAME].recount(whole=context.options.once)
        context.memory[NAME].write(at_once=True)


class _Table:
    """The survey's table of statistics.

    Parameters
    ----------
    context : Context
        Settings and survey.
    stale : set of str
        Nights whose row may be older than their counts: all, when the service starts.
    """

    def __init__(self, context: Context, stale: set[str]) -> None:
        self._context, self.stale = context, stale
        self.filters: Live | None = None
        self.count: Callable[[DataFrame], DataFrame] = partial(counted, survey=context.survey)
        self.lock = Lock()
        self._anew: Iterator[str] = iter(())
        self._next = self._look = 0.0
        self._rows: dict[File, int] = {}
        self._said = ""

    def recount(self, *, whole: bool = False) -> None:
        """Go a step further with nights that were processed anew, or the whole way."""
        if whole or time.monotonic() >= self._look:
            self._look = math.inf
            self._anew = recount.anew(self._context, NAME, self.count, self.lock)
        for night in self._anew:
            if night:
                log.info("%s was processed anew, and is counted anew", night)
                self.stale.add(night)
            if not whole:
                return
        if self._look == math.inf:
            self._look = time.monotonic() + _AGAIN_S

    def write(self, *, at_once: bool = False) -> None:
        """Write the rows of nights that have changed; if HBase does not answer, some time later."""
        if not self.stale or (time.monotonic() < self._next and not at_once):
            return
        self._next = time.monotonic() + _AGAIN_S
        nights = sorted(self.stale)
        try:
            self._put({night: self._cells(night) for night in nights})
        except ServerUnavailable as error:
            if self._said != str(error):
                log.warning("the statistics are in files only, until HBase answers: %s", error)
            self._said = str(error)
            return
        self._said = ""
        self.stale.difference_update(nights)

    def _cells(self, night: str) -> dict[str, int]:
        settings, spec = self._context.settings, self._context.survey.statistics
        assert spec is not None
        found = statistics.load(settings, night)
        cells = {**found.counts, **{name: len(values) for name, values in found.distinct.items()}}
        for family, name in spec.columns.items():
            cells |= {f"{family}:{value}": number for value, number in found.by.get(name, {}).items() if value}
        if spec.raw:
            cells[spec.raw] = parquet_archive.nowhere_else(settings, "raw", night) + sum(self._count(file) for file in self._raw(night))
        return cells

    def _raw(self, night: str) -> list[File]:
        return by_night(self._context.settings, "raw").get(night, [])

    def _count(self, file: File) -> int:
        if file not in self._rows:
            self._rows[file] = file.rows
        return self._rows[file]

    def _put(self, nights: dict[str, dict[str, int]]) -> None:
        settings, spec = self._context.settings, self._context.survey.statistics
        assert spec is not None
        host, port = hbase.address(settings)
        now = time.time_ns() // 1_000_000
        with Client(Place(host, port, settings.hbase.table_prefix, settings.hbase.batch_cells, _SOON_S)) as client:
            client.create({spec.table: spec.families}, settings.hbase.compression)
            schema = SCHEMA_PREFIX + f"{__version__}_{__version__}".encode()
            kinds = client.row(spec.table, schema)
            names = {name.encode(): b"integer" for cells in nights.values() for name in cells}
            if not names.keys() <= kinds.keys():
                client.write(spec.table, [Row(schema, now, kinds | names)])
            client.write(spec.table, [Row(spec.key.format(night).encode(), now, _encoded(cells)) for night, cells in nights.items()])


def _encoded(cells: dict[str, int]) -> dict[bytes, bytes]:
    values: Any = encode(pa.array(cells.values(), pa.int32()))
    return dict(zip([name.encode() for name in cells], values, strict=True))
