"""Columns by the names that plug-ins use."""

from __future__ import annotations

import pytest
from pyspark.sql.types import ArrayType, FloatType, StringType

from fink_broker.errors import ConfigError
from fink_broker.surveys import get
from fink_broker.transforms.columns import named

SURVEY = get("ztf")
SCHEMA = (
    "objectId string, candid long, gcvs string, "
    "candidate struct<jd: double, magpsf: float, fid: int, isdiffpos: string, drb: float, candid: long>, "
    "prv_candidates array<struct<jd: double, magpsf: float, fid: int, isdiffpos: string>>"
)
EARLIER = [(1.5, 17.5, 1, "t"), (2.5, None, 2, None)]
NOW = (3.5, 18.5, 2, "f", 0.75, 11)


@pytest.fixture(scope="module")
def alerts(spark):
    rows = [("a", 11, "RR", NOW, EARLIER), ("b", 12, "Unknown", NOW, []), ("c", 13, "Unknown", NOW, None)]
    return spark.createDataFrame(rows, SCHEMA).coalesce(1)


def values(alerts, name):
    return [row[0] for row in alerts.select(named(name, SURVEY, alerts.schema)).collect()]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("objectId", ["a", "b", "c"]),
        ("gcvs", ["RR", "Unknown", "Unknown"]),
        ("candid", [11, 12, 13]),  # the alert's own, not the field of the detection
        ("magpsf", [18.5] * 3),
        ("cjd", [[1.5, 2.5, 3.5], [3.5], [3.5]]),
        ("cmagpsf", [[17.5, None, 18.5], [18.5], [18.5]]),
        ("cfid", [[1, 2, 2], [2], [2]]),
        ("cisdiffpos", [["t", None, "f"], ["f"], ["f"]]),
        ("cdrb", [[0.75]] * 3),  # history does not have it
    ],
)
def test_values(alerts, name, expected):
    assert values(alerts, name) == expected


def test_types_are_those_of_the_detection(alerts):
    kinds = {
        name: alerts.select(named(name, SURVEY, alerts.schema).alias(name)).schema[name].dataType for name in ("cmagpsf", "cisdiffpos")
    }
    assert kinds["cmagpsf"] == ArrayType(FloatType())
    assert kinds["cisdiffpos"] == ArrayType(StringType())


def test_real_history_then_current(spark, templates):
    """On real alerts, against the same said in Python; every light-curve column that Fink's modules use."""
    names = ["jd", "fid", "magpsf", "sigmapsf", "magnr", "sigmagnr", "isdiffpos", "distnr", "diffmaglim", "ra", "dec"]
    record = "struct<" + ", ".join(f"{name}: {_type(templates, name)}" for name in names) + ">"

    def part(one):
        return tuple(one[name] for name in names)

    rows = [
        (t["candid"], part(t["candidate"]), None if t["prv_candidates"] is None else [part(p) for p in t["prv_candidates"]])
        for t in templates
    ]
    alerts = spark.createDataFrame(rows, f"candid long, candidate {record}, prv_candidates array<{record}>")
    found = alerts.select("candid", *[named(f"c{name}", SURVEY, alerts.schema).alias(name) for name in names]).collect()
    by_id = {row.candid: row for row in found}
    assert len(by_id) == len(templates)
    for template in templates:
        for name in names:
            expected = [one[name] for one in [*(template["prv_candidates"] or []), template["candidate"]]]
            assert by_id[template["candid"]][name] == expected, name


def _type(templates, name):
    value = templates[0]["candidate"][name]
    return {int: "int", float: "double", str: "string"}[type(value)]


@pytest.mark.parametrize("name", ["magpfs", "cmagpfs", "args", "c", ""])
def test_unknown_names_are_said(alerts, name):
    message = f"there is no column '{name}' in the alerts of ztf"
    with pytest.raises(ConfigError, match=message):
        named(name, SURVEY, alerts.schema)
