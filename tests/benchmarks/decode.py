"""The decoder of stream2raw against the row-by-row Python function of today's brokers: the same alerts, one core, one run.

All processes are kept on one core of the machine: a Python function has a process beside the JVM, which would use a second one.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.avro.functions import from_avro
from pyspark.sql.types import StructType

from datasim.packet import writer_schema
from fink_broker import surveys
from fink_broker.commands.bench import Figure, Report
from fink_broker.commands.progress import Progress
from fink_broker.config import Settings
from fink_broker.errors import FinkError
from fink_broker.services import simulator, stream2raw
from fink_broker.services.known import Known, Learned
from fink_broker.session import session
from fink_broker.transforms.framing import SYNC, Codec
from tests.benchmarks import _measure as measure

GOALS = {"container": 10.0, "Confluent": 12.0}
ALERTS, ROUNDS, WARM_UP = 5_000, 5, 4  # a batch of the service, by default
NIGHT = "20260322"
PREFIX = b"\0" + (1).to_bytes(4)  # of a message in Confluent's form: zero, and the id of its schema

SCAN = "scan only"
ALONE = "from_avro alone, no header read, nothing checked"
SERVICE = "stream2raw"
SLOW = "stream2raw, ready for unknown schemas"
CONFLUENT = "stream2raw, Confluent's form"
ROW = "row UDF, fastavro"


def run(settings: Settings, alerts: int | None = None) -> Report:
    """Measure.

    Parameters
    ----------
    settings : Settings
        Spark's master and Java options, the simulator's templates; logs and data go below its home for the time of the run.
    alerts : int, optional
        How many alerts each run decodes.
    """
    count = alerts or ALERTS
    progress = Progress(sys.stderr)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    settings.root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.root) as folder:
        file = Path(folder) / "messages.parquet"
        with progress.step("make alerts"):
            size = write_messages(file, settings, count)
            _reframe(file, settings)
        with progress.step("start Spark"):
            spark = session(settings, "bench")
        try:
            ways = _ways(spark, settings, file)
            with progress.step("check that all decode the same, and warm up"):
                _check(ways, count)
                for _ in range(WARM_UP):
                    measure.in_turn({name: _write(frame) for name, frame in ways.items() if name != ROW}, 1, lambda _: None)
            with progress.step("measure") as say:
                runs = measure.in_turn({name: _write(frame) for name, frame in ways.items()}, ROUNDS, say)
        finally:
            spark.stop()
    return _report(runs, count, size)


def write_messages(file: Path, settings: Settings, count: int) -> float:
    """Simulated alerts as Kafka gives them; the mean size of an alert in bytes."""
    values = list(simulator.messages(settings, NIGHT, count))
    numbers = range(count)
    table = pa.table(
        {
            "value": pa.array(values, pa.binary()),
            "topic": pa.array(["ztf"] * count),
            "partition": pa.array([0] * count, pa.int32()),
            "offset": pa.array(numbers, pa.int64()),
            "kafkaTimestamp": pa.array([datetime(2026, 3, 22)] * count, pa.timestamp("us", tz="UTC")),
        }
    )
    _write_table(table, file)
    return sum(map(len, values)) / count


def _reframe(file: Path, settings: Settings) -> None:
    """The same messages in Confluent's form, beside the others."""
    header = writer_schema(settings.simulator.schema_version)
    table = pq.read_table(file)
    start = len(header.header) + SYNC

    def body(value: bytes) -> bytes:
        block = io.BytesIO(value[start:])
        fastavro.schemaless_reader(block, "long"), fastavro.schemaless_reader(block, "long")  # how many records, and their size
        return PREFIX + block.read()[:-SYNC]

    values = pa.array([body(value) for value in table["value"].to_pylist()], pa.binary())
    _write_table(table.set_column(0, "value", values), file.with_name("confluent.parquet"))


def _write_table(table: pa.Table, file: Path) -> None:
    """Small row groups: Parquet's reader holds a whole one in memory, and with large ones the JVM collects garbage instead of decoding."""
    pq.write_table(table, file, compression="none", use_dictionary=False, row_group_size=50, write_batch_size=10)


