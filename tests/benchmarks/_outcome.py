"""What came out of a night, read by pyarrow and a plain consumer, beside what was sent."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as F

from fink_broker import surveys
from fink_broker.config import Settings
from fink_broker.connectors import kafka, parquet
from fink_broker.connectors.parquet import File
from fink_broker.filters.registry import active
from fink_broker.infra.kafka import connection
from fink_broker.session import session
from fink_broker.transforms.filters import with_topics
from tests.benchmarks._stream import MAYBE, Sent, Stream

_PLACE = ("partition", "offset", "record", "reason")


@dataclass
class Outcome:
    """How many came out, and how many not as they should; `faults` says which."""

    kept: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    doubled: int = 0
    wronged: int = 0
    deceived: int = 0
    altered: int = 0
    science: int = 0
    cut: int = 0
    repeats: int = 0
    science_missing: int = 0
    science_strange: int = 0
    faults: list[str] = field(default_factory=list)


def outcome(settings: Settings, stream: Stream) -> Outcome:
    """Raw beside what was sent, by partition and offset; science beside raw, by id."""
    found = Outcome()
    raw = parquet.committed(settings.raw)
    rows = [row for table in parquet.read(raw, [*_PLACE, "candid"]) for row in table.to_pylist()]
    places = Counter((row["partition"], row["offset"], row["record"]) for row in rows)
    found.doubled = places.total() - len(places)
    by_place: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for row in rows:
        by_place.setdefault((row["partition"], row["offset"]), []).append(row)
    for message in stream.sent:
        assert message.place is not None
        _judge(found, message, by_place.get(message.place, []))
    found.kept = sum(row["reason"] is None for row in rows)
    found.rejected = Counter(row["reason"] for row in rows if row["reason"] is not None)
    _science(found, [file for file in raw if file.partition["status"] == "ok"], parquet.committed(settings.science))
    return found


def _judge(found: Outcome, message: Sent, rows: list[dict[str, Any]]) -> None:
    where, reasons = f"{message.kind} at {message.place}", [row["reason"] for row in rows]
    if not rows:
        found.lost += 1
        found.faults.append(f"lost: {where}")
    elif message.candid is not None and reasons != [None]:
        found.wronged += 1
        found.faults.append(f"rejected: {where}: {reasons}")
    elif message.candid is not None and rows[0]["candid"] != message.candid:
        found.altered += 1
        found.faults.append(f"another id: {where}")
    elif message.kind.startswith(MAYBE) and None in reasons:
        assert message.value is not None
        expected = [record["candid"] for record in fastavro.reader(io.BytesIO(message.value))]
        if expected != [row["candid"] for row in sorted(rows, key=lambda row: row["record"])]:
            found.altered += 1
            found.faults.append(f"another id: {where}")
    elif message.candid is None and None in reasons:
        found.deceived += 1
        found.faults.append(f"taken for an alert: {where}")


def _science(found: Outcome, raw: Iterable[File], science: Iterable[File]) -> None:
    columns = ["candid", "candidate.nbad", "candidate.rb", "candidate.fid"]
    alerts = pa.concat_tables(parquet.read(list(raw), columns))
    nbad, rb, fid = (pc.struct_field(alerts["candidate"], name) for name in ("nbad", "rb", "fid"))
    passes = pc.and_(pc.and_(pc.equal(nbad, 0), pc.greater_equal(rb, 0.55)), pc.not_equal(fid, 3))
    good = alerts["candid"].filter(pc.fill_null(passes, False)).to_pylist()
    made = [candid for table in parquet.read(list(science), ["candid"]) for candid in table["candid"].to_pylist()]
    found.science, found.cut, found.repeats = len(made), alerts.num_rows - len(good), len(good) - len(set(good))
    found.science_missing = len(set(good) - set(made))
    found.science_strange = len(set(made) - set(good)) + len(made) - len(set(made))


def latencies(settings: Settings) -> dict[str, tuple[float, float]]:
    """Median and 99th percentile, in seconds, from Kafka to the closed file in raw, and in science; what waited for a restart too."""
    sent: dict[int, float] = {}
    to_raw = []
    for file, table in _clocks(settings, ["candid", "kafkaTimestamp"]):
        times = table["kafkaTimestamp"].to_numpy().astype("datetime64[us]").astype(np.int64) / 1e6
        to_raw.append(file.path.stat().st_mtime - times)
        for candid, moment in zip(table["candid"].to_pylist(), times, strict=True):
            sent.setdefault(candid, moment)
    science = parquet.committed(settings.science)
    to_science = [
        file.path.stat().st_mtime - sent[candid]
        for file, table in zip(science, parquet.read(science, ["candid"]), strict=True)
        for candid in table["candid"].to_pylist()
    ]
    spans = {"telescope to raw": np.concatenate(to_raw), "telescope to science": np.array(to_science)}
    return {name: tuple(round(float(p), 1) for p in np.percentile(span, [50, 99])) for name, span in spans.items()}


def _clocks(settings: Settings, columns: list[str]) -> Iterable[tuple[File, pa.Table]]:
    files = [file for file in parquet.committed(settings.raw) if file.partition["status"] == "ok"]
    return zip(files, parquet.read(files, columns), strict=True)


def topics(settings: Settings, master: str) -> dict[str, int]:
    """Users' topics beside what the filters select of science, by id; what was sent again (at least once) is counted apart."""
    spark = session(settings.model_copy(update={"spark": settings.spark.model_copy(update={"master": master})}), "soak")
    try:
        survey = surveys.get(settings.survey)
        filters = active(settings, survey)
        science = spark.read.parquet(str(settings.science))
        selected = with_topics(science, filters, survey).select(survey.alert_id, F.explode("topics").alias("topic")).collect()
    finally:
        spark.stop()
    expected = {(row["topic"], str(row[survey.alert_id])) for row in selected}
    users = connection(settings, settings.kafka.output)
    found = Counter(
        (one.topic(survey), dict(message.headers() or [])["fink-id"].decode())
        for one in filters
        for message in kafka.read_all(users, one.topic(survey))
    )
    return {
        "messages": found.total(),
        "missing": len(expected - found.keys()),
        "strange": len(found.keys() - expected),
        "again": found.total() - len(found),
    }
