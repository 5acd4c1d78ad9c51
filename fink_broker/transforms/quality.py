"""Quality cuts and repeats."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from fink_broker.transforms.provenance import batch_time


def passes(cuts: Mapping[str, str]) -> Column:
    """Whether an alert meets every cut; a cut on a missing value is not met.

    Parameters
    ----------
    cuts : mapping
        Name to SQL condition.
    """
    met = [F.coalesce(F.expr(condition), F.lit(False)) for condition in cuts.values()]
    return reduce(lambda a, b: a & b, met, F.lit(True))


def drop_repeats(alerts: DataFrame, alert_id: str, horizon: str) -> DataFrame:
    """Keep the first alert of each id within the horizon.

    Parameters
    ----------
    alerts : DataFrame
        Streaming or not.
    alert_id : str
        Column of the id.
    horizon : str
        Interval, such as ``2 days``: how long an id is remembered. Its clock is the broker's, not the alert's: with the alert's time
        as watermark, a Kafka partition that lags would lose its alerts in silence.
    """
    if not alerts.isStreaming:
        return alerts.dropDuplicates([alert_id])
    clocked = alerts.withColumn("_seen", batch_time()).withWatermark("_seen", horizon)
    return clocked.dropDuplicatesWithinWatermark([alert_id]).drop("_seen")
