"""Rows of the HBase tables out of science alerts."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, StructType

from fink_broker.surveys import FinkColumn, Survey, Table

ROW_KEY = "rowkey"
# The version of a cell: the same when a batch is replayed, later when an alert is processed anew.
PROCESSED = "brokerEndProcessTimestamp"

# Spark's names of the types that HBase's Bytes knows, as the schema row of a table gives them; all others are text.
_KINDS = {"integer", "long", "float", "double", "string", "boolean"}


def rows(alerts: DataFrame, table: Table, survey: Survey) -> DataFrame:
    """The rows of one table.

    Parameters
    ----------
    alerts : DataFrame
        Science alerts.
    table : Table
        Key, columns and condition.
    survey : Survey
        Its Fink columns all exist in the result, with their defaults where their modules are off.

    Returns
    -------
    DataFrame
        `rowkey` and a typed column ``family:name`` for each cell; null is no cell.
    """
    prepared = _with_fink(alerts, survey)
    if table.where is not None:
        prepared = prepared.where(table.where)
    return prepared.select(_key(table).alias(ROW_KEY), *_columns(table, prepared))


def kinds(table_rows: DataFrame) -> dict[str, str]:
    """Type of each column, as the schema row names it: integer, long, float, double, string or boolean."""
    return {field.name: _kind(field.dataType) for field in table_rows.schema if field.name != ROW_KEY}


def puts(alerts: DataFrame, survey: Survey) -> DataFrame:
    """The rows of all tables at once: the alerts are read, and go to Python, only once.

    Returns
    -------
    DataFrame
        A row an alert: `object`, `time` (Julian date), `timestamp` (ms, the version of the cells), `versions` (of broker and science,
        joined by ``_``) and for each table of the survey, in their order, a struct `table0`, `table1` ... of `rowkey` and the columns,
        null where the alert is not in it; what HBase keeps as text is text here.
    """
    prepared = _with_fink(alerts, survey)
    return prepared.select(
        F.expr(survey.object_id).cast("string").alias("object"),
        F.expr(survey.time).alias("time"),
        F.unix_millis(PROCESSED).alias("timestamp"),
        F.concat_ws("_", "fink_broker_version", "fink_science_version").alias("versions"),
        *[_struct(table, prepared).alias(f"table{number}") for number, table in enumerate(survey.tables)],
    )


def _struct(table: Table, alerts: DataFrame) -> Column:
    columns = _columns(table, alerts)
    types = alerts.select(*columns).schema
    cells = [
        column.cast("string").alias(field.name) if _kind(field.dataType) in ("string", "boolean") else column
        for column, field in zip(columns, types, strict=True)
    ]
    row = F.struct(_key(table).alias(ROW_KEY), *cells)
    return row if table.where is None else F.when(F.expr(table.where), row)


def _key(table: Table) -> Column:
    # Spark writes a double as Java does: the shortest text that is this number, without an exponent below 10^7.
    return F.concat_ws("_", *[F.expr(part).cast("string") for part in table.key])


def _columns(table: Table, alerts: DataFrame) -> list[Column]:
    expressions: dict[str, str] = {}
    for column, expression in table.columns.items():
        family, _, name = column.partition(":")
        if name != "*":
            expressions.setdefault(column, expression)
            continue
        struct = expression.removesuffix(".*")
        for field in alerts.select(expression).columns:
            expressions.setdefault(f"{family}:{field}", f"{struct}.`{field}`")
    return [F.expr(expression).alias(column) for column, expression in expressions.items()]


def _kind(data_type: DataType) -> str:
    name = data_type.typeName()
    return name if name in _KINDS else "string"


def _with_fink(alerts: DataFrame, survey: Survey) -> DataFrame:
    values = [_value(name, column, alerts).cast(column.type).alias(name) for name, column in survey.fink_columns.items()]
    return alerts.withColumn("fink", F.struct(*values))


def _value(name: str, column: FinkColumn, alerts: DataFrame) -> Column:
    source = column.source or f"`{name}`"
    top = source.partition(".")[0].strip("`")
    if top not in alerts.columns:
        return F.lit(column.default)
    if column.type == "string" and isinstance(alerts.schema[top].dataType, StructType) and not column.source:
        return F.array(f"{source}.*")
    return F.expr(source)
