"""All filters in one pass: which alerts go to which topics."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf
from pyspark.sql.types import BooleanType

from fink_broker.errors import ConfigError
from fink_broker.filters import Filter
from fink_broker.surveys import Survey
from fink_broker.transforms.columns import named

log = logging.getLogger(__name__)


def with_topics(alerts: DataFrame, filters: Sequence[Filter], survey: Survey) -> DataFrame:
    """Add `topics` (array of strings): the topics of the filters that select the alert.

    Parameters
    ----------
    alerts : DataFrame
        Science alerts.
    filters : sequence of Filter
        Filters; the functions among them run in one Arrow pass, each on its own.
    survey : Survey
        Says what argument names mean, and ends the topics' names.

    Raises
    ------
    ConfigError
        An expression is no condition on an alert, or an argument no column; the message names the filter.
    """
    chosen = [F.when(_condition(one.name, one.sql, alerts), F.lit(one.topic(survey))) for one in filters if one.sql]
    functions = [one for one in filters if one.reference]
    by_sql: Column = F.array_compact(F.array(*chosen)) if chosen else F.array().cast("array<string>")
    if not functions:
        return alerts.withColumn("topics", by_sql)
    names = list(dict.fromkeys(name for one in functions for name in one.arguments))

    def select(*columns: pd.Series) -> pd.Series:
        return selected(functions, dict(zip(names, columns, strict=True)), survey)

    select.__annotations__ = {"columns": pd.Series, "return": pd.Series}
    by_function = pandas_udf(select, "array<string>")(*[named(name, survey, alerts.schema) for name in names])  # type: ignore[call-overload]
    return alerts.withColumn("topics", F.concat(by_sql, by_function))


def _condition(name: str, sql: str, alerts: DataFrame) -> Column:
    try:
        [field] = alerts.select(F.expr(sql)).schema.fields
    except AnalysisException as error:
        raise ConfigError(f"the filter '{name}' is not SQL on an alert: {str(error).strip().splitlines()[0][:200]}") from error
    if not isinstance(field.dataType, BooleanType):
        raise ConfigError(f"the filter '{name}' is not a condition: its type is {field.dataType.simpleString()}")
    return F.coalesce(F.expr(sql), F.lit(False))


def selected(filters: Sequence[Filter], columns: dict[str, pd.Series], survey: Survey) -> pd.Series:
    """Topics by alert, for filters that are functions. One that raises selects nothing where it raises.

    Parameters
    ----------
    filters : sequence of Filter
        Filters with a function.
    columns : dict of Series
        What their arguments name, all of one length.
    survey : Survey
        Ends the topics' names.

    Returns
    -------
    Series of lists of str
    """
    index = next(iter(columns.values())).index
    masks = {one.topic(survey): _mask(one, [columns[name] for name in one.arguments], len(index)) for one in filters}
    topics = list(masks)
    return pd.Series([[t for t, hit in zip(topics, row, strict=True) if hit] for row in zip(*masks.values(), strict=True)], index=index)


def _mask(one: Filter, arguments: list[pd.Series], length: int) -> Any:
    assert one.reference is not None
    function = one.reference.load()
    try:
        # Copies: a filter that changes what it is given does not change it for the next one.
        return _booleans(function(*[argument.copy() for argument in arguments]), length)
    # Whatever somebody's filter raises costs its own alerts: try row by row, so that one alert does not cost a batch.
    except Exception:  # noqa: BLE001
        mask = np.zeros(length, dtype=bool)
        for row in range(length):
            try:
                mask[row] = _booleans(function(*[argument.iloc[row : row + 1].copy() for argument in arguments]), 1)[0]
            except Exception:
                log.warning("the filter %s raised", one.name, exc_info=True)
        return mask


def _booleans(result: Any, length: int) -> Any:
    mask = pd.Series(result).fillna(value=False).to_numpy(dtype=bool)
    if len(mask) != length:
        raise ValueError(f"returned {len(mask)} values for {length} alerts")
    return mask
