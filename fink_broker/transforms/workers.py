"""One Arrow pass through functions on pandas Series, on the columns that they need and no others."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
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
from fink_broker.worker.calls import OBJECT

_ID = "_id"
# What is done in a worker with the modules, the columns, the types of outputs, and the ids: as `worker.batch.run`.
Work = Callable[..., pd.DataFrame]


@dataclass(frozen=True)
class Workers:
    """Where modules run: the folder that workers share on a machine, and the memory that each may take beside what it starts with."""

    folder: Path = Path(tempfile.gettempdir()) / "fink-science"
    memory_mb: int = 3_000


def record(types: dict[str, str]) -> StructType:
    """Columns with their Spark SQL types."""
    return cast("StructType", StructType.fromDDL(", ".join(f"`{name}` {kind}" for name, kind in types.items())))


def one_pass(inputs: dict[str, Column], modules: Sequence[Module], made: StructType, work: Work, workers: Workers | None) -> Column:
    """What modules make of an alert, as one record.

    Parameters
    ----------
    inputs : dict of Column
        The columns that go to Python, see `inputs`.
    modules : sequence of Module
        Modules, each after those whose columns it takes.
    made : StructType
        The record.
    work : callable
        What is done with them in a worker, such as `worker.batch.run`: it gives a DataFrame of the record's columns.
    workers : Workers, optional
        Where they run.
    """
    place = workers or Workers()
    every = record({name: kind for module in modules for name, kind in module.outputs.items()})
    arrow = {field.name: to_arrow_type(field.dataType) for field in every}
    names, folder, memory_mb = list(inputs), place.folder, place.memory_mb

    def in_worker(*columns: pd.Series) -> pd.DataFrame:
        from fink_broker.worker.place import here

        task = TaskContext.get()
        given = dict(zip(names, columns, strict=True))
        worker = here(folder, memory_mb, again=task is not None and task.attemptNumber() > 0)
        return work(modules, given, arrow, given[_ID], worker)

    # PySpark reads the kind of a pandas UDF from its annotations, which `from __future__` turns into text.
    in_worker.__annotations__ = {"columns": pd.Series, "return": pd.DataFrame}
    # Said not to be deterministic: else Spark writes it out once more for a condition on what it gives, and runs all twice.
    return pandas_udf(in_worker, made).asNondeterministic()(*inputs.values())  # type: ignore[call-overload,no-any-return]


def inputs(
    alerts: DataFrame, modules: Sequence[Module], survey: Survey, title: Callable[[str], str] = "the science module '{}'".format
) -> dict[str, Column]:
    """The columns that go to Python, each once, however many modules take it.

    Parameters
    ----------
    alerts : DataFrame
        Alerts.
    modules : sequence of Module
        Modules.
    survey : Survey
        Says what column names mean.
    title : callable
        What a module of a name is called in messages.

    Raises
    ------
    ConfigError
        A module takes a column that there is not; the message names both.
    """
    found = {_ID: F.col(survey.alert_id)}
    made: set[str] = set()
    for module in modules:
        for name in module.inputs:
            if name in made or name in found:
                continue
            try:
                found[name] = named(name, survey, alerts.schema) if re.fullmatch(r"\w+", name) else _sql(name, alerts)
            except ConfigError as error:
                hint = ": it comes from a module that is off (fink science list -c shows which)" if name in survey.fink_columns else ""
                raise ConfigError(f"{title(module.name)}: {error}{hint}") from error
        made |= set(module.outputs)
    if any(module.keep_hours for module in modules):
        found[OBJECT] = F.expr(survey.object_id)
    return found


def _sql(text: str, alerts: DataFrame) -> Column:
    try:
        alerts.select(F.expr(text))
    except AnalysisException as error:
        raise ConfigError(f"'{text}' is not SQL on an alert: {str(error).strip().splitlines()[0][:200]}") from error
    return F.expr(text)
