"""fink filter test: filters on real alerts, as the service runs them; which alerts pass, and what it costs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from datasim import TEMPLATES
from fink_broker import surveys
from fink_broker.commands.trial import read
from fink_broker.config import Settings
from fink_broker.connectors import parquet
from fink_broker.errors import ConfigError, UsageError
from fink_broker.filters import Filter, registry
from fink_broker.filters.known import Known
from fink_broker.infra import environments
from fink_broker.session import session
from fink_broker.surveys import Survey
from fink_broker.transforms.filters import with_topics
from fink_broker.transforms.science import with_science
from fink_broker.transforms.workers import Workers
from fink_broker.worker.tally import Adding, Spent

_FIRST = 10
_MANY = 0.05
_ALERTS = 5_000
_ENOUGH = 20_000


@dataclass(frozen=True)
class Data:
    """Which alerts: of a night, of files, or what there is; and how many at most."""

    night: str | None = None
    path: Path | None = None
    alerts: int | None = None


@dataclass(frozen=True)
class Trial:
    """What a filter said of real alerts.

    Parameters
    ----------
    name : str
        Filter.
    alerts, passed : int
        How many alerts it was tried on, and how many it selects.
    first : list of str
        The first of those: object and alert.
    us : float
        Microseconds an alert.
    failures : int
        Alerts for which it had no answer.
    reason : str
        Why not.
    """

    name: str
    alerts: int
    passed: int
    first: list[str]
    us: float
    failures: int = 0
    reason: str = ""

    @property
    def share(self) -> float:
        """Share of the alerts that pass."""
        return self.passed / max(self.alerts, 1)


def main(settings: Settings, name: str, data: Data, *, as_json: bool) -> int:
    """Try filters and print what came out; exit code 1 if one raised, or its test failed."""
    survey = surveys.get(settings.survey)
    filters = chosen(settings, survey, name)
    fault = own_test(settings, Path(name))
    spark = session(settings.model_copy(update={"spark": settings.spark.model_copy(update={"master": "local[1]"})}), "filter-test")
    try:
        alerts, what = found(spark, settings, survey, data)
        some = alerts.limit(data.alerts or _ALERTS).coalesce(1).cache()
        trials = [attempt(some, one, survey, settings) for one in filters]
    finally:
        spark.stop()
    ok = not fault and not any(one.failures for one in trials)
    if as_json:
        print(json.dumps({"ok": ok, "test": fault, "filters": [{**asdict(one), "share": round(one.share, 6)} for one in trials]}))
    else:
        print("\n".join([f"on {what}", *map(table, trials), *([f"its test failed: {fault}"] if fault else [])]))
    return 0 if ok else 1


def chosen(settings: Settings, survey: Survey, name: str) -> list[Filter]:
    """The filter of a name, or those of a file.

    Raises
    ------
    ConfigError
        They cannot be used, or another filter in use has the name; the message names file, line and reason.
    """
    file, known = Path(name), Known(settings, survey)
    if file.suffix not in (".py", ".toml"):
        gathered = registry.gather(registry.sources(settings, survey))
        own = [one for where, some in gathered.sources.items() if where != registry.CONFIGURATION for one in some if one.name == name]
        if not own and name not in known:
            # Where it was written cannot be read: that says more than that there is no such filter.
            for where, fault in gathered.faults.items():
                if Path(where).stem == name or f"'{name}'" in fault:
                    raise ConfigError(fault)
        return own or [known.filter(name)]
    if not file.is_file():
        raise UsageError(f"there is no file {file}")
    file = file.resolve()
    filters = registry.of_file(known, file)
    sources = registry.gather(registry.sources(settings, survey)).sources
    for source, others in sources.items():
        taken = {one.name for one in others} & {one.name for one in filters}
        # A new version of what is in the folder is no second one.
        if taken and Path(source).name != file.name:
            raise ConfigError(f"{file}: there is a filter '{min(taken)}' already, in {source}")
    return filters


def own_test(settings: Settings, file: Path) -> str:
    """Run the test beside a filter's file; the last line of what went wrong."""
    test = file.with_name(f"test_{file.name}")
    if file.suffix != ".py" or not test.is_file():
        return ""
    environment = settings.science_section.environment
    python = str(environments.python(settings, environment)) if environment else sys.executable
    ran = subprocess.run([python, str(test)], env=environments.variables(), capture_output=True, text=True, check=False, timeout=300)
    said = [line for line in ran.stderr.splitlines() if line.strip()]
    where = [line.strip() for line in said if line.lstrip().startswith("File ")]
    return f"{said[-1]} ({where[-1]})" if ran.returncode and where else said[-1] if ran.returncode else ""


