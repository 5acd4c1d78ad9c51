"""The nightly merge: a night's many small files into few large ones, in the Parquet archive.

``HOME/data/archive/{raw,science}/year=2026/month=06/day=04`` replaces what an earlier merge of the night has left, so that alerts
that came late are in it too, and a merge can be run as often as one likes.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from fink_broker.config import Settings
from fink_broker.connectors.parquet import STAMP, File, committed
from fink_broker.errors import SumsDoNotMeet, UsageError
from fink_broker.science import tracklets
from fink_broker.surveys import Survey

KINDS = ("raw", "science")

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
# What a merge notes in the folder it makes; Spark passes over names that begin with an underscore.
_NOTE = "_merge.json"

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
    _check(night)
    return {kind: _merge(spark, settings, survey, kind, night) for kind in KINDS}


def pending(settings: Settings, before: str | None = None) -> list[str]:
    """Nights with files that their archive does not have yet, oldest first.

    Parameters
    ----------
    before : str, optional
        Only nights before this one; default the present one (UTC), which is not over.
    """
    end = before or f"{datetime.now(UTC):%Y%m%d}"
    nights = set()
    for kind in KINDS:
        files: dict[str, int] = {}
        for file in _files(settings, kind):
            night = file.partition["night"]
            files[night] = files.get(night, 0) + 1
        nights |= {night for night, count in files.items() if night < end and count > _note(_folder(settings, kind, night))["files"]}
    return sorted(nights)


def archived_files(settings: Settings, kind: str) -> list[Path]:
    """The Parquet files of the archive, oldest night first."""
    return sorted((settings.archive_folder / kind).glob("year=*/month=*/day=*/*.parquet"))


def _merge(spark: SparkSession, settings: Settings, survey: Survey, kind: str, night: str) -> int:
    target = _folder(settings, kind, night)
    new, old = target.with_name(f".{target.name}.new"), target.with_name(f".{target.name}.old")
    if old.exists() and not target.exists():
        old.rename(target)  # an earlier merge ended between the two renames below
    files = [file for file in _files(settings, kind) if file.partition["night"] == night]
    if not files:
        return 0
    alerts = sum(file.rows for file in files)
    there = _note(target)["rows"]
    if there > alerts:
        raise SumsDoNotMeet(f"{target} holds {there} alerts, {_source(settings, kind)} only {alerts}: left as it is; move it away to merge")
    shutil.rmtree(new, ignore_errors=True)
    size = sum(file.path.stat().st_size for file in files)
    count = max(1, math.ceil(size / (settings.archive.file_mb * 1_000_000)))
    merged = _archived(spark.read.option("mergeSchema", "true").parquet(*[str(file.path) for file in files]), survey, kind)
    merged.coalesce(count).write.option("maxRecordsPerFile", math.ceil(max(alerts, 1) / count)).parquet(str(new))
    written = _rows(new.glob("*.parquet"))
    if written != alerts:
        shutil.rmtree(new)
        raise SumsDoNotMeet(f"of {alerts} {kind} alerts of {night} the merge wrote {written}: {target} is left as it was")
    (new / _NOTE).write_text(json.dumps({"files": len(files), "rows": alerts}), encoding="utf-8")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    log.info("merged %d %s alerts of %s: %d files into %d", alerts, kind, night, len(files), count)
    return alerts


def _archived(alerts: DataFrame, survey: Survey, kind: str) -> DataFrame:
    """The columns of the archive: those of the alerts, `timestamp` (UTC, of the exposure) and in science `tracklet` where Fink has it."""
    # JD 2440587.5 is 1970-01-01; the difference is exact, and a double holds whole microseconds until the year 2255.
    micros = F.round((F.expr(survey.time) - F.lit(2440587.5)) * F.lit(86_400e6)).cast("long")
    alerts = alerts.withColumn("timestamp", F.timestamp_micros(micros))
    if kind == "science" and "tracklet" in survey.fink_columns:
        alerts = _with_tracklets(alerts, survey)
    return alerts.drop(*_INTERNAL)


def _with_tracklets(alerts: DataFrame, survey: Survey) -> DataFrame:
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


def _source(settings: Settings, kind: str) -> Path:
    return settings.raw if kind == "raw" else settings.science


def _files(settings: Settings, kind: str) -> Sequence[File]:
    """Committed files of sound alerts."""
    return [file for file in committed(_source(settings, kind)) if file.partition.get("status", "ok") == "ok"]


def _folder(settings: Settings, kind: str, night: str) -> Path:
    return settings.archive_folder / kind / f"year={night[:4]}" / f"month={night[4:6]}" / f"day={night[6:]}"


def _rows(paths: Iterable[Path]) -> int:
    return sum(int(pq.read_metadata(path).num_rows) for path in paths)


def _note(folder: Path) -> dict[str, int]:
    """What the last merge noted: how many files it merged, and how many alerts."""
    try:
        note: dict[str, int] = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"files": 0, "rows": 0}
    return note


def _check(night: str) -> None:
    try:
        parsed = datetime.strptime(night, "%Y%m%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise UsageError(f"'{night}' is not a night: give YYYYMMDD, such as 20260322") from error
    if f"{parsed:%Y%m%d}" != night:
        raise UsageError(f"'{night}' is not a night: give YYYYMMDD, such as 20260322")
