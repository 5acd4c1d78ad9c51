"""Science alerts to what is counted of them: a narrow row an alert."""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fink_broker.filters import Filter
from fink_broker.surveys import Survey
from fink_broker.transforms.filters import with_topics
from fink_broker.transforms.science import with_defaults
from fink_broker.transforms.workers import Workers

HOUR = "hour"


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
    hour = f"date_format(timestamp_micros(cast(round(({survey.time} - 2440587.5D) * 86400e6D) as bigint)), 'yyyy-MM-dd HH')"
    by = {**statistics.by, HOUR: hour}
    return named.select(
        "night",
        F.struct(*[F.coalesce(F.expr(sql), F.lit(False)).alias(name) for name, sql in statistics.counts.items()]).alias("counts"),
        F.struct(*[F.expr(sql).cast("string").alias(name) for name, sql in statistics.distinct.items()]).alias("distinct"),
        F.struct(*[F.expr(sql).cast("string").alias(name) for name, sql in by.items()]).alias("by"),
        "topics",
    )
