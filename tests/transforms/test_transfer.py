"""What is chosen of past alerts, and what of a table they are matched with."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from fink_broker import surveys
from fink_broker.catalogues import read, store
from fink_broker.errors import ConfigError, UsageError
from fink_broker.filters import Filter
from fink_broker.transforms.crossmatch import MATCH, ROW, SEPARATION, by_name, nearest
from fink_broker.transforms.rights import Audience
from fink_broker.transforms.transfer import PLACE, columns, flat, once, packets, selected, sendable, visible

ZTF = surveys.get("ztf")
ROWS = [(1, "a", 10.0, 20.0, 15.0), (2, "b", 10.0, -20.0, 18.0), (3, "a", 359.9999, 20.0, 19.0)]


@pytest.fixture(scope="module")
def alerts(spark: SparkSession) -> DataFrame:
    """Three alerts of two objects."""
    return spark.createDataFrame(ROWS, "id long, object string, ra double, dec double, magpsf double").selectExpr(
        "object as objectId",
        "id as candid",
        "struct(2461122.0D + id as jd, ra, dec, magpsf) as candidate",
        "array(struct(2461100.0D as jd, 20D as magpsf), struct(2461101.0D as jd, cast(null as double) as magpsf)) as prv_candidates",
        "struct('x.fits.gz' as fileName, X'1F8B' as stampData) as cutoutScience",
        "struct('x.fits.gz' as fileName, X'1F8B' as stampData) as cutoutTemplate",
        "struct('x.fits.gz' as fileName, X'1F8B' as stampData) as cutoutDifference",
        "array(1L, 2L) as numbers",
        "timestamp'2026-03-22 01:02:03.5' as brokerIngestTimestamp",
    )


def ids(rows: DataFrame) -> list[int]:
    return sorted(row["candid"] for row in rows.collect())


def test_of_copies_the_first_stays(spark):
    rows = spark.createDataFrame(
        [(1, "b", "one"), (1, "a", "two"), (2, "c", "three"), (1, "c", "four")], f"candid long, {PLACE} string, x string"
    )
    left = once(rows, "candid")
    assert left.columns == ["candid", "x"]
    assert sorted(row["x"] for row in left.collect()) == ["three", "two"]


def test_any_filter_and_every_condition(alerts):
    bright, faint = Filter("bright", "candidate.magpsf < 16"), Filter("faint", "candidate.magpsf > 18.5")
    north, object_a = Filter("where_1", "candidate.dec > 0", origin="--where"), Filter("where_2", "objectId = 'a'")
    assert ids(selected(alerts, [], [], ZTF)) == [1, 2, 3]
    assert ids(selected(alerts, [bright], [], ZTF)) == [1]
    assert ids(selected(alerts, [bright, faint], [], ZTF)) == [1, 3]
    assert ids(selected(alerts, [], [north, object_a], ZTF)) == [1, 3]
    assert ids(selected(alerts, [faint], [north], ZTF)) == [3]
    assert selected(alerts, [bright], [north], ZTF).columns == alerts.columns
    with pytest.raises(ConfigError, match=r"--where.*there is no column 'magsf', did you mean 'magpsf'\?"):
        selected(alerts, [], [Filter("where_1", "candidate.magsf > 0", origin="--where")], ZTF)


def test_an_audience_sees_its_alerts_and_entries_of_histories(alerts):
    assert visible(alerts, ZTF, Audience()).collect() == alerts.collect()
    [row] = visible(alerts, ZTF, Audience("some", "candidate.magpsf < 16 or candidate.magpsf = 20")).collect()
    assert (row["candid"], [entry["magpsf"] for entry in row["prv_candidates"]]) == (1, [20.0])


@pytest.mark.parametrize(
    ("packet", "missing"),
    [
        ("full", set()),
        ("lightcurve", set(ZTF.cutouts)),
        ("cutouts", {"prv_candidates"}),
        ("light", {"prv_candidates", *ZTF.cutouts}),
    ],
)
def test_packets_leave_out_cutouts_and_histories(alerts, packet, missing):
    rows = packets(alerts, ZTF, packet)
    assert set(alerts.columns) - set(rows.columns) == missing
    row, whole = rows.where("candid = 2").first(), alerts.where("candid = 2").first()
    assert {name: row[name] for name in rows.columns} == {name: whole[name] for name in alerts.columns if name not in missing}


def test_columns_by_the_names_that_plug_ins_use(alerts):
    rows = columns(alerts, ZTF, ["candidate.ra", "magpsf", "cmagpsf", "candid"])
    assert rows.columns == ["objectId", "candid", "ra", "magpsf", "cmagpsf"]
    assert rows.where("candid = 1").first().asDict() == {
        "objectId": "a",
        "candid": 1,
        "ra": 10.0,
        "magpsf": 15.0,
        "cmagpsf": [20.0, None, 15.0],
    }
    with pytest.raises(ConfigError, match="did you mean 'magpsf'"):
        columns(alerts, ZTF, ["magsf"])
    with pytest.raises(UsageError, match=r"no column 'candidate.x'"):
        columns(alerts, ZTF, ["candidate.x"])
    with pytest.raises(UsageError, match="two of the columns are called 'jd'"):
        columns(alerts, ZTF, ["candidate.jd", "jd"])


def test_ids_of_a_survey_whose_alerts_have_them_inside(spark):
    rubin = surveys.get("rubin")
    inside = spark.range(1).selectExpr("struct(7L as diaSourceId, 0L as diaObjectId, 5L as ssObjectId, 1D as ra) as diaSource")
    assert columns(inside, rubin, ["ra"]).first().asDict() == {"objectId": 5, "diaSourceId": 7, "ra": 1.0}
    assert packets(inside, rubin, "light").columns == ["diaSourceId", "diaSource"]
    assert (flat(rubin).alert_id, flat(rubin).object_id) == ("diaSourceId", "diaSourceId")


def test_times_are_sent_as_text(alerts):
    assert sendable(columns(alerts, ZTF, ["brokerIngestTimestamp"])).first()["brokerIngestTimestamp"] == "2026-03-22 01:02:03.5"


@pytest.fixture
def table() -> pa.Table:
    """Two rows near the first alert, one near the third across right ascension 0, one near none."""
    return pa.table(
        {
            "ra": [10.0, 10.0, 0.0, 200.0],
            "dec": [20.0 + 1 / 3600, 20.0 + 0.5 / 3600, 20.0, 5.0],
            "name": ["near", "nearer", "around", "far"],
            "2MASS id": [None, 2**60 + 1, 3, 4],
            "candid": ["A", "B", "C", "D"],
            "when": [datetime(2026, 1, day) for day in (1, 2, 3, 4)],
        }
    )


def test_the_nearest_row_within_the_radius(spark, alerts, table, tmp_path: Path):
    numbered = table.append_column(ROW, pa.array(range(len(table))))
    store.keep(tmp_path / "table", read.catalogue(numbered)[0], "a test")
    matched = nearest(alerts, ZTF, spark.createDataFrame(numbered), tmp_path / "table", 1.5)
    assert matched.columns == [*alerts.columns, MATCH]
    rows = {row["candid"]: row for row in columns(matched, ZTF, ["dec"]).collect()}
    assert set(rows) == {1, 3}
    # Names that the alert has, and those that Avro does not take.
    assert list(rows[1].asDict()) == [
        "objectId",
        "candid",
        "dec",
        "ra",
        "table_dec",
        "name",
        "_2MASS_id",
        "table_candid",
        "when",
        SEPARATION,
    ]
    assert (rows[1]["name"], rows[1]["_2MASS_id"], rows[1]["table_candid"]) == ("nearer", 2**60 + 1, "B")
    assert rows[1][SEPARATION] == pytest.approx(0.5, abs=1e-6)
    assert rows[3]["name"] == "around"
    assert rows[3][SEPARATION] == pytest.approx(0.3383, abs=1e-3)
    assert ids(nearest(alerts, ZTF, spark.createDataFrame(numbered), tmp_path / "table", 0.4)) == [3]
    whole = packets(matched, ZTF, "light")
    assert {"candidate", "table_candid", SEPARATION} <= set(whole.columns)
    assert MATCH not in whole.columns


def test_by_the_names_of_objects(spark, alerts):
    table = spark.createDataFrame([("a ", 1), ("a", 1), ("c", 2)], "who string, n int")
    rows = columns(by_name(alerts, ZTF, table, "who"), ZTF, [])
    assert sorted((row["candid"], row["n"]) for row in rows.collect()) == [(1, 1), (3, 1)]
    assert rows.columns == ["objectId", "candid", "who", "n"]
