"""All filters in one pass: which alerts go to which topics."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
from pyspark.accumulators import Accumulator
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType

from fink_broker.errors import ConfigError
from fink_broker.filters import Filter
from fink_broker.science.module import Module
from fink_broker.surveys import Survey
from fink_broker.transforms.workers import Workers, inputs, one_pass, record
from fink_broker.worker.place import Place
from fink_broker.worker.tally import Tally

_ANSWERS = "_filters"


def with_topics(
    alerts: DataFrame,
    filters: Sequence[Filter],
    survey: Survey,
    workers: Workers | None = None,
    tally: Accumulator[Tally] | None = None,
) -> DataFrame:
    """Add `topics` (array of strings): the topics of the filters that select the alert.

    Parameters
    ----------
    alerts : DataFrame
        Science alerts.
    filters : sequence of Filter
        Filters; the functions among them run in one Arrow pass, each on its own, and get the columns that they name and no others.
    survey : Survey
        Says what argument names mean, and ends the topics' names.
    workers : Workers, optional
        Where functions run.
    tally : Accumulator, optional
        Gets what each function cost, once per Arrow batch.

    Raises
    ------
    ConfigError
        An expression is no condition on an alert, or an argument no column; the message names the filter and where it was written.
    """
    answered = _with_answers(alerts, filters, survey, workers, tally)
    _check(answered, [one for one in filters if one.sql is not None])
    chosen = [F.when(_parsed(one.sql) if one.sql is not None else F.col(_ANSWERS)[one.name], F.lit(one.topic(survey))) for one in filters]
    topics = F.array_compact(F.array(*chosen)) if chosen else F.array().cast("array<string>")
    return answered.withColumn("topics", topics).select(*alerts.columns, "topics")


def _parsed(sql: str) -> Column:
    """The expression. In brackets: without, Spark takes a word behind it for its name, and ``magpsf < 18 and`` for sound."""
    return F.expr(f"({sql}\n)")


def _with_answers(
    alerts: DataFrame, filters: Sequence[Filter], survey: Survey, workers: Workers | None, tally: Accumulator[Tally] | None
) -> DataFrame:
    """Add what the functions say, as one record, and what SQL uses by name as columns."""
    used = {one.name: one for user in filters for one in user.uses}
    functions = {one.name: one for one in [*filters, *used.values()] if one.reference is not None}
    if functions:
        modules = [one.module() for one in functions.values()]
        answers = record(dict.fromkeys(functions, "boolean"))
        origins = {one.name: str(one) for one in functions.values()}
        alerts = alerts.withColumn(
            _ANSWERS, one_pass(inputs(alerts, modules, survey, origins.__getitem__), modules, answers, _work(tally), workers)
        )
    for one in used.values():
        alerts = alerts.withColumn(one.name, _parsed(one.sql) if one.sql is not None else F.col(_ANSWERS)[one.name])
    return alerts


def _work(tally: Accumulator[Tally] | None) -> Callable[..., pd.DataFrame]:
    """What is done in a worker: the answers, a column a filter; what they cost goes to the tally."""

    def work(
        modules: Sequence[Module], columns: dict[str, pd.Series], kinds: Mapping[str, pa.DataType], ids: pd.Series, place: Place
    ) -> pd.DataFrame:
        from fink_broker.worker.batch import evaluate
        from fink_broker.worker.tally import counted

        outcome = evaluate(modules, columns, kinds, ids, place)
        if tally is not None:
            tally.add(counted(outcome, len(ids)))
        return pd.DataFrame(outcome.values, index=ids.index)

    return work


def _check(alerts: DataFrame, filters: Sequence[Filter]) -> None:
    """Whether filters are conditions; all in one question to Spark, and one by one only if one of them is not."""
    try:
        fields: Sequence[Any] = alerts.select(*[_parsed(one.sql or "").alias(one.name) for one in filters]).schema.fields
    except AnalysisException:
        for one in filters:
            _analysed(alerts, one)
        raise
    for one, field in zip(filters, fields, strict=True):
        if not isinstance(field.dataType, BooleanType):
            raise ConfigError(f"{one} is not a condition: its type is {field.dataType.simpleString()}")


def _analysed(alerts: DataFrame, one: Filter) -> None:
    try:
        alerts.select(_parsed(one.sql or ""))
    except AnalysisException as error:
        raise ConfigError(f"{one} is not SQL on an alert: {_fault(error, alerts)}") from error


def _fault(error: AnalysisException, alerts: DataFrame) -> str:
    """What is wrong, in one line; of a column that there is not, the nearest name."""
    said = error.getMessageParameters() or {}
    name = (said.get("fieldName") or said.get("objectName") or "").replace("`", "")
    if not name:
        return str(error).strip().splitlines()[0][:200]
    fields = said["fields"].replace("`", "").split(", ") if "fields" in said else alerts.columns
    near = difflib.get_close_matches(name, fields, n=1)
    return f"there is no column '{name}'" + (f", did you mean '{near[0]}'?" if near else "")
