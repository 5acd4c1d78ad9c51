"""raw2science: quality cuts, repeats dropped, science modules; Parquet raw to Parquet science."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.types import StructType

from fink_broker import __version__
from fink_broker.config import Settings
from fink_broker.connectors import parquet
from fink_broker.monitoring import rules
from fink_broker.science.module import Module
from fink_broker.science.registry import active
from fink_broker.services import stream2raw
from fink_broker.services.context import Context, trigger
from fink_broker.surveys import Survey, with_cuts
from fink_broker.transforms.provenance import with_versions
from fink_broker.transforms.quality import drop_repeats, passes
from fink_broker.transforms.science import with_science
from fink_broker.transforms.workers import Workers
from fink_broker.worker.place import forget

NAME = "raw2science"

# Columns of raw that only the intake needs.
_OF_INTAKE = ("status", "reason", "value", "topic", "partition", "offset", "kafkaTimestamp", "record")
NO_SCIENCE = "no-science"


def build(
    raw: DataFrame, survey: Survey, modules: Sequence[Module], version: str, horizon: str, *, workers: Workers | None = None
) -> DataFrame:
    """Raw alerts to science alerts.

    Parameters
    ----------
    raw : DataFrame
        As stream2raw writes it.
    survey : Survey
        Cuts and columns.
    modules : sequence of Module
        Science modules to run.
    version : str
        Version of the science, for `fink_science_version`.
    horizon : str
        How long an id is remembered, see `drop_repeats`.
    workers : Workers, optional
        Where the modules run.
    """
    sound = raw.where((F.col("status") == stream2raw.OK) & passes(survey.cuts)).drop(*_OF_INTAKE)
    return finished(drop_repeats(sound, survey.alert_id, horizon), survey, modules, version, workers=workers)


def finished(alerts: DataFrame, survey: Survey, modules: Sequence[Module], version: str, *, workers: Workers | None = None) -> DataFrame:
    """Alerts that are to be kept, each once, to science alerts."""
    return with_versions(with_science(alerts, modules, survey, workers), version)


def schema(context: Context) -> StructType:
    """Columns of the science folder, known before its first file."""
    columns = parquet.columns(context.settings.raw) or stream2raw.schema(context)
    return _build(context, context.spark.createDataFrame([], columns)).schema


def stream(context: Context, max_files: int) -> DataFrame:
    """Science alerts as a stream, so many files a batch."""
    folder = context.settings.science
    # To work the columns out takes longer than the rest of a start.
    return parquet.stream(context.spark, folder, parquet.columns(folder) or schema(context), max_files)


def start(context: Context) -> StreamingQuery:
    """Start the query."""
    settings = context.settings.raw2science
    forget(workers(context.settings).folder)
    raw_schema = stream2raw.schema(context)
    folder, beside = context.settings.raw, context.settings.raw_backlog
    raw = parquet.stream(context.spark, folder, raw_schema, settings.max_files_per_trigger, stream2raw.PARTITIONS)
    few = settings.backlog_files_per_trigger
    backlog = parquet.stream(context.spark, beside, raw_schema, few, stream2raw.PARTITIONS, like=folder)
    sink = parquet.sink(_build(context, raw.unionByName(backlog)), context.settings.science, context.settings.checkpoint(NAME), ["night"])
    rules.note(context.settings, with_cuts(context.survey, settings.cuts).cuts)
    return sink.queryName(NAME).trigger(**trigger(context.options, settings.trigger_seconds)).start()


def _build(context: Context, raw: DataFrame) -> DataFrame:
    settings = context.settings
    modules = active(settings, context.survey)
    horizon = settings.raw2science.repeats_horizon
    survey = with_cuts(context.survey, settings.raw2science.cuts)
    return build(raw, survey, modules, science_version(modules), horizon, workers=workers(settings))


def workers(settings: Settings) -> Workers:
    """Where science modules run."""
    return Workers(settings.root / "tmp" / "science", settings.science_section.worker_memory_mb)


def science_version(modules: Sequence[Module]) -> str:
    """`fink_science_version` of the alerts: of the packages that modules come from, else the broker's; and whether some are offline."""
    if not modules:
        return NO_SCIENCE
    packages = sorted({module.version for module in modules if module.version})
    offline = "-offline" if any(module.offline for module in modules) else ""
    return ("-".join(packages) or __version__) + offline
