"""Rows of the HBase tables out of science alerts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, StructType

from fink_broker.surveys import FinkColumn, Survey, Table, healpix
from fink_broker.surveys.table import ENTRY

ROW_KEY = "rowkey"
# The version of a cell: the same when a batch is replayed, later when an alert is processed anew.
PROCESSED = "brokerEndProcessTimestamp"

_NSIDE = 128

# Spark's names of the types that HBase's Bytes knows, as the schema row of a table gives them; all others are text.
_KINDS = {"integer", "long", "float", "double", "string", "boolean"}

# In tables of last alerts the version is the time of the exposure, to 30 s (no telescope sees an object twice in less), and some of those
# ms, the more the later it was processed: what is processed anew replaces what was, and a later alert replaces both.
_LAST = (
    "bigint(floor(({time} - 2440587.5D) * 2880)) * 30000"
    f" + bigint(least(29999D, 1700 * ln(1 + greatest(0D, unix_millis({PROCESSED}) / 1000 - ({{time}} - 2440587.5D) * 86400))))"
)


@dataclass(frozen=True)
class Layout:
    """Where a table's rows are among the columns of `puts`.

    Parameters
    ----------
    table : str
        Its name.
    key : str
        Column of the row keys, null where the alert is not in the table; with `each` an array of whole rows.
    version : str
        Column of the versions of its cells.
    cells : tuple
        ``family:name`` and the column, or field of each row, that has its values.
    kinds : dict
        Type of each ``family:name``, as the schema row names it: integer, long, float, double, string or boolean.
    each, last, unique : bool
        As in `Table`.
    """

    table: str
    key: str
    version: str
    cells: tuple[tuple[bytes, str], ...]
    kinds: dict[str, str]
    each: bool
    last: bool
    unique: bool


def rows(alerts: DataFrame, table: Table, survey: Survey, archive: str = "") -> DataFrame:
    """The rows of one table.

    Parameters
    ----------
    alerts : DataFrame
        Science alerts.
    table : Table
        Key, columns and condition.
    survey : Survey
        Its Fink columns all exist in the result, with their defaults where their modules are off.
    archive : str
        The science folder of the Parquet archive.

    Returns
    -------
    DataFrame
        `rowkey` and a typed column ``family:name`` for each cell; null is no cell.
    """
    prepared = _of_entries(_prepared(alerts, survey, archive), table)
    if table.where is not None:
        prepared = prepared.where(table.where)
    columns = [F.expr(sql).alias(name) for name, sql in _columns(table, prepared).items()]
    return prepared.select(F.expr(_key(table)).alias(ROW_KEY), *columns)


def filled(survey: Survey, alerts: DataFrame) -> list[Table]:
    """The tables that these alerts have rows in."""
    return [table for table in survey.tables if table.streamed and all(name in alerts.columns for name in table.needs)]


def puts(alerts: DataFrame, survey: Survey, tables: Iterable[Table], archive: str = "") -> tuple[DataFrame, list[Layout]]:
    """The rows of some tables at once: the alerts are read, and go to Python, only once, and so does a value that many tables have.

    Returns
    -------
    DataFrame
        A row an alert: `pixel` (HEALPix, half a degree wide), `id`, `time` (Julian date), `processed` and `last` (ms; versions of cells),
        `versions` (of broker and science, joined by ``_``), and what the layouts name; what HBase keeps as text is text here.
    list of Layout
        One a table.
    """
    prepared = _prepared(alerts, survey, archive)
    chosen = list(tables)
    plain = {table.name: _columns(table, prepared) for table in chosen if table.each is None}
    values = {
        sql: f"value{number}" for number, sql in enumerate(dict.fromkeys(sql for columns in plain.values() for sql in columns.values()))
    }
    types = _kinds_of(prepared, {name: sql for sql, name in values.items()})
    columns = {name: F.expr(_text(sql, types[name])) for sql, name in values.items()}
    layouts = []
    for number, table in enumerate(chosen):
        key, version = f"key{number}", "last" if table.last else "processed"
        if table.each is None:
            cells = {name: values[sql] for name, sql in plain[table.name].items()}
            kinds = {name: types[value] for name, value in cells.items()}
            columns[key] = F.expr(_key(table) if table.where is None else f"case when {table.where} then {_key(table)} end")
        else:
            exploded = _of_entries(prepared, table)
            fields = _columns(table, exploded)
            cells, kinds = {name: name for name in fields}, _kinds_of(exploded, fields)
            columns[key] = F.expr(_entries(table, {name: _text(sql, kinds[name]) for name, sql in fields.items()}))
        named = tuple((name.encode(), value) for name, value in cells.items())
        layouts.append(Layout(table.name, key, version, named, kinds, table.each is not None, table.last, table.unique))
    put = prepared.select(
        F.expr(healpix.ring(_NSIDE, *survey.position)).alias("pixel"),
        F.expr(survey.alert_id).alias("id"),
        F.expr(survey.time).alias("time"),
        F.unix_millis(PROCESSED).alias("processed"),
        F.expr(_LAST.format(time=survey.time)).alias("last"),
        F.concat_ws("_", "fink_broker_version", "fink_science_version").alias("versions"),
        *[column.alias(name) for name, column in columns.items()],
    )
    return put, layouts


def _entries(table: Table, fields: dict[str, str]) -> str:
    """The rows that one alert has in a table of the entries of an array."""
    chosen = table.each if table.where is None else f"filter({table.each}, {ENTRY} -> {table.where})"
    named = ", ".join(f"'{name}', {sql}" for name, sql in fields.items())
    return f"transform({chosen}, {ENTRY} -> named_struct('{ROW_KEY}', {_key(table)}, {named}))"


def _of_entries(alerts: DataFrame, table: Table) -> DataFrame:
    return alerts if table.each is None else alerts.select("*", F.explode(F.expr(table.each)).alias(ENTRY))


def _kinds_of(alerts: DataFrame, expressions: dict[str, str]) -> dict[str, str]:
    schema = alerts.select(*[F.expr(sql).alias(name) for name, sql in expressions.items()]).schema
    return {field.name: _kind(field.dataType) for field in schema}


def _text(sql: str, kind: str) -> str:
    """With a cast where HBase has text."""
    return f"cast({sql} as string)" if kind in ("string", "boolean") else sql


def _key(table: Table) -> str:
    # Spark writes a double as Java does: the shortest text that is this number, without an exponent below 10^7.
    return f"concat_ws('_', {', '.join(f'cast({part} as string)' for part in table.key)})"


def _columns(table: Table, alerts: DataFrame) -> dict[str, str]:
    """Name of each column and its expression."""
    expressions: dict[str, str] = {}
    for column, expression in table.columns.items():
        family, _, name = column.partition(":")
        if name.strip() != "*":
            if _is_there(alerts.schema, expression):
                expressions.setdefault(column, expression)
            continue
        struct = expression.removesuffix(".*")
        for field in alerts.select(expression).columns:
            # As definitions write it: what is written alike goes to Python once.
            expressions.setdefault(f"{family}:{field}", f"{struct}.{field if field.isidentifier() else f'`{field}`'}")
    return expressions


def _is_there(schema: DataType, path: str) -> bool:
    """Whether a dotted name is among the columns; what is no name but an expression must be."""
    first, _, rest = path.partition(".")
    if not all(part.isidentifier() for part in path.split(".")) or not isinstance(schema, StructType):
        return True
    return first in schema.names and (not rest or _is_there(schema[first].dataType, rest))


def _kind(data_type: DataType) -> str:
    name = data_type.typeName()
    return name if name in _KINDS else "string"


def _prepared(alerts: DataFrame, survey: Survey, archive: str) -> DataFrame:
    """With what the expressions of tables may name beside the alert's own columns."""
    values = [_value(name, column, alerts).cast(column.type).alias(name) for name, column in survey.fink_columns.items()]
    night = F.col("night") if "night" in alerts.columns else F.expr(survey.night)
    parts = [F.substring(night, first, length) for first, length in ((1, 4), (5, 2), (7, 2))]
    folder = F.format_string(f"{archive.replace('%', '%%')}/year=%s/month=%s/day=%s", *parts)
    return alerts.withColumns({"fink": F.struct(*values), "night_folder": folder})


def _value(name: str, column: FinkColumn, alerts: DataFrame) -> Column:
    source = column.source or f"`{name}`"
    top = source.partition(".")[0].strip("`")
    if top not in alerts.columns:
        return F.lit(column.default)
    if column.type == "string" and isinstance(alerts.schema[top].dataType, StructType) and not column.source:
        return F.array(f"{source}.*")
    return F.expr(source)
