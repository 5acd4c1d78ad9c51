"""All science modules in one Arrow pass, on the columns that they need and no others."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pandas as pd
from pyspark import TaskContext
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf
from pyspark.sql.pandas.types import to_arrow_type
from pyspark.sql.types import StructType

from fink_broker.errors import ConfigError
from fink_broker.science.module import Module
from fink_broker.surveys import Survey
from fink_broker.transforms.columns import named
from fink_broker.transforms.provenance import batch_time
from fink_broker.worker.batch import COST, ENDED, ERRORS, STARTED
from fink_broker.worker.calls import OBJECT

_ID = "_id"
_KINDS = {STARTED: "timestamp", ENDED: "timestamp", ERRORS: "array<string>", COST: "string"}


@dataclass(frozen=True)
class Workers:
    """Where modules run: the folder that workers share on a machine, and the memory that each may take beside what it starts with."""

    folder: Path = Path(tempfile.gettempdir()) / "fink-science"
    memory_mb: int = 3_000


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
        return _with_defaults(alerts, survey).withColumns(nothing)
    place = workers or Workers()
    inputs = _inputs(alerts, modules, survey)
    types = {name: kind for module in modules for name, kind in module.outputs.items()}
    made = {name: kind for name, kind in types.items() if not name.startswith("_")} | _KINDS
    schema = cast("StructType", StructType.fromDDL(", ".join(f"`{name}` {kind}" for name, kind in made.items())))
    every = cast("StructType", StructType.fromDDL(", ".join(f"`{name}` {kind}" for name, kind in types.items())))
    arrow = {name: to_arrow_type(every[name].dataType) for name in types}
    names, folder, memory_mb = list(inputs), place.folder, place.memory_mb

    def one_pass(*columns: pd.Series) -> pd.DataFrame:
        from fink_broker.worker import batch
        from fink_broker.worker.place import here

        task = TaskContext.get()
        given = dict(zip(names, columns, strict=True))
        worker = here(folder, memory_mb, again=task is not None and task.attemptNumber() > 0)
        return batch.run(modules, given, arrow, given[_ID], worker)

    # PySpark reads the kind of a pandas UDF from its annotations, which `from __future__` turns into text.
    one_pass.__annotations__ = {"columns": pd.Series, "return": pd.DataFrame}
    science = pandas_udf(one_pass, schema)(*inputs.values())  # type: ignore[call-overload]
    kept = [name for name in alerts.columns if name not in schema.names]
    added = alerts.withColumn("_science", science).select(*kept, *[F.col("_science")[name].alias(name) for name in schema.names])
    return _with_defaults(added, survey)


def _inputs(alerts: DataFrame, modules: Sequence[Module], survey: Survey) -> dict[str, Column]:
    """The columns that go to Python, each once, however many modules take it."""
    inputs = {_ID: F.col(survey.alert_id)}
    made: set[str] = set()
    for module in modules:
        for name in module.inputs:
            if name in made or name in inputs:
                continue
            try:
                inputs[name] = named(name, survey, alerts.schema) if re.fullmatch(r"\w+", name) else _sql(name, alerts)
            except ConfigError as error:
                hint = ": it comes from a module that is off (fink science list -c shows which)" if name in survey.fink_columns else ""
                raise ConfigError(f"the science module '{module.name}': {error}{hint}") from error
        made |= set(module.outputs)
    if any(module.keep_hours for module in modules):
        inputs[OBJECT] = F.expr(survey.object_id)
    return inputs


def _sql(text: str, alerts: DataFrame) -> Column:
    try:
        alerts.select(F.expr(text))
    except AnalysisException as error:
        raise ConfigError(f"'{text}' is not SQL on an alert: {str(error).strip().splitlines()[0][:200]}") from error
    return F.expr(text)


def _with_defaults(alerts: DataFrame, survey: Survey) -> DataFrame:
    """Add Fink's columns whose modules are off; those that lie in a record or map of a module come with it."""
    missing = {
        name: F.lit(column.default).cast(column.type)
        for name, column in survey.fink_columns.items()
        if column.in_alerts and column.source is None and name not in alerts.columns
    }
    return alerts.withColumns(missing) if missing else alerts
