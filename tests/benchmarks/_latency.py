"""Seconds from a science file to where a service brings its alerts, with the service as its users start it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
from confluent_kafka import Consumer

from fink_broker.commands.bench import Figure
from fink_broker.config import Settings
from fink_broker.config.own import Plugin
from fink_broker.connectors import parquet
from fink_broker.connectors.hbase import Client
from fink_broker.infra import kafka as kafka_server
from fink_broker.services import archive
from tests.benchmarks._feed import Feed

TOPIC_RATE = 250  # alerts a second, Rubin's mean
TABLE_RATE = 100
_WARM = 40  # files before it counts: the first wait for the compiler, and must have arrived
_SECONDS = 40
_EVERY = 10  # of so many alerts one is looked for in HBase
_TOPIC = "bench_all"

Read = Callable[[Settings, dict[int, float], threading.Event], None]


def file_to_topic(settings: Settings, source: Path, say: Callable[[str], None]) -> list[Figure]:
    """Each alert to one topic and to those of the other filters in use; `source` has science alerts, used again and again."""
    section = settings.distribution.model_copy(update={"trigger_seconds": 1.0, "filters": [*settings.distribution.filters, _TOPIC]})
    everything = [Plugin(name=_TOPIC, sql="true")]
    settings = settings.model_copy(update={"distribution": section, "filters": everything})
    waits, peak = _waits(Feed(settings, source, "distribution", TOPIC_RATE), settings, _topic, 1, say)
    return [
        Figure(f"file to topic at {TOPIC_RATE} alerts/s, half within", waits[0], "s"),
        Figure("file to topic, 99 % within", waits[1], "s", 5.0, at_most=True),
        Figure("peak memory of the service", peak, "MB", 2000.0, at_most=True),
    ]


def file_to_table(settings: Settings, source: Path, say: Callable[[str], None]) -> list[Figure]:
    """Each alert into all tables, until its row can be read from the main one."""
    settings = settings.model_copy(update={"archive": settings.archive.model_copy(update={"trigger_seconds": 1.0})})
    waits, peak = _waits(Feed(settings, source, "archive", TABLE_RATE), settings, _table, _EVERY, say)
    return [
        Figure(f"file to HBase at {TABLE_RATE} alerts/s, half within", waits[0], "s"),
        Figure("file to HBase, 99 % within", waits[1], "s", 5.0, at_most=True),
        Figure("peak memory of the service then", peak, "MB"),
    ]


def _waits(feed: Feed, settings: Settings, read: Read, every: int, say: Callable[[str], None]) -> tuple[list[float], int]:
    """Seconds within which half of the alerts, and 99 %, were seen; MB of the service."""
    seen: dict[int, float] = {}
    stop = threading.Event()
    reader = threading.Thread(target=read, args=(settings, seen, stop))
    with feed:
        reader.start()
        try:
            feed.put(_WARM - 1)
            say("until it is warm")
            feed.wait(seen.__len__, feed.sent // every, _WARM + 120)
            warm = feed.sent
            feed.put(_SECONDS)
            say(f"{_SECONDS} s")
            feed.wait(seen.__len__, feed.sent // every, _SECONDS + 120)
        finally:
            stop.set()
            reader.join()
        peak = feed.peak()
        closed = feed.closed()
    waits = pc.quantile([when - closed[one] for one, when in seen.items() if one > warm], [0.5, 0.99]).to_pylist()
    return [round(wait, 2) for wait in waits], round(peak / 1e6)


def _topic(settings: Settings, seen: dict[int, float], stop: threading.Event) -> None:
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


def _table(settings: Settings, seen: dict[int, float], stop: threading.Event) -> None:
    known: set[Path] = set()
    awaited: dict[bytes, int] = {}
    with Client(archive.place(settings)) as client:
        while not stop.wait(0.1):
            for file in parquet.committed(settings.science):
                if file.path not in known:
                    known.add(file.path)
                    rows = pq.read_table(file.path, columns=["candid", "objectId", "candidate.jd"]).to_pylist()
                    awaited |= {
                        f"{row['objectId']}_{row['candidate']['jd']}".encode(): row["candid"] for row in rows if row["candid"] % _EVERY == 0
                    }
            for key, one in list(awaited.items()):
                # A row of an earlier round has the same key but for its alert.
                if client.row("ztf", key).get(b"i:candid") == one.to_bytes(8, "big"):
                    seen.setdefault(one, time.time())
                    del awaited[key]
