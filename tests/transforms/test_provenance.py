"""Nights, times and versions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pyspark.sql import functions as F

from fink_broker import __version__
from fink_broker.surveys import get, names
from fink_broker.transforms.decode import RESERVED
from fink_broker.transforms.provenance import with_ingest_time, with_night, with_versions

NIGHT = get("ztf").night
# Julian dates of midnight (.5) and noon (.0) of 2026-03-22, UTC, and one second around them.
SECOND = 1 / 86400
NIGHTS = {
    2461122.0073843: "20260322",
    2461121.5: "20260322",
    2461121.5 - SECOND: "20260321",
    2461121.5 + SECOND: "20260322",
    2461122.0 - SECOND: "20260322",
    2461122.0: "20260322",
    2461122.0 + SECOND: "20260322",
    2461122.5 - SECOND: "20260322",
    2461122.5: "20260323",
    # A leap day, and the end of a year.
    2460369.5 + 0.25: "20240229",
    2460310.5 - SECOND: "20231231",
    2460310.5: "20240101",
}


def alerts(spark, rows):
    return spark.createDataFrame(rows, "jd double, reason string").select(F.struct("jd").alias("candidate"), "reason")


def today() -> datetime:
    return datetime.now(UTC)


def test_the_night_of_an_alert_is_its_utc_date(spark):
    found = with_night(alerts(spark, [(jd, None) for jd in NIGHTS]), NIGHT, None).collect()
    assert {row.candidate.jd: row.night for row in found} == NIGHTS


def test_dates_by_another_clock():
    """The table above, by Python's calendar."""
    for jd, night in NIGHTS.items():
        assert (datetime(2000, 1, 1, 12) + timedelta(days=jd - 2451545.0) + timedelta(microseconds=100)).strftime("%Y%m%d") == night


def test_rejected_alerts_lie_in_the_night_of_their_arrival(spark):
    before = today()
    found = with_night(alerts(spark, [(1e300, "out of range"), (None, "empty message"), (2461122.4, "bad")]), NIGHT, None).collect()
    days = {f"{day:%Y%m%d}" for day in (before, today())}
    assert len(found) == 3
    assert {row.night for row in found} <= days


def test_a_forced_night_holds_for_all(spark):
    found = with_night(alerts(spark, [(2461122.4, None), (None, "empty message")]), NIGHT, "20200101").collect()
    assert [row.night for row in found] == ["20200101", "20200101"]


def test_times_and_versions(spark):
    before = today() - timedelta(milliseconds=1)
    stamped = spark.createDataFrame([("ZTF",)] * 3, "publisher string")
    for survey in ("ztf", "rubin"):
        stamped = with_ingest_time(stamped, get(survey))
    stamped = with_versions(stamped, "7.4.0")
    added = ["brokerIngestTimestamp", "brokerIngestMjd", "fink_broker_version", "fink_science_version"]
    assert stamped.columns == ["publisher", *added]
    rows = stamped.collect()
    assert {(row.publisher, row.fink_broker_version, row.fink_science_version) for row in rows} == {("Fink", __version__, "7.4.0")}
    for row in rows:
        assert before < row.brokerIngestTimestamp.astimezone() < today()
        # A double holds a MJD of our days to a microsecond.
        found = datetime(1858, 11, 17, tzinfo=UTC) + timedelta(days=row.brokerIngestMjd)
        assert before - timedelta(microseconds=2) < found < today() + timedelta(microseconds=2)


def test_no_field_of_an_alert_takes_the_name_of_what_is_added_to_it():
    for name in names():
        survey = get(name)
        assert {column.lower() for column in (survey.ingest_time[0], survey.schema_version) if column} <= set(RESERVED)
