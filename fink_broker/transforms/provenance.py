"""Columns that say what the broker did to an alert, under the names that Fink's readers know."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from fink_broker import __version__
from fink_broker.surveys import Survey

PUBLISHER = "Fink"


def batch_time() -> Column:
    """When the batch was planned: one time for all its alerts."""
    # A time is a number in the generated code, which Spark and Java would then compile anew for every batch, seconds each; a text is no
    # part of the code. That this one is always the same is hidden from the optimizer, which would make a number of it.
    nothing = F.when(F.spark_partition_id() >= 0, F.lit("")).otherwise(F.lit("?"))
    return F.concat(_now("cast(current_timestamp() as string)"), nothing).cast("timestamp")


def _now(text: str) -> Column:
    """A text that the optimizer works out of the present time, anew for every batch.

    In a stream the present time is put in only after the optimizer has gone, unless it is in a subquery.
    """
    return F.expr(f"(select {text})")


def with_ingest_time(messages: DataFrame, survey: Survey) -> DataFrame:
    """Add the survey's `ingest_time`: when the batch began that took the message in."""
    name, expression = survey.ingest_time
    return messages.withColumn("batch_time", batch_time()).withColumn(name, F.expr(expression)).drop("batch_time")


def with_versions(alerts: DataFrame, science_version: str) -> DataFrame:
    """Add `fink_broker_version`, `fink_science_version`, and make Fink the `publisher`."""
    return alerts.withColumns(
        {
            "fink_broker_version": F.lit(__version__),
            "fink_science_version": F.lit(science_version),
            "publisher": F.lit(PUBLISHER),
        }
    )


def with_night(alerts: DataFrame, night: str, forced: str | None) -> DataFrame:
    """Add `night` (``YYYYMMDD``): the alert's own by the survey's expression, or the forced one.

    A rejected alert (`reason` is set) has no night of its own: it lies in that of its arrival, UTC. The expression is evaluated for sound
    alerts only, whose time has been checked: a time of 1e300 would make a folder.
    """
    own = F.lit(forced) if forced else F.expr(night)
    arrival = F.lit(forced) if forced else _now("date_format(current_timestamp(), 'yyyyMMdd')")
    return alerts.withColumn("night", F.when(F.col("reason").isNull(), own).otherwise(arrival))
