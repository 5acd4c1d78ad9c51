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
        Column of the id; a dotted name reaches into a struct.
    horizon : str
        Interval, such as ``2 days``: how long an id is remembered. Its clock is the broker's, not the alert's: with the alert's time
        as watermark, a Kafka partition that lags would lose its alerts in silence.
    """
    known = alerts.withColumn("_id", F.col(alert_id))
    if not alerts.isStreaming:
        return known.dropDuplicates(["_id"]).drop("_id")
    clocked = known.withColumn("_seen", batch_time()).withWatermark("_seen", horizon)
    return clocked.dropDuplicatesWithinWatermark(["_id"]).drop("_id", "_seen")