def _ways(spark: SparkSession, settings: Settings, file: Path) -> dict[str, DataFrame]:
    """The same messages, decoded in several ways."""
    spark.conf.set("spark.sql.parquet.columnarReaderBatchSize", 50)
    spark.conf.set("spark.sql.files.maxPartitionBytes", 2**40)
    messages = spark.read.parquet(str(file))
    confluent = spark.read.parquet(str(file.with_name("confluent.parquet")))
    survey = surveys.get(settings.survey)
    limit = settings.stream2raw.max_message_bytes
    header = writer_schema(settings.simulator.schema_version)
    # What the service knows once it has met the first alert.
    knows = Known(survey, [Learned(prefix=header.header, schema_text=header.text)])
    fast, slow = (knows.codec(limit, slow=slow) for slow in (False, True))
    registered = Known(survey, [Learned(prefix=PREFIX, schema_text=header.text)], "confluent").codec(limit)
    service = stream2raw.build(messages, survey, fast)
    added = {*messages.columns, "brokerIngestTimestamp", "record", "reason", "status", "night"}
    alert = StructType([field for field in service.schema if field.name not in added])
    return {
        ROW: by_row(messages, alert),
        SERVICE: service,
        SLOW: stream2raw.build(messages, survey, slow),
        CONFLUENT: stream2raw.build(confluent, survey, registered),
        ALONE: _alone(messages, fast),
        SCAN: messages,
    }


def by_row(messages: DataFrame, alert: StructType) -> DataFrame:
    """What brokers do today: one call of a Python function an alert."""

    def read(value: bytes) -> Any:
        return next(fastavro.reader(io.BytesIO(value)))

    return messages.select(F.udf(read, alert)("value").alias("alert"), "*").drop("value").select("alert.*", "*").drop("alert")


def _alone(messages: DataFrame, codec: Codec) -> DataFrame:
    """What no decoder in the JVM can do without: the place of the body is taken for granted (its size takes three bytes)."""
    [writer] = codec.writers
    start = len(writer.prefix) + SYNC + 1 + 3
    body = F.substring("value", F.lit(start + 1), F.length("value") - start - SYNC)
    options = {"mode": "PERMISSIVE", "avroSchema": codec.reader}
    return messages.select(from_avro(body, writer.schema, options).alias("alert"), "*").drop("value").select("alert.*", "*").drop("alert")


def _write(frame: DataFrame) -> Callable[[], None]:
    """Every column of every row, to nowhere."""
    return lambda: frame.write.format("noop").mode("overwrite").save()


def _check(ways: dict[str, DataFrame], count: int) -> None:
    """All ways decode all alerts, and to the same values: a hash over every column says so.

    Raises
    ------
    FinkError
        They do not, and so cannot be compared.
    """
    columns = [name for name in ways[ROW].columns if name in ways[SERVICE].columns]
    found = {}
    for name, frame in ways.items():
        if name == SCAN:
            continue
        plan = frame._jdf.queryExecution().optimizedPlan()  # type: ignore[operator]
        if plan.output().size() != len(frame.columns):
            raise FinkError(f"bench decode: columns of '{name}' are not in its plan")
        row = frame.agg(F.count("candid"), F.bit_xor(F.xxhash64(*columns)), F.sum("candidate.jd")).first()
        found[name] = tuple(row or ())
    if len(set(found.values())) != 1 or found[ROW][0] != count:
        raise FinkError(f"bench decode: of {count} alerts, the ways decode differently: {found}")


def _report(runs: dict[str, list[measure.Run]], count: int, size: float) -> Report:
    width = max(map(len, runs))
    lines = [
        f"{count:,} alerts of {size / 1000:.1f} kB, one core; medians of {ROUNDS} rounds, in turn",
        "",
        f"{'':<{width}}  alerts/s  CPU s per 1,000  times the row UDF (clock, CPU)",
    ]
    figures, times = [], {}
    for name, measured in runs.items():
        middle, times[name] = measure.typical(measured), measure.times_faster(runs[ROW], measured)
        rate, cpu_s = count / middle.seconds, 1000 * middle.cpu_s / count
        lines.append(f"{name:<{width}}  {rate:>8,.0f}  {cpu_s:>15.2f}  {times[name].seconds:>18.1f} {times[name].cpu_s:>6.1f}")
        figures += [Figure(f"{name}: alerts/s", round(rate), "1/s"), Figure(f"{name}: CPU", round(cpu_s, 3), "s per 1,000 alerts")]
    lines.append("")
    for (form, goal), way in zip(GOALS.items(), (SERVICE, CONFLUENT), strict=True):
        ratio = Figure(f"{form}: ratio", round(times[way].seconds, 2), "times the row UDF, alerts/s", goal)
        figures += [ratio, Figure(f"{form}: ratio in CPU seconds", round(times[way].cpu_s, 2), "times the row UDF", goal)]
        verdict = "reached" if ratio.ok else "MISSED"
        lines.append(f"{form}: {ratio.value:.1f} times as fast as the row UDF ({times[way].cpu_s:.1f} in CPU s); goal {goal:g}: {verdict}")
    return Report(figures, "\n".join(lines))
