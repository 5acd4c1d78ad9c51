"""Science: what the broker adds to the modules' own cost, at small batches as at large ones; raw2science without modules."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf

from datasim import TEMPLATES
from fink_broker import surveys
from fink_broker.commands import trial
from fink_broker.commands.bench import Figure, Report
from fink_broker.commands.progress import Progress
from fink_broker.config import CHECKOUT, Settings
from fink_broker.config.own import Science
from fink_broker.config.sections import Raw2science
from fink_broker.connectors import parquet
from fink_broker.errors import FinkError
from fink_broker.infra import kafka as kafka_server
from fink_broker.infra import processes
from fink_broker.monitoring.costs import Costs, total
from fink_broker.science.module import Module
from fink_broker.science.registry import active
from fink_broker.session import session
from fink_broker.surveys import Survey
from fink_broker.transforms.columns import named
from fink_broker.transforms.science import with_science
from fink_broker.transforms.workers import Workers
from tests.benchmarks import _measure as measure
from tests.benchmarks._measure import lines as measured
from tests.benchmarks._services import plugins, run_once
from tests.benchmarks.intake import simulated

ALERTS, ROUNDS = 5_000, 1
# The service needs more: the first thousands of alerts pay for the JVM's compiler.
IN_SERVICE = 20_000
BATCHES = (50, 5_000)
# Those of fink-science that ask no server and need no package that is not on PyPI.
OFFLINE = (
    "gcvs",
    "vsx",
    "x3hsp",
    "x4lac",
    "mangrove",
    "roid",
    "nalerthist",
    "ad_features",
    "magnitude_rate",
    "standardized_flux",
    "blazar_stats",
)
REAL = CHECKOUT.parent / "shared" / "data" / "ztf_4.02_spark"


def run(settings: Settings, alerts: int | None = None) -> Report:
    """Measure.

    Parameters
    ----------
    settings : Settings
        Spark's master and Java options; the environment ``ztf`` of its broker's home is used if it is there.
    alerts : int, optional
        How many alerts.
    """
    count = alerts or ALERTS
    progress = Progress(sys.stderr)
    envs = plugins(settings)
    settings.root.mkdir(parents=True, exist_ok=True)
    figures: list[Figure] = []
    lines: list[str] = []
    with tempfile.TemporaryDirectory(dir=settings.root) as folder:
        here = settings.model_copy(update={"home": Path(folder)})
        with progress.step("raw2science without modules") as say:
            figures += _service(here, alerts or IN_SERVICE, say)
        if envs.exists():
            (here.root / "envs").mkdir()
            (here.root / "envs" / "ztf").symlink_to(envs)
            names = [f"fink.{name}" for name in OFFLINE]
            here = here.model_copy(
                update={
                    "raw2science": Raw2science(modules=names),
                    "science_section": Science(environment="ztf", timeout_seconds=600, worker_memory_mb=16_000),
                }
            )
            found, table = _modules(here, count, progress)
            figures, lines = figures + found, lines + table
        else:
            lines.append(f"the modules of fink-science were not measured: {envs} is not there (fink science install ztf)")
    lines += ["", *measured(figures)]
    return Report(figures, "\n".join(lines))


def _service(settings: Settings, count: int, say: Callable[[str], None]) -> list[Figure]:
    """raw2science on alerts of real size, and on one: the difference is what alerts cost."""
    embedded = settings.kafka.embedded.model_copy(update={"port": 0})
    here = settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"embedded": embedded})})
    wholes = {}
    kafka_server.start(here)
    try:
        address = kafka_server.connection(here, here.kafka.simulated).servers
        for topic, number in {"one": 1, "all": count}.items():
            sent = simulated(here, topic, number, say)
            conf = here.root / f"{topic}.conf"
            home = here.root / f"home-{topic}"
            conf.write_text(
                f'home = "{home}"\n[kafka.input]\nservers = "{address}"\ntopics = "{topic}"\n[raw2science]\nmodules = []\n',
                encoding="utf-8",
            )
            say(f"{sent:,} alerts")
            run_once("stream2raw", conf)
            wholes[topic] = run_once("raw2science", conf)
            if not parquet.committed(Settings.model_validate({"home": home}).science) and number > 1:
                raise FinkError("bench science: raw2science wrote nothing")
    finally:
        processes.stop(here, kafka_server.NAME, say=lambda line: None)
    cost = 1000 * (wholes["all"].cpu_s - wholes["one"].cpu_s) / count
    return [
        Figure("raw2science without modules, beyond the start", round(cost, 2), "CPU s per 1,000 alerts", 0.8, at_most=True),
        Figure("its start", round(wholes["one"].cpu_s, 1), "CPU s"),
        Figure("its peak memory", round(wholes["all"].peak_mb), "MB", 2000.0, at_most=True),
    ]


def _modules(settings: Settings, count: int, progress: Progress) -> tuple[list[Figure], list[str]]:
    """The modules of fink-science: themselves, as the broker runs them, and one UDF a module as their authors do."""
    survey = surveys.get("ztf")
    modules = active(settings, survey)
    spark = session(settings, "bench")
    try:
        with progress.step("alerts"):
            alerts = multiplied(spark, survey, count)
        workers = Workers(settings.root / "tmp" / "science", settings.science_section.worker_memory_mb)
        with progress.step("the functions themselves"):
            own = themselves(alerts, modules, survey)
        ways = {f"the broker, batches of {size:,}": _Broker(alerts, modules, survey, workers, size) for size in BATCHES}
        with progress.step("as the broker runs them") as say:
            runs = measure.in_turn(ways, ROUNDS + 1, say)
        few = alerts.limit(max(count // 20, 50)).cache()
        single = {size: _single(few if size == BATCHES[0] else alerts, modules, survey, size) for size in BATCHES}
        with progress.step("one UDF a module") as say:
            singles = {
                f"one UDF a module, batches of {size:,}": measure.in_turn({"": work}, 1, say)[""][0].cpu_s for size, work in single.items()
            }
        scale = dict(zip(singles, (few.count(), count), strict=True))
    finally:
        spark.stop()
    whole = sum(own.values())
    lines = [f"{count:,} alerts, {len(modules)} modules of fink-science; CPU ms an alert, one core", ""]
    heads = ["itself", *[f"of {size:,}" for size in BATCHES]]
    lines.append(f"{'':<40}" + "".join(f"{head:>12}" for head in heads))
    for name, ms in own.items():
        lines.append(f"{name:<40}{ms:>12.3f}" + "".join(f"{way.costs.cpu_ms[name]:>12.3f}" for way in ways.values()))
    lines.append(f"{'all':<40}{whole:>12.3f}" + "".join(f"{sum(way.costs.cpu_ms.values()):>12.3f}" for way in ways.values()))
    figures = [Figure("the modules themselves", round(whole, 3), "CPU ms an alert")]
    for name, done in runs.items():
        ms = 1000 * measure.typical(done[1:]).cpu_s / count
        lines.append(f"{name:<40}{ms:>12.3f}")
        figures.append(Figure(f"{name}, beside the modules themselves", round(ms / whole, 2), "times", 1.25, at_most=True))
    for name, cpu_s in singles.items():
        ms = 1000 * cpu_s / scale[name]
        lines.append(f"{name:<40}{ms:>12.3f}")
        figures.append(Figure(f"{name}, beside the modules themselves", round(ms / whole, 2), "times"))
    return figures, lines


def multiplied(spark: SparkSession, survey: Survey, count: int) -> DataFrame:
    """Real alerts, again and again with other ids, positions and magnitudes, in memory."""
    real = trial.read(spark, REAL if REAL.exists() else TEMPLATES, survey).select("candid", "objectId", "candidate", "prv_candidates")
    times = -(-count // real.count())
    noise = "(pmod(hash(candid, time, {0}), 1000) - 500) / 1e4"
    many = real.crossJoin(spark.range(times).withColumnRenamed("id", "time")).withColumns(
        {
            "candidate": F.col("candidate")
            .withField("ra", F.expr("pmod(candidate.ra + 13.7 * time, 360)"))
            .withField("magpsf", F.expr(f"cast(candidate.magpsf + {noise.format('candid')} as float)")),
            "prv_candidates": F.transform(
                "prv_candidates",
                lambda one: one.withField(
                    "magpsf", (one["magpsf"] + (F.pmod(F.hash("candid", "time", one["jd"]), F.lit(1000)) - 500) / 1e4).cast("float")
                ),
            ),
            "candid": F.expr("candid + time"),
        }
    )
    some = many.drop("time").limit(count).coalesce(1).cache()
    some.count()
    return some


def themselves(alerts: DataFrame, modules: Sequence[Module], survey: Survey) -> dict[str, float]:
    """CPU milliseconds an alert of each function, called on all alerts at once, for the second time (what it loads is loaded)."""
    names = list(dict.fromkeys(name for module in modules for name in module.inputs if not name.startswith("_")))
    columns = [named(name, survey, alerts.schema).alias(name) for name in names]

    def call(*given: pd.Series) -> pd.Series:
        from fink_broker.worker import results

        spent: dict[str, float] = {}
        for _ in range(2):
            rows = dict(zip(names, given, strict=True))
            for module in modules:
                plain = getattr(module.reference.load(), "func", None)
                began = time.process_time()
                parts = []
                step = module.batch or len(given[0])
                for start in range(0, len(given[0]), step):
                    part = {name: rows[name].iloc[start : start + step].reset_index(drop=True) for name in module.inputs}
                    arguments = [part[name] for name in module.inputs]
                    if module.by_row:
                        parts.append(pd.Series([plain(*row, **module.constants) for row in zip(*arguments, strict=True)]))
                    else:
                        constants = {name: results.constant(value, arguments[0].index) for name, value in module.constants.items()}
                        parts.append(plain(*arguments, **constants))
                spent[module.name] = time.process_time() - began
                table = results.table(pd.concat(parts), module, given[0].index)
                rows |= {name: table[name] for name in module.outputs if name.startswith("_")}
        return pd.Series([";".join(f"{name}={1000 * s / len(given[0])}" for name, s in spent.items())] * len(given[0]))

    call.__annotations__ = {"given": pd.Series, "return": pd.Series}
    alerts.sparkSession.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "1000000")
    # An aggregate of all rows: a limit would reach the function, which would see one alert.
    [row] = alerts.select(pandas_udf(call, "string")(*columns).alias("spent")).agg(F.max("spent").alias("spent")).collect()  # type: ignore[call-overload]
    return {name: float(ms) for name, _, ms in (one.partition("=") for one in row.spent.split(";"))}


class _Broker:
    """The modules as the broker runs them; `costs` is what each took, of the last run."""

    def __init__(self, alerts: DataFrame, modules: Sequence[Module], survey: Survey, workers: Workers, size: int) -> None:
        self._alerts, self._modules, self._survey, self._workers, self._size = alerts, modules, survey, workers, size
        self.costs = Costs()

    def __call__(self) -> None:
        self._alerts.sparkSession.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(self._size))
        made = with_science(self._alerts, self._modules, self._survey, self._workers)
        # All that the modules made comes back from Python; of it only the notes go on.
        [row] = made.agg(F.collect_list("science_cost").alias("notes")).collect()
        self.costs = total(row.notes)


def _single(alerts: DataFrame, modules: Sequence[Module], survey: Survey, size: int) -> Callable[[], None]:
    """As fink-science is used: one UDF a module, each on its own."""

    def work() -> None:
        alerts.sparkSession.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(size))
        made = alerts
        for module in modules:
            inputs = [F.col(name) if name.startswith("_") else named(name, survey, alerts.schema) for name in module.inputs]
            name, kind = next(iter(module.outputs.items()))
            made = made.withColumn(name, _udf(module, kind)(*inputs))
        _consume(made.drop(*alerts.columns))

    return work


def _udf(module: Module, kind: str) -> Any:
    def one(*given: pd.Series) -> pd.Series:
        from fink_broker.worker import results

        plain = getattr(module.reference.load(), "func", None)
        if module.by_row:
            values = pd.Series([plain(*row, **module.constants) for row in zip(*given, strict=True)])
        else:
            values = plain(*given, **{name: results.constant(value, given[0].index) for name, value in module.constants.items()})
        return results.table(values, module, given[0].index)[next(iter(module.outputs))]

    one.__annotations__ = {"given": pd.Series, "return": pd.Series}
    return pandas_udf(one, kind)  # type: ignore[call-overload]


def _consume(frame: DataFrame) -> None:
    frame.write.format("noop").mode("overwrite").save()
