"""Rubin's definition: times and nights on both sides of every boundary, what is rejected, and real alerts."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro
import pytest
from pyspark.sql import SparkSession

from fink_broker.connectors.schemas import Folder
from fink_broker.surveys import get

RUBIN = get("rubin")
COLUMNS = (
    "diaSource struct<diaSourceId: bigint, diaObjectId: bigint, ssObjectId: bigint, midpointMjdTai: double, ra: double, dec: double>, "
    "cutoutScience binary, cutoutTemplate binary, cutoutDifference binary"
)
MIDNIGHT = datetime(2026, 3, 22, tzinfo=UTC)


def tai(when: datetime) -> float:
    """MJD in TAI of a time in UTC, by the calendar of Python."""
    return ((when - datetime(1858, 11, 17, tzinfo=UTC)) + timedelta(seconds=37)) / timedelta(days=1)


def alert(
    mjd: float | None = 61000.0, cutouts: tuple[bytes | None, ...] = (b"SIMPLE  =", None, b"SIMPLE  = T"), **fields: Any
) -> tuple[Any, ...]:
    source = {"diaSourceId": 1, "diaObjectId": None, "ssObjectId": None, "midpointMjdTai": mjd, "ra": 10.0, "dec": -10.0, **fields}
    return (tuple(source.values()), *cutouts)


# Seconds after 2026-03-22 00:00 UTC, and the night.
NIGHTS = [
    (-12 * 3600 - 0.01, "20260320"),
    (-12 * 3600 + 0.01, "20260321"),
    (-0.01, "20260321"),
    (0.01, "20260321"),
    (37.5, "20260321"),
    (12 * 3600 - 37.5, "20260321"),
    (12 * 3600 - 0.01, "20260321"),
    (12 * 3600 + 0.01, "20260322"),
    (24 * 3600, "20260322"),
]


def test_the_night_is_the_date_of_utc_less_twelve_hours(spark: SparkSession) -> None:
    times = [MIDNIGHT + timedelta(seconds=after) for after, _ in NIGHTS]
    alerts = spark.createDataFrame([alert(tai(when)) for when in times], COLUMNS).coalesce(1)
    rows = alerts.selectExpr(f"{RUBIN.night} as night", f"{RUBIN.time} as jd").collect()
    assert [row.night for row in rows] == [night for _, night in NIGHTS]
    # A double holds a Julian date to 40 microseconds.
    expected = [(when - datetime(2000, 1, 1, 12, tzinfo=UTC)) / timedelta(days=1) + 2451545.0 for when in times]
    assert [row.jd for row in rows] == pytest.approx(expected, rel=0, abs=1e-9)


REJECTED: list[tuple[tuple[Any, ...], str | None]] = [
    (alert(), None),
    (alert(diaObjectId=5, ssObjectId=0), None),
    (alert(ra=0.0, dec=-90.0), None),
    (alert(55197.0), None),
    (alert(diaSourceId=0), "diaSourceId is missing or not positive"),
    (alert(diaSourceId=None), "diaSourceId is missing or not positive"),
    (alert(diaObjectId=-5), "diaObjectId is negative"),
    (alert(ssObjectId=-5), "ssObjectId is negative"),
    (alert(None), "midpointMjdTai is out of range"),
    (alert(float("nan")), "midpointMjdTai is out of range"),
    (alert(1480360995.0), "midpointMjdTai is out of range"),
    (alert(ra=360.0), "ra is out of range"),
    (alert(ra=float("nan")), "ra is out of range"),
    (alert(dec=90.5), "dec is out of range"),
    (alert(cutouts=(b"SIMPLE", None, None)), "cutoutScience is not a FITS file"),
    (alert(cutouts=(None, b"", None)), "cutoutTemplate is not a FITS file"),
    (alert(cutouts=(None, None, b"\x1f\x8b\xff")), "cutoutDifference is not a FITS file"),
]


def test_what_is_rejected(spark: SparkSession) -> None:
    alerts = spark.createDataFrame([row for row, _ in REJECTED], COLUMNS).coalesce(1)
    checked = alerts.selectExpr(*(f"coalesce({sql}, false)" for sql in RUBIN.checks.values())).collect()
    failed = [[name for name, good in zip(RUBIN.checks, passed, strict=True) if not good] for passed in checked]
    assert failed == [[reason] if reason else [] for _, reason in REJECTED]


@pytest.mark.parametrize("packets", ["lsst_confluent", *(f"lsst_{version}_confluent_derived" for version in ("7.4", "9.0", "10.0"))])
def test_real_alerts_pass_in_the_night_that_their_visit_names(shared: Path, spark: SparkSession, packets: str) -> None:
    schemas = {number: json.loads(text) for number, text in Folder(shared / "schemas" / "lsst").known().items()}
    names = ("diaSourceId", "diaObjectId", "ssObjectId", "midpointMjdTai", "ra", "dec")
    rows, visits = [], {}
    for file in (shared / packets).iterdir():
        message = file.read_bytes()
        value: Any = fastavro.schemaless_reader(io.BytesIO(message[5:]), schemas[int.from_bytes(message[1:5], "big")], None)
        source = value["diaSource"]
        rows.append((tuple(source[name] for name in names), *(value[name] for name in RUBIN.cutouts)))
        visits[source["diaSourceId"]] = source["visit"]
    sound = " and ".join(f"({condition})" for condition in RUBIN.checks.values())
    alerts = spark.createDataFrame(rows, COLUMNS)
    found = alerts.selectExpr(f"{RUBIN.alert_id} as id", f"{RUBIN.night} as night", f"{sound} as sound").collect()
    assert all(row.sound for row in found)
    # The number of a visit begins with its night, but not in simulations.
    nights = {number: str(visit)[:8] for number, visit in visits.items() if visit > 10**12}
    assert {row.id: row.night for row in found if row.id in nights} == nights
    assert len(nights) == (0 if packets in ("lsst_confluent", "lsst_7.4_confluent_derived") else len(rows))


def test_it_has_no_cuts() -> None:
    assert (RUBIN.form, RUBIN.cuts, RUBIN.fink_columns) == ("confluent", {}, {})
    assert not RUBIN.schemas.exists()
