"""The nightly merge: a night's many small files into few large ones, in the Parquet archive.

``HOME/data/archive/{raw,science}/year=2026/month=06/day=04`` replaces what an earlier merge of the night has left, so that alerts
that came late are in it too, and a merge can be run as often as one likes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from fink_broker.config import Settings
from fink_broker.connectors import archive
from fink_broker.connectors.parquet import File, committed
from fink_broker.errors import SumsDoNotMeet, UsageError
from fink_broker.science import tracklets
from fink_broker.services import generation
from fink_broker.surveys import Survey
from fink_broker.transforms.archived import archived

KINDS = ("raw", "science")

log = logging.getLogger(__name__)


def merge(spark: SparkSession, settings: Settings, survey: Survey, night: str) -> dict[str, int]:
    """Merge one night, raw and science alerts; those that were rejected stay where they are.

    Parameters
    ----------
    spark : SparkSession
        Session.
    settings : Settings
        Folders and the size of the archive's files.
    survey : Survey
        Says what time an alert has.
    night : str
        ``YYYYMMDD``.

    Returns
    -------
    dict
        Alerts in the archive by kind, ``raw`` and ``science``. Without alerts of the night nothing is written.

    Raises
    ------
    UsageError
        The night is not a date.
    SumsDoNotMeet
        What was written is not what was read, or the archive holds more than what there is to merge; it is left as it was.
    """
    check(night)
    archive.tidy(settings)
    return {kind: _merge(spark, settings, survey, kind, night) for kind in KINDS}


def pending(settings: Settings, before: str | None = None) -> list[str]:
    """Nights with files that their archive does not have yet, oldest first.

    Parameters
    ----------
    before : str, optional
        Only nights before this one; default the present one (UTC), which is not over.
    """
    end = before or f"{datetime.now(UTC):%Y%m%d}"
    return sorted(
        {
            night
            for kind in KINDS
            for night, files in by_night(settings, kind).items()
            if night < end and not _names(files) <= set(archive.night(settings, kind, night).note.files)
        }
    )


def by_night(settings: Settings, kind: str) -> dict[str, list[File]]:
    """Committed files of sound alerts."""
    nights: dict[str, list[File]] = {}
    for file in _all(settings, kind):
        if file.partition.get("status", "ok") == "ok":
            nights.setdefault(file.partition["night"], []).append(file)
    return nights


def is_merged(settings: Settings, kind: str, night: str, files: Sequence[File]) -> bool:
    """Whether these files are in the archive, and the archive is what their merge has written."""
    present = archive.night(settings, kind, night)
    return _names(files) <= set(present.note.files) and archive.rows(present.files) == present.note.rows


def _merge(spark: SparkSession, settings: Settings, survey: Survey, kind: str, night: str) -> int:
    target = archive.folder(settings, kind, night)
    present, there = archive.night(settings, kind, night), archive.nowhere_else(settings, kind, night)
    note, files = present.note, by_night(settings, kind).get(night, [])
    # Of a night that has left the logs the archive is the only copy, and of one processed anew the newer: what came since is added to it.
    grows = there > 0 or note.reprocessed is not None
    late = [file for file in files if not (grows and file.path.name in note.files)]
    if grows and (held := archive.rows(present.files)) < (wanted := max(there, note.rows)):
        raise SumsDoNotMeet(f"{target} should hold {wanted} alerts that are nowhere else, but has {held}: put it back")
    if not late:
        return note.rows
    sources, before = [file.path for file in late], list(present.files) if grows else []
    alerts = archive.rows([*before, *sources])
    if note.rows > alerts:
        where = settings.raw.parent
        raise SumsDoNotMeet(f"{target} holds {note.rows} alerts, {where} only {alerts}: left as it is; move it away to merge")
    merged = with_tracklets(archived(read(spark, sources), survey), survey, kind)
    if before:
        merged = archived(read(spark, before), survey).unionByName(merged, allowMissingColumns=True)
    names, sources = _names(files), before + sources
    alerts = generation.write(merged, sources, settings, survey, target, names=names, reprocessed=note.reprocessed)
    log.info("merged %d %s alerts of %s from %d files", alerts, kind, night, len(sources))
    return alerts


def with_tracklets(alerts: DataFrame, survey: Survey, kind: str = "science") -> DataFrame:
    """With the tracks that alerts of a night are on, if they are science alerts and Fink has `tracklet`."""
    if kind != "science" or "tracklet" not in survey.fink_columns:
        return alerts
    tracklet = survey.fink_columns["tracklet"]
    alerts, none = alerts.drop("tracklet"), F.lit(tracklet.default).cast(tracklet.type)
    if survey.on_tracks is None:
        return alerts.withColumn("tracklet", none)
    columns = [F.col(survey.alert_id), F.expr(survey.time).alias("time"), *[F.col(f"{survey.current}.{name}") for name in ("ra", "dec")]]
    # What was processed twice is at one place twice, and would span no circle.
    candidates = alerts.where(survey.on_tracks).select(*columns).dropDuplicates(["time", "ra", "dec"]).toPandas()
    candidates["tracklet"] = tracklets.named(*(candidates[name].to_numpy(float) for name in ("time", "ra", "dec")))
    found = candidates.loc[candidates["tracklet"] != "", [survey.alert_id, "tracklet"]]
    if found.empty:
        return alerts.withColumn("tracklet", none)
    names = F.broadcast(alerts.sparkSession.createDataFrame(found))
    joined = alerts.join(names, survey.alert_id, "left").withColumn("tracklet", F.coalesce("tracklet", none))
    return joined.select(*alerts.columns, "tracklet")


def _all(settings: Settings, kind: str) -> list[File]:
    folders = settings.raws if kind == "raw" else (settings.science,)
    return [file for folder in folders for file in committed(folder)]


def read(spark: SparkSession, files: Sequence[Path]) -> DataFrame:
    """Alerts of files that may have been written with different columns: all of them."""
    return spark.read.option("mergeSchema", "true").parquet(*[str(file) for file in files])


def _names(files: Iterable[File]) -> set[str]:
    return {file.path.name for file in files}


def check(night: str) -> None:
    """Whether it is a night.

    Raises
    ------
    UsageError
        It is not.
    """
    try:
        parsed = datetime.strptime(night, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise UsageError(f"'{night}' is not a night: give YYYYMMDD, such as 20260322") from error
    if f"{parsed:%Y%m%d}" != night:
        raise UsageError(f"'{night}' is not a night: give YYYYMMDD, such as 20260322")
