"""Alerts as the Parquet archive has them: its columns, and its order."""

from __future__ import annotations

from collections.abc import Callable

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from fink_broker.connectors.parquet import STAMP
from fink_broker.surveys import Survey, healpix

PIXEL = "pixel128"
"""HEALPix pixel of an alert, nested scheme, nside 128."""

_NSIDE = 128
_PLACE = "_place"

# Columns that stay inside the broker.
_INTERNAL = (
    "status",
    "night",
    "reason",
    "value",
    "topic",
    "partition",
    "offset",
    "kafkaTimestamp",
    "record",
    "science_errors",
    "science_cost",
    STAMP,
)


def archived(alerts: DataFrame, survey: Survey) -> DataFrame:
    """The alerts without what stays inside the broker, with `timestamp` (UTC, of the exposure) and `PIXEL`."""
    # JD 2440587.5 is 1970-01-01; the difference is exact, and a double holds whole microseconds until the year 2255.
    micros = F.round((F.expr(survey.time) - F.lit(2440587.5)) * F.lit(86_400e6)).cast("long")
    pixel = F.expr(healpix.nested(_NSIDE, *survey.position))
    return alerts.withColumns({"timestamp": F.timestamp_micros(micros), PIXEL: pixel}).drop(*_INTERNAL)


def in_order(alerts: DataFrame, survey: Survey, parts: int, change: Callable[[DataFrame], DataFrame] = lambda alerts: alerts) -> DataFrame:
    """Archived alerts sorted by pixel, object and time, in parts of about as many alerts each, that follow each other.

    Parameters
    ----------
    alerts : DataFrame
        Alerts of a night, of any number: Spark's sort goes to disk where memory ends.
    survey : Survey
        Object and time.
    parts : int
        How many.
    change : callable
        What is done to each alert on the way, where it is read; it leaves alone by what they are sorted, and columns that it does not know.
    """
    # Not `repartitionByRange`: to find the borders it would read whole alerts, and all of them, a second time.
    places = _places(alerts, parts)
    order = [F.col(PIXEL), F.expr(survey.object_id), F.expr(survey.time)]
    placed = change(alerts.join(F.broadcast(places), PIXEL, "left"))
    return placed.repartition(parts, _PLACE).sortWithinPartitions(*order).drop(_PLACE)


def _places(alerts: DataFrame, parts: int) -> DataFrame:
    """By pixel, a number that Spark's `repartition` takes to the part that the pixel belongs to."""
    pixels = alerts.groupBy(PIXEL).count()
    until, total = (F.sum("count").over(window) for window in (Window.orderBy(PIXEL), Window.partitionBy(F.lit(0))))
    part = F.floor((until - F.col("count") / 2) * parts / total)
    # The first number of each remainder; that one has none among so many is as likely as e^-64.
    numbers = (
        alerts.sparkSession.range(64 * parts).groupBy(F.pmod(F.hash("id"), F.lit(parts)).alias("_part")).agg(F.min("id").alias(_PLACE))
    )
    return pixels.select(PIXEL, part.alias("_part")).join(numbers, "_part").drop("_part")
