"""Columns by the names that plug-ins use: top-level ones, fields of the current detection, light-curve columns, fields of records."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, StructType

from fink_broker.errors import ConfigError
from fink_broker.surveys import Survey


def named(name: str, survey: Survey, schema: StructType) -> Column:
    """The column that a plug-in means by a name, see `expression`."""
    return F.expr(expression(name, survey, schema))


def expression(name: str, survey: Survey, schema: StructType) -> str:
    """What a plug-in means by a name, as SQL.

    Parameters
    ----------
    name : str
        In this order: a top-level column (``objectId``); a field of the current detection (``magpsf``); with the survey's prefix a
        light-curve column (``cmagpsf``, or ``cmagpsfc`` as the published filters have it: array, history then current); a field of any
        record whose name there is once (fink_utils.spark.utils.get_cols_from_args); one of the survey's `aliases`.
    survey : Survey
        Says which columns hold the current detection and the history.
    schema : StructType
        Columns of the alerts.

    Raises
    ------
    ConfigError
        There is no such column, or there are several.
    """
    current = schema[survey.current].dataType
    assert isinstance(current, StructType)  # the survey's definition
    prefix = survey.light_curve_prefix
    if name in schema.names:
        return f"`{name}`"
    if name in current.names:
        return f"{survey.current}.`{name}`"
    for field in (name.removeprefix(prefix), name.removeprefix(prefix).removesuffix(prefix)):
        if name.startswith(prefix) and field in current.names:
            return _light_curve(field, survey, schema, current)
    leaves = [path for path in _paths(schema) if path[-1] == name]
    if len(leaves) == 1:
        return ".".join(f"`{part}`" for part in leaves[0])
    if len(leaves) > 1 and name not in survey.aliases:
        raise ConfigError(f"'{name}' may be any of {', '.join('.'.join(path) for path in leaves)}")
    alias = survey.aliases.get(name, "")
    if alias and set(re.findall(r"(\w+)\.", alias)) <= set(schema.names):
        return alias
    fields = [*schema.names, *current.names, *(f"{prefix}{field}" for field in current.names), *(path[-1] for path in _paths(schema))]
    near = difflib.get_close_matches(name, fields, n=1)
    hint = f", did you mean '{near[0]}'?" if near else ""
    raise ConfigError(f"there is no column '{name}' in the alerts of {survey.name}{hint}")


def _paths(schema: StructType, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The fields of all records, each with what it lies in."""
    for field in schema:
        yield (*above, field.name)
        if isinstance(field.dataType, StructType):
            yield from _paths(field.dataType, (*above, field.name))


def _light_curve(field: str, survey: Survey, schema: StructType, current: StructType) -> str:
    now = f"array({survey.current}.`{field}`)"
    history = schema[survey.history].dataType
    item = history.elementType if isinstance(history, ArrayType) else None
    if not isinstance(item, StructType) or field not in item.names:
        return now
    kind = current[field].dataType.simpleString()
    return f"concat(coalesce(cast({survey.history}.`{field}` as array<{kind}>), cast(array() as array<{kind}>)), {now})"
