"""Science alerts to what is counted of them: a narrow row an alert."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from fink_broker.errors import ConfigError
from fink_broker.filters import Filter
from fink_broker.surveys import Survey
from fink_broker.transforms.columns import expression
from fink_broker.transforms.filters import with_topics
from fink_broker.transforms.science import with_defaults
from fink_broker.transforms.workers import Workers

HOUR = "hour"

# What modules of fink-science say where a catalogue has nothing there, or did not answer.
_COUNTERPART = "coalesce(cast({0} as string) not in ('', 'nan', 'None', 'Unknown') and not cast({0} as string) like 'Fail%', false)"


def counted(alerts: DataFrame, survey: Survey, filters: Sequence[Filter] = (), workers: Workers | None = None) -> DataFrame:
    """What the survey's `statistics` counts.

    Parameters
    ----------
    alerts : DataFrame
        Science alerts, with `night`.
    survey : Survey
        Its statistics, which there must be.
    filters : sequence of Filter
        Filters by which alerts are counted.
    workers : Workers, optional
        Where filters run.

    Returns
    -------
    DataFrame
        `night`; under the names that the statistics give, `counts` (a record of booleans), `distinct` and `by` (records of strings; in `by`
        also the `hour` of the exposure, UTC); `topics` (array of strings) of the filters that select the alert.
    """
    statistics = survey.statistics
    assert statistics is not None
    named = with_topics(with_defaults(alerts, survey), filters, survey, workers)
    counts = dict(statistics.counts)
    for name, columns in statistics.found.items():
        there = [made for column in columns if (made := _made(column, survey, named.schema))]
        if there:
            counts[name] = " or ".join(map(_COUNTERPART.format, there))
    hour = f"date_format(timestamp_micros(cast(round(({survey.time} - 2440587.5D) * 86400e6D) as bigint)), 'yyyy-MM-dd HH')"
    by = {**statistics.by, HOUR: hour}
    return named.select(
        "night",
        F.struct(*[F.coalesce(F.expr(sql), F.lit(False)).alias(name) for name, sql in counts.items()]).alias("counts"),
        F.struct(*[F.expr(sql).cast("string").alias(name) for name, sql in statistics.distinct.items()]).alias("distinct"),
        F.struct(*[F.expr(sql).cast("string").alias(name) for name, sql in by.items()]).alias("by"),
        "topics",
    )


def _made(name: str, survey: Survey, schema: StructType) -> str | None:
    """What a module has made under a name, as SQL; None where it is off."""
    try:
        return expression(name, replace(survey, aliases={}), schema)
    except ConfigError:
        return None
