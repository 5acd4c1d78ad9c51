"""Columns by the names that plug-ins use: top-level ones, fields of the current detection, light-curve columns."""

from __future__ import annotations

import difflib

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, StructType

from fink_broker.errors import ConfigError
from fink_broker.surveys import Survey


def named(name: str, survey: Survey, schema: StructType) -> Column:
    """The column that a plug-in means by a name.

    Parameters
    ----------
    name : str
        A top-level column (``objectId``), a field of the current detection (``magpsf``), or, with the survey's prefix, a light-curve
        column (``cmagpsf``: array, history then current).
    survey : Survey
        Says which columns hold the current detection and the history.
    schema : StructType
        Columns of the alerts.

    Raises
    ------
    ConfigError
        There is no such column.
    """
    current, history = schema[survey.current].dataType, schema[survey.history].dataType
    assert isinstance(current, StructType) and isinstance(history, ArrayType)  # noqa: PT018 - the survey's definition
    if name in schema.names:
        return F.col(name)
    if name in current.names:
        return F.col(survey.current)[name]
    field = name.removeprefix(survey.light_curve_prefix)
    if name.startswith(survey.light_curve_prefix) and field in current.names:
        return _light_curve(field, survey, current, history)
    fields = [*schema.names, *current.names, *[f"{survey.light_curve_prefix}{field}" for field in current.names]]
    near = difflib.get_close_matches(name, fields, n=1)
    hint = f", did you mean '{near[0]}'?" if near else ""
    raise ConfigError(f"there is no column '{name}' in the alerts of {survey.name}{hint}")


def _light_curve(field: str, survey: Survey, current: StructType, history: ArrayType) -> Column:
    item = history.elementType
    kind = current[field].dataType
    if not isinstance(item, StructType) or field not in item.names:
        return F.array(F.col(survey.current)[field])
    before = F.coalesce(F.col(survey.history)[field], F.array().cast(ArrayType(item[field].dataType)))
    return F.concat(before.cast(ArrayType(kind)), F.array(F.col(survey.current)[field]))
