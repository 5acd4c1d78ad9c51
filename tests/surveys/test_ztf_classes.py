"""The class of an alert by Fink's rule, and the cuts for tracks, in Spark SQL."""

from __future__ import annotations

from typing import Any

import fastavro
import pytest

from fink_broker import surveys
from fink_broker.surveys.ztf.classes import fink_class

FINK = {"cdsxmatch": "Unknown", "roid": 0, "mulens": 0.0, "snn_snia_vs_nonia": 0.0, "snn_sn_vs_all": 0.0}
FINK |= {"rf_snia_vs_nonia": 0.0, "rf_kn_vs_nonkn": 0.0, "tracklet": ""}
ALERT = {"drb": 0.9, "classtar": 0.9, "jd": 2461122.5, "jdstarthist": 2461120.5, "ndethist": 10}
SCHEMA = """fink struct<cdsxmatch: string, roid: int, mulens: double, snn_snia_vs_nonia: double, snn_sn_vs_all: double,
rf_snia_vs_nonia: double, rf_kn_vs_nonkn: double, tracklet: string>,
candidate struct<drb: double, classtar: double, jd: double, jdstarthist: double, ndethist: int>"""

SN: dict[str, Any] = {"snn_sn_vs_all": 0.6}
CASES: list[tuple[dict[str, Any], str]] = [
    ({}, "Unknown"),
    ({"cdsxmatch": "RRLyrae"}, "RRLyrae"),
    ({"cdsxmatch": "QSO", "roid": 3} | SN, "QSO"),  # SIMBAD goes before all others
    ({"cdsxmatch": "Fail 502"}, "Unknown"),
    ({"cdsxmatch": "Galaxy"}, "Unknown"),
    ({"cdsxmatch": "GalaxyCluster"}, "Unknown"),
    ({"cdsxmatch": "Transient"} | SN, "SN candidate"),
    ({"cdsxmatch": "Galaxy"} | SN, "SN candidate"),
    ({"cdsxmatch": "Seyfert_1"} | SN, "Seyfert_1"),
    (SN, "SN candidate"),
    ({"snn_snia_vs_nonia": 0.51}, "SN candidate"),
    (SN | {"snn_sn_vs_all": 0.5}, "Unknown"),
    (SN | {"drb": 0.5}, "Unknown"),
    (SN | {"drb": None}, "Unknown"),
    (SN | {"classtar": 0.4}, "Unknown"),
    (SN | {"jdstarthist": 2461032.5}, "SN candidate"),
    (SN | {"jdstarthist": 2461032.4}, "Unknown"),
    (SN | {"ndethist": 1}, "Unknown"),
    (SN | {"rf_snia_vs_nonia": 0.6}, "Early SN Ia candidate"),
    (SN | {"rf_snia_vs_nonia": 0.6, "ndethist": 20}, "Early SN Ia candidate"),
    (SN | {"rf_snia_vs_nonia": 0.6, "ndethist": 21}, "SN candidate"),
    ({"rf_snia_vs_nonia": 0.6}, "Unknown"),
    ({"rf_kn_vs_nonkn": 0.6}, "Kilonova candidate"),
    (SN | {"rf_kn_vs_nonkn": 0.6}, "Kilonova candidate"),
    ({"rf_kn_vs_nonkn": 0.6, "jdstarthist": 2461117.5}, "Unknown"),
    ({"rf_kn_vs_nonkn": 0.6, "ndethist": 20}, "Unknown"),
    ({"rf_kn_vs_nonkn": 0.6, "roid": 3}, "Solar System MPC"),
    ({"roid": 1}, "Unknown"),
    ({"roid": 2}, "Solar System candidate"),
    ({"roid": 2} | SN, "Ambiguous"),
    ({"roid": 2, "tracklet": "TRCK_20210604_093609_00"}, "Tracklet"),
    ({"roid": 3}, "Solar System MPC"),
    ({"roid": 3, "tracklet": "TRCK_20210604_093609_00"}, "Solar System MPC"),
    ({"roid": 3} | SN, "Solar System MPC"),
    ({"mulens": 0.1}, "Microlensing candidate"),
    ({"mulens": 0.1} | SN, "Ambiguous"),
    ({"mulens": 0.1, "roid": 3}, "Ambiguous"),
    ({"mulens": None}, "Unknown"),
    ({"tracklet": "TRCKx20210604"}, "Unknown"),
]


def test_classes(spark, shared_alerts):
    rows = [
        ({name: case.get(name, FINK[name]) for name in FINK}, {name: case.get(name, ALERT[name]) for name in ALERT}) for case, _ in CASES
    ]
    rows += [({name: alert[name] for name in FINK}, {name: alert["candidate"][name] for name in ALERT}) for alert in shared_alerts]
    expected = [name for _, name in CASES] + [alert["finkclass"] for alert in shared_alerts]
    found = [row[0] for row in spark.createDataFrame(rows, SCHEMA).coalesce(1).selectExpr(fink_class()).collect()]
    assert [(row, is_, should) for row, is_, should in zip(rows, found, expected, strict=True) if is_ != should] == []


@pytest.fixture
def shared_alerts(request) -> list[dict[str, Any]]:
    """Alerts with the class that Fink published; none where they are missing."""
    try:
        folder = request.getfixturevalue("shared") / "ztf_4.02_enriched"
    except pytest.skip.Exception:
        return []
    return [alert for file in sorted(folder.glob("*.avro")) for alert in fastavro.reader(file.open("rb"))]


def test_alerts_that_may_be_on_tracks(spark):
    good = {"ssnamenr": "null", "ndethist": 1, "isdiffpos": "t", "distnr": 1.0, "magnr": 20.0, "magpsf": 18.0}
    cases = [({}, True), ({"ssnamenr": "1234"}, False), ({"ndethist": 2}, False), ({"isdiffpos": "f"}, False)]
    # As far below the reference source as its distance allows a variable star: -4 * (log10(distnr) + 0.2) is -0.8 at 1 pixel.
    cases += [
        ({"magpsf": 20.7}, True),
        ({"magpsf": 20.9}, False),
        ({"magpsf": 20.9, "distnr": 2.0}, True),
        ({"distnr": 0.1, "magpsf": 19.1}, False),
    ]
    rows = [(good | case,) for case, _ in cases]
    schema = "candidate struct<ssnamenr: string, ndethist: int, isdiffpos: string, distnr: double, magnr: double, magpsf: double>"
    found = [row[0] for row in spark.createDataFrame(rows, schema).coalesce(1).selectExpr(surveys.get("ztf").on_tracks).collect()]
    assert found == [on for _, on in cases]
