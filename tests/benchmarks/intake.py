"""stream2raw and the intake of raw2science, from Kafka to Parquet: rates beside what is possible, CPU seconds, memory, the first alert."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, Popen

import psutil
from pyspark.sql import DataFrame
from pyspark.sql.types import StructField, StructType

from datasim.packet import writer_schema
from fink_broker import config, surveys
from fink_broker.commands.bench import Figure, Report
from fink_broker.commands.progress import Progress
from fink_broker.config import CHECKOUT, Settings
from fink_broker.connectors import kafka, parquet
from fink_broker.connectors.security import Connection
from fink_broker.errors import FinkError
from fink_broker.infra import kafka as kafka_server
from fink_broker.infra import processes
from fink_broker.infra.processes import tree_usage
from fink_broker.services import raw2science, simulator, stream2raw
from fink_broker.services.known import Known, Learned
from fink_broker.session import session
from fink_broker.transforms.quality import passes
from tests.benchmarks import _measure as measure
from tests.benchmarks.decode import by_row

ALERTS, ROUNDS = 20_000, 3
BATCHES = (5_000, 1_000)
NIGHT = "20260322"

COPY = "copy of the bytes, undecoded"
SERVICE = "stream2raw"
ROW = "row UDF, fastavro"
ONCE, ALL = "repeats dropped", "repeats kept"


@dataclass(frozen=True)
class Whole:
    """A run of the service as its users start it: what its process tree took, and when the first alert lay on disk."""

    seconds: float
    cpu_s: float
    peak_mb: float
    first_s: float


def run(settings: Settings, alerts: int | None = None) -> Report:
    """Measure.

    Parameters
    ----------
    settings : Settings
        Spark's master and Java options, the simulator's templates; servers, logs and data go below its home for the time of the run.
    alerts : int, optional
        How many alerts the largest run takes in.
    """
    count = alerts or ALERTS
    progress = Progress(sys.stderr)
    settings.root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.root) as folder:
        embedded = settings.kafka.embedded.model_copy(update={"port": 0})
        here = settings.model_copy(update={"home": Path(folder), "kafka": settings.kafka.model_copy(update={"embedded": embedded})})
        with progress.step("start Kafka"):
            kafka_server.start(here)
        try:
            with progress.step("send alerts") as say:
                topics = {
                    name: simulated(here, name, n, say)
                    for name, n in {"one": 1, "few": count // 20, "some": count // 4, "all": count}.items()
                }
            wholes = {}
            with progress.step("the service, each run on its own") as say:
                for batch in BATCHES:
                    for topic in ("one", "all"):
                        say(f"{topics[topic]:,} alerts, {batch:,} a trigger")
                        wholes[batch, topic] = whole(here, topic, topics[topic], batch)
            with progress.step("start Spark"):
                spark = session(here, "bench")
            try:
                with progress.step("rates") as say:
                    bench = Queries(here, spark, kafka_server.connection(here, here.kafka.simulated))
                    both = {(name, topic): bench.intake(name, topic) for name in (COPY, SERVICE, ROW) for topic in ("some", "all")}
                    rates = measure.in_turn(both, ROUNDS + 1, lambda way: say(str(way)))
                    growth = {topic: measure.once(bench.intake(SERVICE, topic, batch=1_000)) for topic in ("few", "all")}
                with progress.step("repeats") as say:
                    repeats = measure.in_turn({name: bench.science(name) for name in (ONCE, ALL)}, ROUNDS + 1, say)
            finally:
                spark.stop()
        finally:
            processes.stop(here, kafka_server.NAME, say=lambda line: None)
    # The first round is for warming up; what a query takes to start is in the smaller of two runs too.
    sustained = {name: measure.less(rates[name, "all"][1:], rates[name, "some"][1:]) for name in (COPY, SERVICE, ROW)}
    return _report(topics, wholes, sustained, growth, {name: runs[1:] for name, runs in repeats.items()})


def simulated(settings: Settings, topic: str, count: int, say: Callable[[str], None]) -> int:
    """Put so many alerts into a topic of two partitions."""
    say(f"{count:,}")
    section = settings.simulator.model_copy(update={"topic": topic, "cadence_seconds": 0.0, "alerts": count})
    return simulator.send(settings.model_copy(update={"simulator": section}), NIGHT).alerts


def whole(settings: Settings, topic: str, count: int, batch: int) -> Whole:
    """Run `fink start stream2raw --once` on a topic, in a home of its own."""
    home = settings.root / "whole"
    shutil.rmtree(home, ignore_errors=True)
    address = kafka_server.connection(settings, settings.kafka.simulated).servers
    conf = settings.root / "whole.conf"
    conf.write_text(
        f'home = "{home}"\n[kafka.input]\nservers = "{address}"\ntopics = "{topic}"\n[stream2raw]\nmax_alerts_per_trigger = {batch}\n',
        encoding="utf-8",
    )
    own = Settings.model_validate({"home": home})
    began = time.monotonic()
    command = [sys.executable, "-P", "-m", "fink_broker.commands.start", "stream2raw", "--once", "-c", str(conf)]
    # Keys that are set in the environment are for the broker, not for this measurement.
    environment = {name: value for name, value in os.environ.items() if name not in config.variables(os.environ)}
    process = Popen(command, cwd=CHECKOUT, stdout=DEVNULL, env=environment)
    peak, cpu_s, first = 0, 0.0, 0.0
    while process.poll() is None:
        try:
            usage = tree_usage(process.pid)
        except psutil.NoSuchProcess:
            break
        peak, cpu_s = max(peak, usage.rss), max(cpu_s, usage.cpu_s)
        if not first and parquet.committed(own.raw):
            first = time.monotonic() - began
        time.sleep(0.1)
    seconds = time.monotonic() - began
    taken = sum(file.rows for file in parquet.committed(own.raw) if file.partition["status"] == "ok")
    if process.wait() != 0 or taken != count:
        raise FinkError(
            f"bench intake: of {count} alerts stream2raw took {taken} in, exit code {process.returncode}; log: {own.log('stream2raw')}"
        )
    return Whole(seconds, cpu_s, peak / 1e6, first or seconds)


class Queries:
    """Streaming queries from Kafka, or from raw, to Parquet, each on folders of its own that are made anew for every run."""

    def __init__(self, settings: Settings, spark: object, connection: Connection) -> None:
        self._settings, self._spark, self._connection = settings, spark, connection
        self._survey = surveys.get(settings.survey)
        header = writer_schema(settings.simulator.schema_version)
        knows = Known(self._survey, [Learned(prefix=header.header, schema_text=header.text)])
        self._codec = knows.codec(settings.stream2raw.max_message_bytes)

    def intake(self, way: str, topic: str, batch: int = 5_000) -> Callable[[], None]:
        """From a topic to Parquet, one way."""

        def work() -> None:
            messages = kafka.stream(self._spark, self._connection, topic, "earliest", batch)  # type: ignore[arg-type]
            self._write(self._way(way, messages), way)

        return work

    def _way(self, way: str, messages: DataFrame) -> DataFrame:
        stamped = messages.selectExpr("*", "'ok' as status", f"'{NIGHT}' as night")
        if way == COPY:
            return stamped
        service = stream2raw.build(messages, self._survey, self._codec)
        if way == SERVICE:
            return service
        added = {*messages.columns, "brokerIngestTimestamp", "record", "reason", "status", "night"}
        alert = StructType([StructField(f.name, f.dataType) for f in service.schema if f.name not in added])
        return by_row(stamped, alert)

    def science(self, way: str) -> Callable[[], None]:
        """From raw to Parquet, quality cuts only, with and without dropping repeats."""
        raw = self._settings.root / "queries" / SERVICE.replace(" ", "_")

        def work() -> None:
            alerts = parquet.stream(self._spark, raw, self._columns(raw), 10, stream2raw.PARTITIONS)  # type: ignore[arg-type]
            if way == ONCE:
                out = raw2science.build(alerts, self._survey, [], "no-science", "2 days")
            else:
                out = raw2science.finished(alerts.where(passes(self._survey.cuts)), self._survey, [], "no-science")
            self._write(out, way, ["night"])

        return work

    def _columns(self, raw: Path) -> StructType:
        columns = parquet.columns(raw)
        if columns is None:
            raise FinkError(f"bench intake: nothing lies in {raw}")
        return columns

    def _write(self, alerts: DataFrame, name: str, partitions: tuple[str, ...] | list[str] = stream2raw.PARTITIONS) -> None:
        folder = self._settings.root / "queries" / name.replace(" ", "_")
        checkpoint = folder.with_name(f"{folder.name}-checkpoint")
        for old in (folder, checkpoint):
            shutil.rmtree(old, ignore_errors=True)
        parquet.sink(alerts, folder, checkpoint, partitions).trigger(availableNow=True).start().awaitTermination()


def _report(
    topics: dict[str, int],
    wholes: dict[tuple[int, str], Whole],
    rates: dict[str, list[measure.Run]],
    growth: dict[str, measure.Run],
    repeats: dict[str, list[measure.Run]],
) -> Report:
    some, most = topics["some"], topics["all"]
    lines, figures = [f"{most:,} alerts from Kafka to Parquet, beyond the first {some:,}; medians of {ROUNDS} rounds in turn", ""], []
    for name, runs in rates.items():
        middle, rest = measure.typical(runs), most - some
        lines.append(f"{name:<32}{rest / middle.seconds:>10,.0f} alerts/s{1000 * middle.cpu_s / rest:>10.2f} CPU s per 1,000")
    to_copy = measure.times_faster(rates[COPY], rates[SERVICE]).seconds
    to_row = measure.times_faster(rates[ROW], rates[SERVICE]).seconds
    once, kept = (measure.typical(repeats[name]) for name in (ONCE, ALL))
    dedupe = 1000 * (once.cpu_s - kept.cpu_s) / most  # raw holds what the last query has taken in, which was the largest topic
    linear = growth["all"].seconds / growth["few"].seconds
    figures += [
        Figure("rate beside the copy of the bytes", round(to_copy, 2), "times", 0.8),
        Figure("rate beside the row UDF", round(to_row, 2), "times", 3.5),
        Figure("dropping repeats", round(dedupe, 3), "CPU s per 1,000 alerts", 0.3, at_most=True),
        Figure("time of a backlog 20 times larger", round(linear, 1), "times", 21.0, at_most=True),
    ]
    for batch, goal in zip(BATCHES, (0.6, 1.2), strict=True):
        cost = 1000 * (wholes[batch, "all"].cpu_s - wholes[batch, "one"].cpu_s) / most
        figures.append(Figure(f"stream2raw at {batch:,} a trigger", round(cost, 2), "CPU s per 1,000 alerts", goal, at_most=True))
    first = wholes[BATCHES[0], "all"]
    start = min(one.cpu_s for (_, topic), one in wholes.items() if topic == "one")
    figures += [
        Figure("start of stream2raw", round(start, 1), "CPU s", 12.0, at_most=True),
        Figure("peak memory", round(max(one.peak_mb for one in wholes.values())), "MB", 1200.0, at_most=True),
        Figure("first alert on disk", round(min(one.first_s for one in wholes.values()), 1), "s", 10.0, at_most=True),
        Figure("first alert on disk, of a backlog", round(first.first_s, 1), "s"),
    ]
    lines.append("")
    for figure in figures:
        verdict = "" if figure.ok is None else f"goal {figure.goal:g}: {'reached' if figure.ok else 'MISSED'}"
        lines.append(f"{figure.name:<40}{figure.value:>10g} {figure.unit:<24}{verdict}")
    return Report(figures, "\n".join(lines))
