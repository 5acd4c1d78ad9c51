"""All science modules in one Arrow pass, each on its own: one that raises costs its own values only."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf
from pyspark.sql.pandas.types import to_arrow_type
from pyspark.sql.types import StructType

from fink_broker.science import Module
from fink_broker.surveys import Survey
from fink_broker.transforms.columns import named
from fink_broker.transforms.provenance import batch_time

Columns = dict[str, pd.Series]


def with_science(alerts: DataFrame, modules: Sequence[Module], survey: Survey) -> DataFrame:
    """Add the columns of the science modules.

    Parameters
    ----------
    alerts : DataFrame
        Sound alerts.
    modules : sequence of Module
        Modules to run, each on the columns that its arguments name.
    survey : Survey
        Says what those names mean.

    Returns
    -------
    DataFrame
        With the outputs of the modules, `brokerStartProcessTimestamp` and `brokerEndProcessTimestamp` (the worker's clock before and after
        the modules), and `science_errors` (array of strings, null without errors): which modules raised, and what.
    """
    if not modules:
        now = batch_time()
        errors = F.lit(None).cast("array<string>")
        return alerts.withColumns({"brokerStartProcessTimestamp": now, "brokerEndProcessTimestamp": now, "science_errors": errors})
    names = list(dict.fromkeys(name for module in modules for name in module.arguments))
    types = {name: kind for module in modules for name, kind in module.outputs.items()}
    kind = ", ".join(f"`{name}` {kind}" for name, kind in types.items())
    kind += ", brokerStartProcessTimestamp timestamp, brokerEndProcessTimestamp timestamp, science_errors array<string>"

    schema = cast("StructType", StructType.fromDDL(kind))
    arrow = {name: to_arrow_type(schema[name].dataType) for name in types}

    def one_pass(*columns: pd.Series) -> pd.DataFrame:
        return run(modules, dict(zip(names, columns, strict=True)), arrow)

    # PySpark reads the kind of a pandas UDF from its annotations, which `from __future__` turns into text.
    one_pass.__annotations__ = {"columns": pd.Series, "return": pd.DataFrame}
    science = pandas_udf(one_pass, schema)(*[named(name, survey, alerts.schema) for name in names])  # type: ignore[call-overload]
    return alerts.withColumn("_science", science).select(*alerts.columns, *[F.col("_science")[name].alias(name) for name in schema.names])


def run(modules: Sequence[Module], columns: Columns, types: Mapping[str, pa.DataType]) -> pd.DataFrame:
    """Run the modules on one Arrow batch.

    Parameters
    ----------
    modules : sequence of Module
        Modules.
    columns : dict of Series
        What their arguments name, all of one length.
    types : mapping
        Type of each output.

    Returns
    -------
    DataFrame
        Outputs, times and errors, a row an alert.
    """
    started = pd.Timestamp(time.time(), unit="s")
    index = next(iter(columns.values())).index
    errors: list[list[str] | None] = [None] * len(index)
    results: dict[str, Any] = {}
    for module in modules:
        function = module.reference.load()
        arguments = [columns[name] for name in module.arguments]
        try:
            # Copies: a module that changes what it is given does not change it for the next one.
            values = _table(function(*[argument.copy() for argument in arguments]), module, index, types)
        # Whatever somebody's module raises costs its own values: try row by row, so that one alert does not cost a batch.
        except Exception:  # noqa: BLE001
            values, faults = _by_row(function, arguments, module, index, types)
            for row, fault in faults.items():
                errors[row] = [*(errors[row] or []), f"{module.name}: {fault}"]
        results |= {name: values[name] for name in module.outputs}
    times = {"brokerStartProcessTimestamp": started, "brokerEndProcessTimestamp": pd.Timestamp(time.time(), unit="s")}
    return pd.DataFrame(results | times | {"science_errors": pd.Series(errors, index=index, dtype=object)}, index=index)


def _table(result: Any, module: Module, index: pd.Index, types: Mapping[str, pa.DataType]) -> pd.DataFrame:
    """What a module returned as a table of its outputs, a row an alert."""
    if isinstance(result, pd.DataFrame):
        table = result[list(module.outputs)]
    else:
        [name] = module.outputs
        table = pd.DataFrame({name: pd.Series(result)})
    if len(table) != len(index):
        raise ValueError(f"returned {len(table)} values for {len(index)} alerts")
    for name in module.outputs:
        _arrow(table[name], types[name])
    return table.set_axis(index)


def _arrow(values: pd.Series, kind: pa.DataType) -> pa.Array[Any]:
    """The values as Spark will take them: what does not fit is to be found here, not where it would end the query."""
    return cast("pa.Array[Any]", pa.Array.from_pandas(values, type=kind, safe=False))


def _by_row(
    function: Callable[..., Any], arguments: Sequence[pd.Series], module: Module, index: pd.Index, types: Mapping[str, pa.DataType]
) -> tuple[pd.DataFrame, dict[int, str]]:
    rows: list[dict[str, Any]] = []
    faults: dict[int, str] = {}
    for position in range(len(index)):
        try:
            one = [argument.iloc[position : position + 1].copy() for argument in arguments]
            table = _table(function(*one), module, index[position : position + 1], types)
            rows.append({name: _arrow(table[name], types[name]).to_pylist()[0] for name in module.outputs})
        except Exception as error:  # noqa: BLE001 - kept with the alert, see `run`
            faults[position] = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            rows.append(dict.fromkeys(module.outputs))
    return pd.DataFrame(rows, index=index, columns=list(module.outputs), dtype=object), faults
