"""archive: science alerts into the HBase tables of the survey."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery

from fink_broker.config import Settings
from fink_broker.connectors import parquet
from fink_broker.connectors.hbase import SCHEMA_PREFIX, Client, Place, Row
from fink_broker.errors import ServerUnavailable, UsageError
from fink_broker.filters import registry
from fink_broker.infra import hbase
from fink_broker.monitoring import archived
from fink_broker.science.registry import active
from fink_broker.services import past, raw2science, tables
from fink_broker.services.context import Context, trigger
from fink_broker.services.writer import OUTCOME, writer
from fink_broker.surveys import FinkColumn, Survey, Table
from fink_broker.transforms.rows import ROW_KEY, filled, puts

NAME = "archive"

log = logging.getLogger(__name__)


def start(context: Context) -> StreamingQuery:
    """Make the tables that are not there and start the query."""
    settings = context.settings
    max_files = settings.archive.max_files_per_trigger
    science = parquet.stream(context.spark, settings.science, raw2science.schema(context), max_files)
    alerts, write = build(science, context, place(settings), settings.archive.tables or None)

    def batch(alerts: DataFrame, number: int) -> None:
        archived.keep(settings, number, write(alerts, number))

    # What a batch that ran before a crash has put is put again, the same under the same version: nothing is lost or there twice.
    sink = alerts.writeStream.foreachBatch(batch).option("checkpointLocation", str(settings.checkpoint(NAME)))
    return sink.queryName(NAME).trigger(**trigger(context.options, settings.archive.trigger_seconds)).start()


def recover(context: Context, error: Exception) -> None:
    """Say it in one line where HBase has gone for longer than the configuration allows.

    Raises
    ------
    ServerUnavailable
        That was the cause of the error.
    """
    if ServerUnavailable.__name__ in str(error):
        seconds = f"{context.settings.wait.seconds:g} s"
        raise ServerUnavailable(f"HBase did not answer within {seconds}: is it running? ([wait] seconds sets how long to try)") from error


def place(settings: Settings) -> Place:
    """Where the tables are.

    Raises
    ------
    ServerUnavailable
        The embedded HBase does not run.
    """
    host, port = hbase.address(settings)
    return Place(host, port, settings.hbase.table_prefix, settings.hbase.batch_cells, settings.wait.seconds)


def build(
    alerts: DataFrame, context: Context, target: Place, only: Collection[str] | None = None
) -> tuple[DataFrame, Callable[[DataFrame, int], archived.Written]]:
    """What to stream and what to do with each batch of it.

    Parameters
    ----------
    alerts : DataFrame
        Science alerts, streaming or not.
    context : Context
        Settings and survey.
    target : Place
        Where the tables are; those that are missing are made.
    only : collection of str, optional
        Names of the tables to write; all that the alerts have rows in without.

    Returns
    -------
    DataFrame, callable
        The rows of all tables, and the function that writes a batch of them.

    Raises
    ------
    ServerUnavailable
        HBase did not answer in time.
    """
    survey = definition(context.settings, context.survey)
    folder = str(context.settings.archive_folder / "science")
    with Client(target) as client:
        tables.make(context.settings, survey.tables, client)
    known_to(survey, only or ())
    chosen = [table for table in filled(survey, alerts) if only is None or table.name in only]
    prepared, layouts = puts(alerts, survey, chosen, folder)
    types = {layout.table: layout.kinds for layout in layouts}
    write = writer(target, layouts)
    partitions = context.settings.spark.shuffle_partitions
    known: set[str] = set()

    def batch(alerts: DataFrame, number: int) -> archived.Written:
        # Alerts of one place together: those of one object, and those that are taken for one asteroid and so have one key.
        done = alerts.repartition(partitions, "pixel").mapInArrow(write, OUTCOME).collect()
        found: dict[str, Counter[str]] = {what: Counter() for what in ("alerts", "rows", "version", "collision")}
        for one in done:
            found[one.what][one.name] += one.n
        for version in sorted(set(found["version"]) - known):
            _write_schema_rows(target, version, types)
            known.add(version)
        written = archived.Written(found["alerts"][""], {name: found["rows"][name] for name in types}, sorted(found["collision"]))
        log.info("batch %d: %d alerts, rows %s", number, written.alerts, written.rows)
        for collision in written.collisions:
            log.warning("two alerts with one row key, of which one is kept: %s", collision)
        return written

    return prepared, batch


def rebuild(context: Context, night: str, only: Collection[str] | None = None) -> archived.Written:
    """Write the alerts of one night once more, as they lie in the Parquet archive and, not merged yet, in science.

    What the stream has put is put again, under the same versions; a track that has been found since changes the alert's class, and so the
    keys of some of its rows: those that it had before are deleted.

    Raises
    ------
    UsageError
        There are no alerts of that night.
    SumsDoNotMeet
        The archive does not have what was merged into it.
    ServerUnavailable
        HBase did not answer in time.
    """
    target, survey = place(context.settings), definition(context.settings, context.survey)
    alerts = past.alerts(context.spark, context.settings, survey, night, night).withColumn("night", F.lit(night))
    prepared, write = build(alerts, context, target, only)
    written = write(prepared, -1)
    with Client(target) as client:
        for table in filled(survey, alerts):
            if (only is None or table.name in only) and "fink." in " ".join([*table.key, table.where or ""]):
                client.forget(table.name, _stale(alerts, table, survey), table.families)
    return written


def known_to(survey: Survey, names: Iterable[str]) -> None:
    """Look whether the archive writes these tables.

    Raises
    ------
    UsageError
        It does not write one of them.
    """
    known = [table.name for table in survey.tables if table.streamed]
    for name in names:
        if name not in known:
            raise UsageError(f"the archive writes no table '{name}'; it writes: {', '.join(known)}")


def _stale(alerts: DataFrame, table: Table, survey: Survey) -> list[tuple[bytes, int]]:
    """Keys that alerts had in a table before their tracks were known, and have no more, each with its version."""

    def held(frame: DataFrame) -> DataFrame:
        put, [layout] = puts(frame, survey, [table])
        return put.select(F.col(layout.key).alias(ROW_KEY), layout.version).where(F.col(ROW_KEY).isNotNull())

    gone = held(alerts.drop("tracklet")).join(held(alerts), ROW_KEY, "left_anti")
    return [(row[0].encode(), row[1]) for row in gone.collect()]


def definition(settings: Settings, survey: Survey) -> Survey:
    """The survey with what the configuration adds: columns of the user's own modules, and tables of what filters have chosen."""
    columns = dict(survey.fink_columns)
    nested = {column.source.partition(".")[0] for column in columns.values() if column.source}
    for module in active(settings, survey):
        for name, kind in module.outputs.items():
            if name not in nested:
                columns.setdefault(name, FinkColumn(kind))
    more: list[Table] = []
    if survey.tag is not None:
        # Of filters that are functions, distribution alone knows what they have chosen.
        chosen = [one for one in registry.active(settings, survey) if one.sql is not None and not one.uses]
        more = [replace(survey.tag, name=survey.tag.name.format(one.name), where=one.sql) for one in chosen]
    return replace(survey, fink_columns=columns, tables=(*survey.tables, *more))


def _write_schema_rows(target: Place, version: str, types: Mapping[str, Mapping[str, str]]) -> None:
    """Say in each table how its cells are to be read."""
    key = SCHEMA_PREFIX + version.encode()
    with Client(target) as client:
        for table, columns in types.items():
            cells = {column.encode(): kind.encode() for column, kind in columns.items()}
            if client.row(table, key) != cells:
                client.write(table, [Row(key, time.time_ns() // 1_000_000, cells)])
