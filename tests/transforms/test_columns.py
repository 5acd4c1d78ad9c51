"""Columns by the names that plug-ins use."""

from __future__ import annotations

import pytest
from pyspark.sql.types import ArrayType, FloatType, StringType

from fink_broker.errors import ConfigError
from fink_broker.surveys import get
from fink_broker.transforms.columns import named

SURVEY = get("ztf")
SCHEMA = (
    "objectId string, candid long, gcvs string, cutoutScience struct<stampData: binary>, a struct<b: struct<deep: int>, twice: int>, "
    "other struct<twice: int>, "
    "candidate struct<jd: double, magpsf: float, fid: int, isdiffpos: string, drb: float, candid: long>, "
    "prv_candidates array<struct<jd: double, magpsf: float, fid: int, isdiffpos: string>>"
)
EARLIER = [(1.5, 17.5, 1, "t"), (2.5, None, 2, None)]
NOW = (3.5, 18.5, 2, "f", 0.75, 11)


@pytest.fixture(scope="module")
def alerts(spark):
    records = ((b"x",), ((5,), 6), (7,))
    rows = [("a", 11, "RR", *records, NOW, EARLIER), ("b", 12, "?", *records, NOW, []), ("c", 13, "?", *records, NOW, None)]
    return spark.createDataFrame(rows, SCHEMA).coalesce(1)


def values(alerts, name):
    return [row[0] for row in alerts.select(named(name, SURVEY, alerts.schema)).collect()]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("objectId", ["a", "b", "c"]),
        ("gcvs", ["RR", "?", "?"]),
        ("candid", [11, 12, 13]),  # the alert's own, not the field of the detection
        ("magpsf", [18.5] * 3),
        ("cjd", [[1.5, 2.5, 3.5], [3.5], [3.5]]),
        ("cmagpsf", [[17.5, None, 18.5], [18.5], [18.5]]),
        ("cfid", [[1, 2, 2], [2], [2]]),
        ("cisdiffpos", [["t", None, "f"], ["f"], ["f"]]),
        ("cdrb", [[0.75]] * 3),  # history does not have it
        ("cmagpsfc", [[17.5, None, 18.5], [18.5], [18.5]]),  # as the published filters say it
        ("cstampDatac", [b"x"] * 3),
        ("deep", [5] * 3),  # a field of a record in a record
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


def test_a_name_that_may_be_several_columns_is_said(alerts):
    with pytest.raises(ConfigError, match=r"'twice' may be any of a\.twice, other\.twice"):
        named("twice", SURVEY, alerts.schema)


def test_an_alias_of_what_is_not_there_is_no_column(alerts):
    with pytest.raises(ConfigError, match="there is no column 'linear_fit_slope'"):
        named("linear_fit_slope", SURVEY, alerts.schema)


def test_rubins_alerts_have_what_published_filters_ask_for(spark):
    rubin = get("rubin")
    source = "struct<ssObjectId: long, midpointMjdTai: double>"
    rows = [((7, 61041.5), [(None, 61040.5), (None, 61039.5)]), ((0, 61041.5), []), ((None, 61041.5), None)]
    alerts = spark.createDataFrame(rows, f"diaSource {source}, prvDiaSources array<{source}>")
    names = ("is_sso", "firstDiaSourceMjdTaiFink", "simbad_otype")
    found = [tuple(row) for row in alerts.select(*[named(name, rubin, alerts.schema) for name in names]).collect()]
    assert found == [(True, 61039.5, None), (False, 61041.5, None), (False, 61041.5, None)]


@pytest.mark.parametrize("name", ["magpfs", "cmagpfs", "args", "c", ""])
def test_unknown_names_are_said(alerts, name):
    message = f"there is no column '{name}' in the alerts of ztf"
    with pytest.raises(ConfigError, match=message):
        named(name, SURVEY, alerts.schema)
