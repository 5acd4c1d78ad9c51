"""What is counted of alerts, by the definitions of both surveys."""

from dataclasses import replace

import pyarrow.parquet as pq
from pyspark.sql import functions as F

from datasim import TEMPLATES
from fink_broker.filters import Filter
from fink_broker.surveys import get
from fink_broker.surveys.statistics import Statistics
from fink_broker.transforms.statistics import counted


def test_ztf_is_counted_by_its_own_values(spark):
    alerts = spark.read.parquet(str(TEMPLATES)).withColumns(
        {"night": F.lit("20260322"), "cdsxmatch": F.expr("case candid % 3 when 0 then 'Galaxy' when 1 then 'RRLyr' else 'Unknown' end")}
    )
    rows = counted(alerts, get("ztf"), [Filter("bright", sql="candidate.magpsf < 18")]).toArrow().to_pylist()
    templates = pq.read_table(TEMPLATES).to_pylist()
    assert len(rows) == len(templates)
    for row, alert in zip(rows, templates, strict=True):
        now, kind = alert["candidate"], ("Galaxy", "RRLyr", "Unknown")[alert["candid"] % 3]
        counts = {"sci": True, "n_g": now["fid"] == 1, "n_r": now["fid"] == 2}
        simbad = {"simbad_tot": kind != "Unknown", "simbad_gal": kind == "Galaxy"}
        assert row["counts"] == {f"basic:{name}": is_it for name, is_it in counts.items()} | {
            f"class:{name}": is_it for name, is_it in simbad.items()
        }
        assert row["distinct"] == {"basic:exposures": str(now["jd"]), "basic:fields": str(now["field"])}
        by = {"class": "RRLyr" if kind == "RRLyr" else "Unknown", "field": str(now["field"]), "band": "gri"[now["fid"] - 1]}
        assert {name: row["by"][name] for name in by} == by
        assert row["topics"] == (["fink_bright_ztf"] if now["magpsf"] < 18 else [])


COLUMNS = (
    "night string, diaSource struct<diaSourceId: bigint, diaObjectId: bigint, ssObjectId: bigint, midpointMjdTai: double, band: string, "
    "visit: bigint>, prvDiaSources array<struct<midpointMjdTai: double>>"
)
NOON = 61000.5 + 37 / 86400  # 12:00 UTC, in TAI


def test_rubin_counts_objects_by_their_first_alert_of_the_night(spark):
    alerts = [
        ("n", (1, 7, 0, NOON + 0.2, "g", 11), None),  # the first ever
        ("n", (2, 7, 0, NOON + 0.3, "r", 12), [(NOON + 0.2,)]),  # once more in the same night
        ("n", (3, 8, None, NOON + 0.001, "r", 12), [(NOON - 0.001,)]),  # seen in the night before
        ("n", (4, 0, 99, NOON + 0.3, "y", 12), None),  # of the solar system
    ]
    rows = counted(spark.createDataFrame(alerts, COLUMNS), get("rubin")).toArrow().to_pylist()
    totals = {name: [row["counts"][f"f:{name}"] for row in rows] for name in ("alerts", "objects", "is_first", "is_sso", "alerts_r")}
    assert totals == {
        "alerts": [True] * 4,
        "objects": [True, False, True, False],
        "is_first": [True, False, False, False],
        "is_sso": [False, False, False, True],
        "alerts_r": [False, True, True, False],
    }
    # No module says whether they are known.
    assert not {"f:is_cataloged", "f:in_tns"} & set(rows[0]["counts"])
    assert [row["distinct"]["f:visits"] for row in rows] == ["11", "12", "12", "12"]


def test_rubin_counts_counterparts_that_modules_have_found(spark):
    one = (1, 7, 0, NOON, "g", 11)
    names = [("Unknown", None, None), ("Star", None, "2026abc"), ("Fail 504", "", ""), (None, "Gaia DR3 1", None)]
    columns = f"{COLUMNS}, simbad_otype string, gaiadr3 struct<gaiadr3_DR3Name: string>, tns_fullname string"
    alerts = [("n", one, None, simbad, (gaia,), tns) for simbad, gaia, tns in names]
    rows = counted(spark.createDataFrame(alerts, columns), get("rubin")).toArrow().to_pylist()
    assert [row["counts"]["f:is_cataloged"] for row in rows] == [False, True, False, True]
    assert [row["counts"]["f:in_tns"] for row in rows] == [False, True, False, False]


def test_what_is_neither_true_nor_false_is_not_counted(spark):
    survey = replace(get("rubin"), statistics=Statistics("t", "{}", counts={"f:n": "cast(null as boolean)"}))
    assert counted(spark.createDataFrame([("n", (1, 7, 0, NOON, "g", 11), None)], COLUMNS), survey).first()["counts"]["f:n"] is False
    assert survey.statistics.families == ("f",)
