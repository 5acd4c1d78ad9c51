"""The archive: rows a second beside a plain happybase loop, CPU seconds, seconds from a file to HBase.

Then what the benchmarks `merge` and `query` measure.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import happybase
from pyspark.sql import functions as F

from fink_broker import surveys
from fink_broker.commands.bench import Figure, Report
from fink_broker.commands.config import toml
from fink_broker.commands.progress import Progress
from fink_broker.config import Settings
from fink_broker.config.sections import Spark
from fink_broker.connectors import parquet
from fink_broker.connectors.hbase import SCHEMA_PREFIX, Client, Place, Row
from fink_broker.errors import FinkError
from fink_broker.infra import hbase, processes
from fink_broker.monitoring import archived
from fink_broker.services import archive, tables
from fink_broker.session import session
from tests.benchmarks import _alerts, merge, query
from tests.benchmarks._latency import file_to_table
from tests.benchmarks._measure import lines
from tests.benchmarks._services import Whole, run_once

ALERTS = 12_000
_SHARE = 3  # the small night is so much smaller
_MAIN = "ztf"
_FEED = 8_000  # alerts of the feed, each with a row of its own
_SMALL, _LARGE = "small", "large"


def run(settings: Settings, alerts: int | None = None) -> Report:
    """Measure.

    Parameters
    ----------
    settings : Settings
        How HBase and the archive are set; Spark is that of the service.
    alerts : int, optional
        How many alerts the larger run of the service has.
    """
    settings.root.mkdir(parents=True, exist_ok=True)
    progress = Progress(sys.stderr)
    with tempfile.TemporaryDirectory(dir=settings.root) as folder:
        embedded = settings.hbase.model_copy(update={"port": 0, "thrift": "local"})
        spark = settings.spark.model_copy(update={"master": Spark().master})
        here = settings.model_copy(update={"home": Path(folder), "hbase": embedded, "spark": spark})
        counts = {_SMALL: max(1, (alerts or ALERTS) // _SHARE), _LARGE: alerts or ALERTS}
        with progress.step("alerts"):
            _write(here, counts)
        hbase.start(here)
        try:
            figures = _rates(here, counts, progress)
            with progress.step("from file to HBase") as say:
                figures += file_to_table(here, here.root / "feed" / "alerts", say)
        finally:
            processes.stop(here, hbase.NAME, say=lambda line: None)
    print("\n".join(lines(figures)), flush=True)
    for other in (merge, query):
        figures += other.run(settings, alerts).figures
    return Report(figures, "\n".join(lines(figures)))


def _write(settings: Settings, counts: Mapping[str, int]) -> None:
    """Science alerts as raw2science leaves them, in a home for each size; and a plain file for the feed."""
    spark = session(settings, "bench")
    try:
        source = settings.root / "source"
        night = F.lit(_alerts.NIGHT)
        made = _alerts.science(spark, surveys.get("ztf"), max(*counts.values(), _FEED)).withColumn("night", night)
        _alerts.written(made, source, lambda _: None)
        alerts = spark.read.parquet(str(source))
        alerts.limit(_FEED).coalesce(1).write.parquet(str(settings.root / "feed" / "alerts"))
        for name, count in counts.items():
            home = settings.model_copy(update={"home": settings.root / name})
            some = settings.root / f"some-{name}"
            alerts.limit(count).repartition(max(1, count // 500)).write.parquet(str(some))
            rows = spark.readStream.schema(spark.read.parquet(str(some)).schema).parquet(str(some))
            sink = parquet.sink(rows, home.science, home.checkpoint("raw2science"), ["night"])
            sink.trigger(availableNow=True).start().awaitTermination()
    finally:
        spark.stop()


def _rates(settings: Settings, counts: Mapping[str, int], progress: Progress) -> list[Figure]:
    figures: list[Figure] = []
    cost: dict[str, float] = {}
    for what, chosen in ((_MAIN, [_MAIN]), ("all tables", [])):
        whole = {}
        for size in (_SMALL, _LARGE):
            with progress.step(f"service, {what}, {counts[size]:,} alerts"):
                whole[size] = _service(settings, size, chosen)
            if size == _SMALL:
                rows = _read_back(settings, chosen)
                with progress.step(f"happybase loop, {what}"):
                    loops = [_loop(settings, rows, counts[_SMALL], "loop1.")]
        with progress.step(f"happybase loop, {what}, again"):
            loops.append(_loop(settings, rows, counts[_SMALL], "loop2."))
        more = counts[_LARGE] - counts[_SMALL]
        rate = more / (whole[_LARGE].seconds - whole[_SMALL].seconds)
        cost[what] = 1_000 * (whole[_LARGE].cpu_s - whole[_SMALL].cpu_s) / more
        figures += [
            Figure(f"{what}: service beyond its start", round(rate), "alerts/s"),
            Figure(f"{what}: the happybase loop, the better of two", round(max(loops)), "alerts/s"),
            Figure(f"{what}: service beside the loop", round(rate / max(loops), 2), "times", 0.7),
            Figure(f"{what}: peak memory of the service", round(whole[_LARGE].peak_mb), "MB"),
        ]
    index = len([name for name in rows if name != _MAIN])
    each = (cost["all tables"] - cost[_MAIN]) / index
    return [
        *figures,
        Figure(f"{_MAIN}: beyond the start", round(cost[_MAIN], 2), "CPU s per 1,000 alerts", 0.5, at_most=True),
        Figure(f"each of {index} other tables with rows", round(each, 3), "CPU s per 1,000 alerts", 0.1, at_most=True),
        Figure("happybase loop, rows of an alert in all tables", round(sum(map(len, rows.values())) / counts[_SMALL], 1), "rows"),
    ]


def _service(settings: Settings, size: str, chosen: Sequence[str]) -> Whole:
    """The service on all of one home, into tables of its own."""
    host, port = hbase.address(settings)
    there = settings.hbase.model_copy(update={"thrift": f"{host}:{port}", "table_prefix": _prefix(size, chosen)})
    section = settings.archive.model_copy(update={"tables": list(chosen)})
    home = settings.root / size
    own = settings.model_copy(update={"home": home, "hbase": there, "archive": section})
    # Tables are made before: the service is measured, not HBase's making of tables.
    with Client(archive.place(own)) as client:
        tables.make(own, surveys.get("ztf").tables, client)
    # For both kinds of runs the same files: what an earlier one has noted is put away.
    checkpoint, counted = own.checkpoint(archive.NAME), archived.file_of(own)
    for old in (checkpoint, counted):
        if old.exists():
            old.rename(old.with_name(f"{old.name}-{time.monotonic_ns()}"))
    conf = settings.root / f"{size}.conf"
    conf.write_text(toml(own.model_dump(mode="json", exclude_defaults=True)), encoding="utf-8")
    whole = run_once(archive.NAME, conf)
    alerts = sum(file.rows for file in parquet.committed(own.science))
    with Client(archive.place(own)) as client:
        if (there := client.count(_MAIN)) != alerts:
            raise FinkError(f"bench archive: of {alerts} alerts {there} have a row; log: {own.log(archive.NAME)}")
    return whole


def _prefix(size: str, chosen: Sequence[str]) -> str:
    return f"{size}{len(chosen)}."


def _read_back(settings: Settings, chosen: Sequence[str]) -> dict[str, list[Row]]:
    """The cells that the service has written, by table; of all tables, those with rows."""
    place = replace(archive.place(settings), prefix=_prefix(_SMALL, chosen))
    with Client(place) as client:
        found = {}
        for name in client.tables():
            rows = [Row(key, 1, cells) for key, cells in client.scan(name) if not key.startswith(SCHEMA_PREFIX)]
            if rows:
                found[name] = rows
        return found


def _loop(settings: Settings, rows: Mapping[str, Sequence[Row]], alerts: int, prefix: str) -> float:
    """Alerts a second of happybase's own batches, without anything else."""
    prefix = f"{len(rows)}{prefix}"
    place = archive.place(settings)
    survey = surveys.get("ztf")
    made = settings.model_copy(update={"hbase": settings.hbase.model_copy(update={"table_prefix": prefix})})
    with Client(Place(place.host, place.port, prefix)) as client:
        tables.make(made, [table for table in survey.tables if table.name in rows], client)
    connection = happybase.Connection(place.host, place.port)
    try:
        began = time.perf_counter()
        for name, some in rows.items():
            with connection.table(prefix + name).batch(batch_size=settings.hbase.batch_cells) as batch:
                for row in some:
                    batch.put(row.key, row.cells)
        return alerts / (time.perf_counter() - began)
    finally:
        connection.close()
