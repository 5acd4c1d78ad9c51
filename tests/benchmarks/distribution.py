"""Distribution: what many filters cost in one query, against a query for each; bytes on Kafka's disk; seconds from file to topic."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from fink_broker import surveys
from fink_broker.commands.bench import Figure, Report
from fink_broker.commands.progress import Progress
from fink_broker.config import Settings
from fink_broker.config.own import Science
from fink_broker.config.sections import Distribution
from fink_broker.connectors import kafka
from fink_broker.filters import Filter
from fink_broker.filters.known import Known, reference_to
from fink_broker.filters.registry import configured
from fink_broker.infra import kafka as kafka_server
from fink_broker.infra import processes
from fink_broker.services import distribution
from fink_broker.services.live import runnable
from fink_broker.session import session
from fink_broker.surveys import Survey
from fink_broker.worker.tally import Adding, Tally
from tests.benchmarks import _alerts
from tests.benchmarks import _measure as measure
from tests.benchmarks._latency import file_to_topic
from tests.benchmarks._measure import lines as measured
from tests.benchmarks._services import plugins

ALERTS, ROUNDS = 5_000, 3
CHEAP, SQL = 25, 200
PUBLISHED = 18

ONE, MANY, ONE_SQL, MANY_SQL = "1 cheap filter", f"{CHEAP} cheap filters", "1 SQL filter", f"{SQL} SQL filters"
TOGETHER, APART = "the published filters in one query", "the published filters in a query each"


def run(settings: Settings, alerts: int | None = None) -> Report:
    """Measure.

    Parameters
    ----------
    settings : Settings
        Spark's master and Java options; the environment ``ztf`` of its broker's home is used if it is there.
    alerts : int, optional
        How many alerts.
    """
    number = alerts or ALERTS
    progress = Progress(sys.stderr)
    envs = plugins(settings)
    settings.root.mkdir(parents=True, exist_ok=True)
    lines = [] if envs.exists() else [f"the filters of fink-filters were not measured: {envs} is not there (fink science install ztf)"]
    with tempfile.TemporaryDirectory(dir=settings.root) as folder:
        here = _settings(settings, Path(folder), envs)
        kafka_server.start(here)
        try:
            figures = _costs(here, number, progress)
            with progress.step("from file to topic") as say:
                figures += file_to_topic(here, Path(folder) / "science", say)
        finally:
            processes.stop(here, kafka_server.NAME, say=lambda line: None)
    return Report(figures, "\n".join([f"{number:,} alerts", *lines, "", *measured(figures)]))


def _settings(settings: Settings, home: Path, envs: Path) -> Settings:
    embedded = settings.kafka.embedded.model_copy(update={"port": 0})
    changed = {"home": home, "kafka": settings.kafka.model_copy(update={"embedded": embedded})}
    if envs.exists():
        (home / "envs").mkdir()
        (home / "envs" / "ztf").symlink_to(envs)
        changed |= {"science_section": Science(environment="ztf"), "distribution": Distribution(filters=["fink.*"], timeout_seconds=60)}
    return settings.model_copy(update=changed)


def _costs(settings: Settings, number: int, progress: Progress) -> list[Figure]:
    """CPU seconds, ratios and bytes."""
    survey = surveys.get("ztf")
    spark = session(settings, "bench")
    try:
        with progress.step("science alerts") as say:
            _alerts.written(_alerts.science(spark, survey, number), settings.root / "science", say)
        work = _Work(spark, settings, survey)
        cheap = _cheap(settings, survey)
        ways: dict[str, Callable[[], None]] = {
            ONE: partial(work, [cheap[:1]]),
            MANY: partial(work, [cheap]),
            ONE_SQL: partial(work, [_sql(1)]),
            MANY_SQL: partial(work, [_sql(SQL)]),
        }
        published = _published(settings, survey, work.alerts)
        if published:
            ways |= {TOGETHER: partial(work, [published]), APART: partial(work, [[one] for one in published])}
        with progress.step("filters") as say:
            runs = {name: done[1:] for name, done in measure.in_turn(ways, ROUNDS + 1, say).items()}
        figures = [
            _beside(f"{MANY}, beside one", runs[MANY], runs[ONE], 1.3),
            _beside(f"{MANY_SQL}, beside one", runs[MANY_SQL], runs[ONE_SQL], 2.5),
        ]
        if published:
            cpu = 1000 * measure.typical(runs[TOGETHER]).cpu_s / number
            apart = measure.times_faster(runs[APART], runs[TOGETHER]).cpu_s
            figures += [
                Figure(TOGETHER, round(cpu, 2), "CPU s per 1,000 alerts", 1.5, at_most=True),
                Figure(f"{APART}, beside one", round(apart, 2), "times the CPU s", 2.5),
                *_of_published(settings, survey, published, work.tally),
            ]
    finally:
        spark.stop()
    return figures


def _beside(name: str, many: list[measure.Run], one: list[measure.Run], goal: float) -> Figure:
    return Figure(name, round(measure.times_faster(many, one).seconds, 2), "times", goal, at_most=True)


def _of_published(settings: Settings, survey: Survey, published: Sequence[Filter], tally: Tally) -> list[Figure]:
    own = sum(tally[one.name].cpu_ms / max(tally[one.name].alerts, 1) for one in published)
    topics = [one.topic(survey) for one in published]
    sent = sum(kafka.message_counts(kafka_server.connection(settings, settings.kafka.output), topics).values())
    logs = [file for topic in topics for file in (settings.root / "kafka" / "data").glob(f"{topic}-*/*.log")]
    megabytes = sum(file.stat().st_size for file in logs) / 1e6
    return [
        Figure(f"published filters that run (of {PUBLISHED})", len(published), "filters", PUBLISHED),
        Figure("the functions themselves", round(own, 2), "CPU s per 1,000 alerts"),
        Figure("messages", sent // (2 * (ROUNDS + 1)), "in one run"),
        Figure("on Kafka's disk", round(1000 * megabytes / max(sent, 1), 1), "MB per 1,000", 30.0, at_most=True),
    ]


class _Work:
    """Science alerts through filters into topics, as the service does it: one query for each group of filters, side by side."""

    def __init__(self, spark: SparkSession, settings: Settings, survey: Survey) -> None:
        self._settings, self._survey = settings, survey
        self._folder = settings.root / "science"
        self._users = kafka_server.connection(settings, settings.kafka.output)
        self._numbers = count()
        self._schema = spark.read.parquet(str(self._folder)).schema
        self._spark = spark
        self.alerts = spark.readStream.schema(self._schema).parquet(str(self._folder))
        self.tally: Tally = {}

    def __call__(self, groups: Sequence[Sequence[Filter]]) -> None:
        tally = self._spark.sparkContext.accumulator({}, Adding())
        queries = []
        for filters in groups:
            topics = kafka.make_topics(self._users, {one.topic(self._survey): 2 for one in filters})
            messages = distribution.build(self.alerts, self._survey, filters, topics, tally=tally)
            checkpoint = self._settings.root / "checkpoints" / f"bench-{next(self._numbers)}"
            sink = messages.writeStream.foreachBatch(self._send).option("checkpointLocation", str(checkpoint))
            queries.append(sink.trigger(availableNow=True).start())
        for query in queries:
            query.awaitTermination()
        if len(groups) == 1:
            self.tally |= tally.value

    def _send(self, messages: DataFrame, _: int) -> None:
        kafka.write(messages, self._users)


def _published(settings: Settings, survey: Survey, alerts: DataFrame) -> list[Filter]:
    if not settings.science_section.environment:
        return []
    known = Known(settings, survey)
    known.prepare(known.published)
    return runnable(alerts, configured(known, ["fink.*"]), survey)


def _cheap(settings: Settings, survey: Survey) -> list[Filter]:
    """Functions that compare two columns, each of them selecting few alerts."""
    file = settings.root / "cheap.py"
    texts = [
        f"def cheap_{n}(magpsf, rb):\n    return (magpsf > {13 + n / 10}) & (magpsf < {13.001 + n / 10}) & (rb > 0.6)\n"
        for n in range(CHEAP)
    ]
    file.write_text("\n".join(texts), encoding="utf-8")
    return [Filter(f"cheap_{n}", None, reference_to(file, f"cheap_{n}"), ("magpsf", "rb")) for n in range(CHEAP)]


def _sql(number: int) -> list[Filter]:
    text = "candidate.magpsf between {} and {} and candidate.rb > 0.6 and cdsxmatch != 'QSO'"
    return [Filter(f"sql_{n}", sql=text.format(12 + n / 20, 12.0005 + n / 20)) for n in range(number)]