def found(spark: SparkSession, settings: Settings, survey: Survey, data: Data) -> tuple[DataFrame, str]:
    """Science alerts, and what they are.

    Raises
    ------
    UsageError
        There are none of that night.
    """
    if data.path is not None:
        if not data.path.exists():
            raise UsageError(f"there is no {data.path}")
        alerts, what = read(spark, data.path, survey), str(data.path)
    else:
        files = [str(file.path) for file in parquet.committed(settings.science) if data.night in (None, file.partition.get("night"))]
        night = data.night or ""
        archived = settings.archive_folder / "science" / f"year={night[:4]}" / f"month={night[4:6]}" / f"day={night[6:]}"
        if files:
            alerts, what = spark.read.parquet(*reversed(files)), f"science alerts of {data.night or 'all nights'}"
        elif archived.is_dir():
            alerts, what = spark.read.parquet(str(archived)), f"archived alerts of {data.night}"
        elif data.night:
            raise UsageError(f"there are no alerts of {data.night}, in science or in the archive")
        else:
            alerts, what = read(spark, TEMPLATES, survey), "the alerts that come with the broker"
    added = [name for name, column in survey.fink_columns.items() if column.in_alerts and column.source is None]
    if not set(added) <= set(alerts.columns):
        alerts, what = with_science(alerts, [], survey), f"{what}; science modules off"
    return alerts, what


def attempt(alerts: DataFrame, one: Filter, survey: Survey, settings: Settings) -> Trial:
    """Run a filter on alerts."""
    tally = alerts.sparkSession.sparkContext.accumulator({}, Adding())
    workers = Workers(settings.root / "tmp" / "filter-test", settings.science_section.worker_memory_mb)
    number = alerts.count()
    selected = with_topics(alerts, [one], survey, workers, tally).where(F.size("topics") > 0)
    rows = [f"{thing} {alert}" for thing, alert in selected.select(F.expr(survey.object_id), F.col(survey.alert_id)).collect()]
    first: Spent = tally.value.get(one.name, Spent())
    if one.reference is not None:
        # Again: what it loads is loaded now.
        selected.select(survey.alert_id).collect()
        us = 1000 * (tally.value[one.name].cpu_ms - first.cpu_ms) / max(number, 1)
    else:
        us = _beyond_nothing(alerts, one, survey, workers)
    return Trial(one.name, number, len(rows), rows[:_FIRST], round(us, 1), first.failures, first.reason)


def _beyond_nothing(alerts: DataFrame, one: Filter, survey: Survey, workers: Workers) -> float:
    """Microseconds an alert that SQL takes, beyond what Spark takes for a filter that does nothing; on as many alerts as that needs."""
    many = alerts.crossJoin(alerts.sparkSession.range(_ENOUGH // max(alerts.count(), 1) + 1).select()).coalesce(1)

    def seconds(other: Filter) -> float:
        counted = with_topics(many, [other], survey, workers).select(F.sum(F.size("topics")))
        counted.collect()  # once for the compiler
        began = time.perf_counter()
        counted.collect()
        return time.perf_counter() - began

    nothing = seconds(Filter(one.name, sql="false"))
    return max(1e6 * (seconds(one) - nothing) / _ENOUGH, 0.0)


def table(trial: Trial) -> str:
    """A trial for a person."""
    lines = [f"{trial.name}: {trial.passed:,} of {trial.alerts:,} alerts pass, {100 * trial.share:.2f} %; {trial.us:g} µs an alert"]
    lines += [f"  {one}" for one in trial.first]
    if trial.failures:
        lines.append(f"  no answer for {trial.failures:,} alerts: {trial.reason}")
    if trial.share > _MANY:
        lines.append(f"  warning: more than {100 * _MANY:g} % of the stream: of a night of ten million alerts, {1e7 * trial.share:,.0f}")
    return "\n".join(lines)
