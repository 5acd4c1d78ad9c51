"""Seconds from a science file to its alerts on the topic, with the service as its users start it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from confluent_kafka import Consumer

from fink_broker.commands.bench import Figure
from fink_broker.config import Settings
from fink_broker.config.own import Plugin
from fink_broker.connectors import parquet
from fink_broker.errors import FinkError
from fink_broker.infra import kafka as kafka_server
from fink_broker.session import session
from tests.benchmarks._services import Services

RATE = 250  # alerts a second, Rubin's mean
SECONDS = 40
_WARM = 40  # files before it counts: the first wait for the compiler, and must have arrived
_TOPIC = "bench_all"


def file_to_topic(settings: Settings, source: Path, say: Callable[[str], None]) -> list[Figure]:
    """A file a second, each alert to one topic and to those of the other filters in use.

    Parameters
    ----------
    settings : Settings
        Where Kafka is, and which filters are in use.
    source : Path
        Science alerts, used again and again.
    """
    section = settings.distribution.model_copy(update={"trigger_seconds": 1.0, "filters": [*settings.distribution.filters, _TOPIC]})
    everything = [Plugin(name=_TOPIC, sql="true")]
    services = Services(settings.model_copy(update={"distribution": section, "filters": everything}))
    seen: dict[int, float] = {}
    stop = threading.Event()
    reader = threading.Thread(target=_read, args=(settings, seen, stop))
    reader.start()
    try:
        ids = _sent(settings, source, say, services, seen)
        peak = services.peak("distribution")
    finally:
        stop.set()
        reader.join()
        services.stop()
    waits = pc.quantile([seen[one] - closed for one, closed in ids.items()], [0.5, 0.99]).to_pylist()
    return [
        Figure(f"file to topic at {RATE} alerts/s, half within", round(waits[0], 2), "s"),
        Figure("file to topic, 99 % within", round(waits[1], 2), "s", 5.0, at_most=True),
        Figure("peak memory of the service", round(peak / 1e6), "MB", 2000.0, at_most=True),
    ]


def _sent(settings: Settings, source: Path, say: Callable[[str], None], services: Services, seen: dict[int, float]) -> dict[int, float]:
    """Write science files as raw2science does, one a second, with the service beside; when the file of each alert was closed."""
    pieces = settings.root / "pieces"
    tables = _tables(source)
    _put(tables[:_WARM], pieces)
    spark = session(settings, "bench-files")
    try:
        schema = spark.read.parquet(str(pieces)).schema
        alerts = spark.readStream.schema(schema).option("maxFilesPerTrigger", 1).parquet(str(pieces))
        sink = parquet.sink(alerts, settings.science, settings.checkpoint("raw2science"), ["night"])
        services.start("distribution")
        query = sink.trigger(processingTime="1 second").start()
        for number in (_WARM, len(tables)):
            deadline = time.monotonic() + number + 120
            while len(seen) < number * RATE:
                say(f"{len(seen):,} of {len(tables) * RATE:,}")
                if not query.isActive or services.died or time.monotonic() > deadline:
                    raise FinkError(f"bench distribution: alerts did not arrive; {query.exception()} {services.died}")
                services.look()
                time.sleep(0.5)
            if number == _WARM:
                _put(tables[_WARM:], pieces)
        query.stop()
    finally:
        spark.stop()
    closed = {}
    for file in parquet.committed(settings.science):
        closed |= dict.fromkeys(pq.read_table(file.path, columns=["candid"])["candid"].to_pylist(), file.closed)
    return {one: when for one, when in closed.items() if one > _WARM * RATE}


def _tables(source: Path) -> list[pa.Table]:
    """A second's alerts each, numbered through."""
    table = pq.read_table(source)
    utc = pa.timestamp("us", "UTC")  # as Spark has it
    kinds = [field.with_type(utc) if pa.types.is_timestamp(field.type) else field for field in table.schema]
    table = table.cast(pa.schema(kinds), safe=False)
    place = table.column_names.index("candid")
    tables = []
    for number in range(_WARM + SECONDS):
        part = table.slice(number * RATE % (max(table.num_rows - RATE, 0) + 1), RATE)
        ids = pa.array(range(number * RATE + 1, number * RATE + 1 + part.num_rows), "int64")
        tables.append(part.set_column(place, "candid", ids))
    return tables


def _put(tables: Sequence[pa.Table], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    first = len(list(folder.iterdir()))
    for number, table in enumerate(tables, first):
        new = folder / f".{number}"
        pq.write_table(table, new)
        new.rename(folder / f"{number:04}.parquet")


def _read(settings: Settings, seen: dict[int, float], stop: threading.Event) -> None:
    users = kafka_server.connection(settings, settings.kafka.output)
    options = {"group.id": "bench", "auto.offset.reset": "earliest", "topic.metadata.refresh.interval.ms": 500}
    consumer = Consumer({**users.client, **options, "fetch.message.max.bytes": 32_000_000})
    consumer.subscribe([f"^fink_{_TOPIC}_ztf"])
    try:
        while not stop.is_set():
            for message in consumer.consume(500, 0.1):
                if message.error() is None:
                    seen.setdefault(int(dict(message.headers() or [])["fink-id"]), time.time())
    finally:
        consumer.close()
