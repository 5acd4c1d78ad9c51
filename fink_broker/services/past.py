"""Science alerts of past nights: what the archive has, and what is not merged yet, each alert once."""

from __future__ import annotations

from functools import reduce
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from fink_broker.config import Settings
from fink_broker.connectors import archive, parquet
from fink_broker.errors import SumsDoNotMeet, UsageError
from fink_broker.services.merge import by_night
from fink_broker.surveys import Survey
from fink_broker.transforms.archived import archived
from fink_broker.transforms.science import with_defaults
from fink_broker.transforms.transfer import PLACE, once

_KIND = "science"


def alerts(spark: SparkSession, settings: Settings, survey: Survey, first: str | None = None, last: str | None = None) -> DataFrame:
    """The science alerts of some nights.

    Parameters
    ----------
    spark : SparkSession
        Session.
    settings : Settings
        Folders.
    survey : Survey
        Ids, times and the columns that there always are.
    first, last : str, optional
        Nights, ``YYYYMMDD``, both included; all that there are without.

    Returns
    -------
    DataFrame
        The columns of the archive. An alert is there once, also if it is in the archive and among the files that were merged into it, or
        came twice.

    Raises
    ------
    UsageError
        There are no alerts of these nights.
    SumsDoNotMeet
        The archive does not have what was merged into it.
    """
    present = by_night(settings, _KIND)
    merged: list[Path] = []
    fresh: list[Path] = []
    for night in nights(settings, first, last):
        old = _archived(settings, night)
        merged += old.files
        known = set(old.note.files) if old.files else set()
        fresh += [file.path for file in present.get(night, []) if file.path.name not in known]
    parts = []
    if merged:
        parts.append(_placed(spark.read.option("mergeSchema", "true").parquet(*map(str, merged))))
    if fresh:
        schema = parquet.columns(settings.science)
        reader = spark.read.schema(schema) if schema else spark.read.option("mergeSchema", "true")
        parts.append(archived(_placed(reader.parquet(*map(str, fresh))), survey))
    found = reduce(lambda one, other: one.unionByName(other, allowMissingColumns=True), parts)
    return once(_complete(found, survey), survey.alert_id)


def nights(settings: Settings, first: str | None = None, last: str | None = None) -> list[str]:
    """The nights that there are science alerts of, oldest first.

    Raises
    ------
    UsageError
        There are none of these nights.
    """
    every = sorted(set(by_night(settings, _KIND)) | archive.nights(settings, _KIND))
    found = [night for night in every if (first or night) <= night <= (last or night)]
    if not found:
        raise UsageError(f"there are no science alerts of these nights; there are: {_span(every)}")
    return found


def _archived(settings: Settings, night: str) -> archive.Night:
    """A night's archive; it must hold all that was merged."""
    present = archive.night(settings, _KIND, night)
    there = archive.rows(present.files)
    wanted = max(present.note.rows, archive.nowhere_else(settings, _KIND, night))
    if there < wanted:
        folder = archive.folder(settings, _KIND, night)
        raise SumsDoNotMeet(f"{folder} should hold {wanted} alerts but has {there}: put it back, or run fink merge --night {night}")
    return present


def _placed(read: DataFrame) -> DataFrame:
    """With the file of each row and its number in it, by which copies of one alert are told apart."""
    return read.select("*", F.struct("_metadata.file_path", "_metadata.row_index").alias(PLACE))


def _complete(found: DataFrame, survey: Survey) -> DataFrame:
    """With Fink's columns that there always are, and those that only transfers have."""
    found = with_defaults(found, survey)
    if "tracklet" in survey.fink_columns:
        # Tracks are looked for when a night is merged.
        default = F.lit(survey.fink_columns["tracklet"].default)
        found = found.withColumn("tracklet", F.coalesce("tracklet", default) if "tracklet" in found.columns else default)
    return found.withColumns({name: F.expr(sql) for name, sql in survey.past_columns.items()})


def _span(nights: list[str]) -> str:
    return f"{nights[0]} to {nights[-1]}" if nights else "none yet"
