"""Seconds from a science file to its alerts on the topic, with the service as its users start it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from confluent_kafka import Consumer

from fink_broker.commands.bench import Figure
from fink_broker.config import Settings
from fink_broker.config.sections import Plugin
from fink_broker.connectors import parquet
from fink_broker.errors import FinkError
from fink_broker.infra import kafka as kafka_server
from fink_broker.session import session
from tests.benchmarks._services import Services

RATE = 250  # alerts a second, Rubin's mean
SECONDS = 40
_WARM = 10  # files before it counts: the first wait for the compiler
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
        files = _files(settings, source, say, services)
        ids = {one: file.closed for file in files for one in pq.read_table(file.path, columns=["candid"])["candid"].to_pylist()}
        deadline = time.monotonic() + 120
        while not ids.keys() <= seen.keys():
            if time.monotonic() > deadline or services.died:
                raise FinkError(f"bench distribution: {len(ids.keys() - seen.keys())} alerts did not arrive; {services.died}")
            services.look()
            time.sleep(0.2)
        peak = services.peak("distribution")
    finally:
        stop.set()
        reader.join()
        services.stop()
    late = sorted(ids, key=ids.__getitem__)[_WARM * RATE :]
    waits = pc.quantile([seen[one] - ids[one] for one in late], [0.5, 0.99]).to_pylist()
    return [
        Figure(f"file to topic at {RATE} alerts/s, half within", round(waits[0], 2), "s"),
        Figure("file to topic, 99 % within", round(waits[1], 2), "s", 5.0, at_most=True),
        Figure("peak memory of the service", round(peak / 1e6), "MB", 2000.0, at_most=True),
    ]


def _files(settings: Settings, source: Path, say: Callable[[str], None], services: Services) -> list[parquet.File]:
    """Write science files as raw2science does, one a second; the service runs beside."""
    pieces = settings.root / "pieces"
    pieces.mkdir()
    table = pq.read_table(source)
    utc = pa.timestamp("us", "UTC")  # as Spark has it
    table = table.cast(
        pa.schema([field.with_type(utc) if pa.types.is_timestamp(field.type) else field for field in table.schema]), safe=False
    )
    for number in range(SECONDS + _WARM):
        start = number * RATE % (max(table.num_rows - RATE, 0) + 1)
        part = table.slice(start, RATE)
        place = part.column_names.index("candid")
        ids = pc.add(pc.multiply(part["candid"], 0), pc.add(pc.cast([*range(part.num_rows)], "int64"), number * RATE + 1))
        pq.write_table(part.set_column(place, "candid", ids), pieces / f"{number:04}.parquet")
    spark = session(settings, "bench-files")
    try:
        schema = spark.read.parquet(str(pieces)).schema
        alerts = spark.readStream.schema(schema).option("maxFilesPerTrigger", 1).parquet(str(pieces))
        sink = parquet.sink(alerts, settings.science, settings.checkpoint("raw2science"), ["night"])
        services.start("distribution")
        query = sink.trigger(processingTime="1 second").start()
        done: list[parquet.File] = []
        while len(done) < SECONDS + _WARM:
            say(f"{len(done)} of {SECONDS + _WARM} s")
            services.look()
            time.sleep(1)
            done = parquet.committed(settings.science)
            if not query.isActive:
                raise FinkError(f"bench distribution: {query.exception()}")
        query.stop()
        return done
    finally:
        spark.stop()


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
