"""What a transfer sends of past alerts: each once, those that were asked for, as much of them as was asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

from pyspark.accumulators import Accumulator
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, StructType, TimestampType

from fink_broker.errors import UsageError
from fink_broker.filters import Filter
from fink_broker.surveys import Survey
from fink_broker.transforms.columns import named
from fink_broker.transforms.crossmatch import MATCH
from fink_broker.transforms.filters import with_topics
from fink_broker.transforms.rights import Audience
from fink_broker.transforms.workers import Workers
from fink_broker.worker.tally import Tally

PLACE = "_place"
"""Column that tells copies of one alert apart: where a row lies, of any type that has an order."""

Packet = Literal["full", "light", "lightcurve", "cutouts"]
PACKETS: tuple[Packet, ...] = get_args(Packet)
OBJECT = "objectId"
"""What chosen columns call the name of an object, whatever the survey does."""


def once(alerts: DataFrame, alert_id: str) -> DataFrame:
    """One row an alert, whichever copy lies first.

    Parameters
    ----------
    alerts : DataFrame
        Alerts with `PLACE`, which comes off.
    alert_id : str
        Column that identifies an alert.
    """
    ids = alerts.select(F.col(alert_id).alias("_id"), PLACE)
    # Alerts are large and copies few: only ids go through a shuffle.
    copies = ids.groupBy("_id").agg(F.count("*").alias("_copies"), F.min(PLACE).alias("_first")).where("_copies > 1").drop("_copies")
    joined = alerts.join(F.broadcast(copies), F.col(alert_id) == F.col("_id"), "left")
    return joined.where(F.col("_first").isNull() | (F.col("_first") == F.col(PLACE))).drop("_id", "_first", PLACE)


def visible(alerts: DataFrame, survey: Survey, audience: Audience) -> DataFrame:
    """The alerts that an audience may see, and of their histories the entries; before anybody's condition gets to see them."""
    if not audience.rule:
        return alerts
    histories = {name: audience.history(name, alerts, survey) for name in survey.histories if name in alerts.columns}
    return alerts.where(audience.sees(alerts)).withColumns(histories)


def selected(
    alerts: DataFrame,
    filters: Sequence[Filter],
    conditions: Sequence[Filter],
    survey: Survey,
    *,
    workers: Workers | None = None,
    tally: Accumulator[Tally] | None = None,
) -> DataFrame:
    """The alerts that at least one of the filters takes (every alert without filters), and that meet all conditions.

    Parameters
    ----------
    alerts : DataFrame
        Alerts.
    filters, conditions : sequence of Filter
        Each of another name.
    survey, workers, tally
        See `with_topics`.

    Raises
    ------
    ConfigError
        One of them is no condition on an alert.
    """
    if not filters and not conditions:
        return alerts
    answered = with_topics(alerts, [*filters, *conditions], survey, workers, tally)
    if filters:
        answered = answered.where(F.arrays_overlap("topics", F.array(*[F.lit(one.topic(survey)) for one in filters])))
    for one in conditions:
        answered = answered.where(F.array_contains("topics", one.topic(survey)))
    return answered.drop("topics")


def packets(alerts: DataFrame, survey: Survey, packet: Packet) -> DataFrame:
    """Whole alerts (`full`), without cutouts (`lightcurve`), without histories (`cutouts`), or without both (`light`).

    Histories are the alert's arrays of records. With the columns of a match, where there is one, at the end.
    """
    histories = [field.name for field in alerts.schema if isinstance(field.dataType, ArrayType) and _is_record(field.dataType.elementType)]
    left_out = {"full": (), "light": (*survey.cutouts, *histories), "lightcurve": survey.cutouts, "cutouts": histories}[packet]
    leaf = _leaf(survey.alert_id)
    kept = [F.col(name) for name in alerts.columns if name not in (*left_out, MATCH, leaf)]
    return _with_match([F.col(survey.alert_id).alias(leaf), *kept], alerts)


def columns(alerts: DataFrame, survey: Survey, names: Sequence[str]) -> DataFrame:
    """Some columns of alerts, after what identifies object and alert.

    Parameters
    ----------
    alerts : DataFrame
        Alerts.
    survey : Survey
        Says what names mean.
    names : sequence of str
        As plug-ins name columns (``magpsf``, ``cmagpsf``), or dotted (``candidate.magpsf``, which is called ``magpsf`` then).

    Raises
    ------
    ConfigError, UsageError
        There is no such column, or two are called the same.
    """
    ids = {OBJECT: F.expr(survey.object_id), _leaf(survey.alert_id): F.col(survey.alert_id)}
    found: dict[str, Column] = {}
    for name in names:
        if _leaf(name) in found:
            raise UsageError(f"two of the columns are called '{_leaf(name)}'")
        found[_leaf(name)] = _dotted(alerts, name) if "." in name else named(name, survey, alerts.schema)
    every = {**ids, **{name: column for name, column in found.items() if name not in ids}}
    return _with_match([column.alias(name) for name, column in every.items()], alerts)


def sendable(rows: DataFrame) -> DataFrame:
    """Rows as messages have them: times are strings."""
    times = {field.name: F.col(field.name).cast("string") for field in rows.schema if isinstance(field.dataType, TimestampType)}
    return rows.withColumns(times) if times else rows


def flat(survey: Survey) -> Survey:
    """The survey as messages of any content need it: what identifies an alert is at the top level, and is all that there surely is."""
    leaf = _leaf(survey.alert_id)
    return replace(survey, alert_id=leaf, object_id=leaf)


def _with_match(chosen: list[Column], alerts: DataFrame) -> DataFrame:
    """The chosen columns, and those of the match by names that none of the chosen has, and that Avro takes."""
    rows = alerts.select(*chosen, *([MATCH] if MATCH in alerts.columns else []))
    if MATCH not in alerts.columns:
        return rows
    taken = set(rows.columns)
    record = rows.schema[MATCH].dataType
    assert isinstance(record, StructType)
    for name in record.names:
        # Avro specification, "Names".
        plain = re.sub(r"^(?=\d)|\W", "_", name, flags=re.ASCII)
        while plain in taken:
            plain = f"table_{plain}"
        taken.add(plain)
        rows = rows.withColumn(plain, F.col(MATCH)[name])
    return rows.drop(MATCH)


def _is_record(kind: object) -> bool:
    return isinstance(kind, StructType)


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _dotted(alerts: DataFrame, name: str) -> Column:
    try:
        alerts.select(F.col(name))
    except AnalysisException as error:
        raise UsageError(f"there is no column '{name}' in the alerts") from error
    return F.col(name)
