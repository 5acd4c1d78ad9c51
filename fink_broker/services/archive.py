"""archive: science alerts into the HBase tables of the survey."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql.streaming.query import StreamingQuery

from fink_broker.config import Settings
from fink_broker.connectors import parquet
from fink_broker.connectors.hbase import SCHEMA_PREFIX, Client, Place, Row
from fink_broker.errors import ConfigError, ServerUnavailable
from fink_broker.infra import hbase
from fink_broker.science.registry import active
from fink_broker.services import raw2science
from fink_broker.services.context import Context, trigger
from fink_broker.surveys import FinkColumn, Survey
from fink_broker.transforms.cells import encode
from fink_broker.transforms.rows import ROW_KEY, kinds, puts, rows

NAME = "archive"

_SLICE = 500  # rows that are in Python at a time

log = logging.getLogger(__name__)


def check(survey: Survey) -> None:
    """Whether there is anything to do.

    Raises
    ------
    ConfigError
        The survey has no tables.
    """
    if not survey.tables:
        raise ConfigError(f"{survey.name} has no HBase tables yet: start the other services without archive")


def start(context: Context) -> StreamingQuery:
    """Make the tables that are not there and start the query."""
    settings = context.settings
    max_files = settings.archive.max_files_per_trigger
    science = parquet.stream(context.spark, settings.science, raw2science.schema(context), max_files)
    alerts, batch = build(science, context, place(settings))
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


def build(alerts: DataFrame, context: Context, target: Place) -> tuple[DataFrame, Callable[[DataFrame, int], None]]:
    """What to stream and what to do with each batch of it.

    Parameters
    ----------
    alerts : DataFrame
        Science alerts, streaming or not.
    context : Context
        Settings and survey.
    target : Place
        Where the tables are; those that are missing are made.

    Returns
    -------
    DataFrame, callable
        The rows of all tables, and the function that writes a batch of them, given its number, and keeps its counts.

    Raises
    ------
    ServerUnavailable
        HBase did not answer in time.
    """
    survey = _with_own_modules(context)
    with Client(target) as client:
        client.create({table.name: table.families for table in survey.tables})
    types = {table.name: kinds(rows(alerts, table, survey)) for table in survey.tables}
    write = _write(target, tuple(types))
    partitions = context.settings.spark.shuffle_partitions
    known: set[str] = set()

    def batch(alerts: DataFrame, number: int) -> None:
        # Alerts of one object together: those that share a row are put in the order of their times.
        counts = Counter[str]()
        versions: set[str] = set()
        for done in alerts.repartition(partitions, "object").mapInArrow(write, "what string, name string, n long").collect():
            if done.what == "versions":
                versions.add(done.name)
            else:
                counts[done.name] += done.n
        for version in sorted(versions - known):
            _write_schema_rows(target, version, types)
            known.add(version)
        tables = {name: counts[name] for name in types}
        keep_counts(context.settings, number, counts[""], tables)
        log.info("batch %d: %d alerts, rows %s", number, counts[""], tables)

    return puts(alerts, survey), batch


def _with_own_modules(context: Context) -> Survey:
    """The survey, with the columns of the user's own modules beside those that Fink has always had."""
    modules = active(context.settings, context.survey)
    columns = dict(context.survey.fink_columns)
    nested = {column.source.partition(".")[0] for column in columns.values() if column.source}
    for module in modules:
        for name, kind in module.outputs.items():
            if name not in nested:
                columns.setdefault(name, FinkColumn(kind))
    return replace(context.survey, fink_columns=columns)


def _write(target: Place, tables: tuple[str, ...]) -> Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]:
    """The function that writes the alerts of one partition, in an executor, and returns how many rows it put."""
    # Spark tries a task four times: together they are as patient as anybody else.
    impatient = replace(target, patience_s=target.patience_s / 4)

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        arrived = list(batches)
        if not arrived:
            return
        alerts = pa.Table.from_batches(arrived).sort_by([("timestamp", "ascending"), ("time", "ascending")])
        counts: list[tuple[str, str | None, int]] = [("rows", "", len(alerts))]
        counts += [("versions", version, 1) for version in alerts["versions"].unique().to_pylist()]
        with Client(impatient) as client:
            for number, name in enumerate(tables):
                rows = alerts.select(["timestamp", f"table{number}"]).rename_columns(["timestamp", "row"])
                rows = rows.filter(rows["row"].is_valid())
                # The last of those that share a row.
                latest = {key: index for index, key in enumerate(pc.struct_field(rows["row"], ROW_KEY).to_pylist())}
                client.write(name, _rows(rows.take(sorted(latest.values()))))
                counts.append(("rows", name, len(latest)))
        yield pa.RecordBatch.from_pylist([dict(zip(("what", "name", "n"), count, strict=True)) for count in counts])

    return write


def _rows(rows: pa.Table) -> Iterator[Row]:
    """Rows of one table, encoded some at a time."""
    for start in range(0, len(rows), _SLICE):
        [part] = rows.slice(start, _SLICE).combine_chunks().to_batches()
        row = pa.RecordBatch.from_struct_array(cast("pa.StructArray", part["row"]))
        columns = [name for name in row.schema.names if name != ROW_KEY]
        names = [column.encode() for column in columns]
        keys: list[Any] = encode(row[ROW_KEY])
        timestamps: list[Any] = part["timestamp"].to_pylist()
        cells = zip(*[encode(row[column]) for column in columns], strict=True)
        for key, timestamp, values in zip(keys, timestamps, cells, strict=True):
            yield Row(key, timestamp, {name: cell for name, cell in zip(names, values, strict=True) if cell is not None})


def _write_schema_rows(target: Place, version: str, types: Mapping[str, Mapping[str, str]]) -> None:
    """Say in each table how its cells are to be read."""
    key = SCHEMA_PREFIX + version.encode()
    with Client(target) as client:
        for table, columns in types.items():
            cells = {column.encode(): kind.encode() for column, kind in columns.items()}
            if client.row(table, key) != cells:
                client.write(table, [Row(key, time.time_ns() // 1_000_000, cells)])


def counts_file(settings: Settings) -> Path:
    """Where the rows of each batch are counted: a line of JSON a batch, the last one of a number is right."""
    return settings.root / "data" / "metrics" / "archive.jsonl"


def keep_counts(settings: Settings, batch: int, alerts: int, tables: Mapping[str, int]) -> None:
    """Note what a batch wrote."""
    path = counts_file(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"batch": batch, "in": alerts, "rows": tables}) + "\n")


def counts(settings: Settings) -> tuple[int, dict[str, int]]:
    """Alerts archived, and rows put by table; a batch that ran twice counts once."""
    path = counts_file(settings)
    if not path.exists():
        return 0, {}
    batches = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        batches[entry["batch"]] = entry
    total = Counter[str]()
    for entry in batches.values():
        total.update(entry["rows"])
    return sum(entry["in"] for entry in batches.values()), dict(total)
