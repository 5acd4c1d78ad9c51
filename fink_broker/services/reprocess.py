"""A past night's science anew: the same alerts, with the science modules that are configured now, in place of what the archive has.

The night is merged first, so that the archive has all of it; the note of the new version goes on naming the files whose alerts it has, so
that no merge puts the old values back. Alerts that come later are added by the next merge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from fink_broker.config import Settings
from fink_broker.connectors import archive, parquet
from fink_broker.errors import UsageError
from fink_broker.science.module import Module
from fink_broker.science.registry import active
from fink_broker.services import generation
from fink_broker.services.merge import merge, read, with_tracklets
from fink_broker.services.raw2science import finished, science_version, workers
from fink_broker.surveys import Survey
from fink_broker.transforms.archived import PIXEL, archived
from fink_broker.transforms.rows import PROCESSED

_BEFORE = "_processed_before"


@dataclass(frozen=True)
class Reprocessed:
    """How many alerts were processed anew, by which modules, in which version; for how many a module raised, and what one of them said."""

    alerts: int
    modules: Sequence[str]
    version: str
    errors: int
    error: str | None


def reprocess(spark: SparkSession, settings: Settings, survey: Survey, night: str, names: Sequence[str] | None = None) -> Reprocessed:
    """Process one night's science alerts anew.

    Parameters
    ----------
    spark : SparkSession
        Session.
    settings : Settings
        Folders and science modules.
    survey : Survey
        Ids, times and columns.
    night : str
        ``YYYYMMDD``.
    names : sequence of str, optional
        Only these modules; what the others have said is kept. All that are configured without, and what others have left is dropped.

    Raises
    ------
    UsageError
        A module is not configured, or there are no science alerts of the night.
    SumsDoNotMeet
        The archive does not have what was merged into it, or what was written is not what was read; it is left as it was.
    """
    modules = _chosen(active(settings, survey), names)
    if not merge(spark, settings, survey, night)["science"]:
        raise UsageError(f"there are no science alerts of {night}")
    folder, present = archive.folder(settings, "science", night), archive.night(settings, "science", night)
    alerts = with_tracklets(archived(read(spark, present.files), survey), survey)
    alerts = alerts.withColumn(_BEFORE, F.col(PROCESSED))
    if names is None:
        alerts = alerts.select(*_of_telescope(alerts, settings))
    version, seen = science_version(modules), Observation()

    def change(placed: DataFrame) -> DataFrame:
        made = finished(placed, survey, modules, version, workers=workers(settings))
        # HBase keeps the values of the later time, in whole milliseconds.
        later = F.greatest(PROCESSED, F.col(_BEFORE) + F.expr("interval 1 millisecond"))
        errors = F.sum(F.when(F.size("science_errors") > 0, 1)).alias("errors"), F.max(F.col("science_errors")[0]).alias("error")
        return archived(made.observe(seen, *errors), survey).withColumn(PROCESSED, later).drop(_BEFORE)

    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    count = generation.write(alerts, present.files, settings, survey, folder, names=present.note.files, reprocessed=now, change=change)
    found = seen.get
    return Reprocessed(count, [module.name for module in modules], version, found["errors"] or 0, found["error"])


def _chosen(modules: Sequence[Module], names: Sequence[str] | None) -> list[Module]:
    known = [module.name for module in modules]
    for name in names or ():
        if name not in known:
            raise UsageError(f"'{name}' is not a science module that is configured; those are: {', '.join(known) or 'none'}")
    return [module for module in modules if names is None or module.name in names]


def _of_telescope(alerts: DataFrame, settings: Settings) -> list[str]:
    """What the alerts came with, and what the archive adds: what no module has made."""
    raw = parquet.columns(settings.raw)
    if raw is None:
        raise UsageError(f"{settings.raw} does not say which columns alerts came with: name the modules (--modules)")
    return [name for name in alerts.columns if name in raw.names or name in ("timestamp", PIXEL, "tracklet", _BEFORE)]
