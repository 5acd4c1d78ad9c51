"""All science modules in one Arrow pass, on the columns that they need and no others."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fink_broker.science.module import Module
from fink_broker.surveys import Survey
from fink_broker.transforms.provenance import batch_time
from fink_broker.transforms.workers import Workers, inputs, one_pass, record
from fink_broker.worker import batch

_KINDS = {batch.STARTED: "timestamp", batch.ENDED: "timestamp", batch.ERRORS: "array<string>", batch.COST: "string"}


def with_science(alerts: DataFrame, modules: Sequence[Module], survey: Survey, workers: Workers | None = None) -> DataFrame:
    """Add the columns of the science modules.

    Parameters
    ----------
    alerts : DataFrame
        Sound alerts.
    modules : sequence of Module
        Modules to run, each after those whose columns it takes.
    survey : Survey
        Says what column names mean.
    workers : Workers, optional
        Where they run.

    Returns
    -------
    DataFrame
        With the outputs of the modules, the survey's Fink columns of modules that are off with their defaults,
        `brokerStartProcessTimestamp` and `brokerEndProcessTimestamp` (the worker's clock before and after the modules), `science_errors`
        (array of strings, null without errors): which modules raised, and what; and `science_cost` (JSON in the first row of a batch, else
        null): milliseconds of CPU, alerts and failures by module, the worker's peak memory.

    Raises
    ------
    ConfigError
        A module takes a column that there is not.
    """
    if not modules:
        now = batch_time()
        nothing = {name: now if kind == "timestamp" else F.lit(None).cast(kind) for name, kind in _KINDS.items()}
        return with_defaults(alerts, survey).withColumns(nothing)
    types = {name: kind for module in modules for name, kind in module.outputs.items() if not name.startswith("_")}
    made = record(types | _KINDS)
    science = one_pass(inputs(alerts, modules, survey), modules, made, batch.run, workers)
    kept = [name for name in alerts.columns if name not in made.names]
    added = alerts.withColumn("_science", science).select(*kept, *[F.col("_science")[name].alias(name) for name in made.names])
    return with_defaults(added, survey)


def with_defaults(alerts: DataFrame, survey: Survey) -> DataFrame:
    """Add Fink's columns whose modules are off; those that lie in a record or map of a module come with it."""
    missing = {
        name: F.lit(column.default).cast(column.type)
        for name, column in survey.fink_columns.items()
        if column.in_alerts and column.source is None and name not in alerts.columns
    }
    return alerts.withColumns(missing) if missing else alerts
