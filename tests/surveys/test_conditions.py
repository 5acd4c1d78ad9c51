"""Conditions without Spark: the same as Spark's, on every value that an alert may have."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest

from fink_broker.errors import ConfigError
from fink_broker.surveys import get, with_cuts
from fink_broker.surveys.conditions import Condition
from fink_broker.transforms.quality import passes

CONDITIONS = [
    "candidate.rb >= 0.55",
    "candidate.fid != 3 AND candidate.rb > .5",
    "candidate.fid <> 3 or candidate.rb is null",
    "not (candidate.rb < 0.55)",
    "candidate.rb is not null and candidate.fid in (1, 2)",
    "candidate.fid not in (1, 3)",
    "candidate.rb between 0.5 and 0.9 and candidate.fid = 1",
    "(candidate.rb between 0.5 and 0.9) or name = 'its'",
    "candidate.rb not between 5e-1 and 0.9",
    "abs(candidate.magpsf - 18) < 1.5",
    "candidate.magpsf / candidate.fid > 9 or candidate.fid % 2 = 0",
    "-candidate.magpsf <= -17.5",
    "candidate.magpsf * 2 = 36",
    "candidate.rb = candidate.rb",
    "candidate.rb < candidate.magpsf",
    "true",
    "name = 'a' and candidate.good",
    "candidate.rb = null",
    "startswith(name, 'a')",
    "name not in ('a', 'b') and not startswith(name, 'x')",
]


def test_as_spark_says(spark):
    nan = math.nan
    rows = [
        (number, name, (rb, fid, magpsf, good))
        for number, (name, rb, fid, magpsf, good) in enumerate(
            (name, rb, fid, magpsf, good)
            for name, good in (("a", True), ("its", False), (None, None))
            for rb in (0.55, 0.7, 0.5, 0.2, nan, None)
            for fid in (0, 1, 2, 3, None)
            for magpsf in (18.0, 17.5, nan, None)
        )
    ]
    alerts = spark.createDataFrame(
        rows, "number int, name string, candidate struct<rb: float, fid: int, magpsf: double, good: boolean>"
    ).coalesce(1)
    found = alerts.select("number", *[passes({"": sql}).alias(f"c{n}") for n, sql in enumerate(CONDITIONS)]).orderBy("number").toArrow()
    table = alerts.orderBy("number").toArrow()
    for number, sql in enumerate(CONDITIONS):
        assert Condition(sql).holds(table).to_pylist() == found[f"c{number}"].to_pylist(), sql


def test_columns():
    assert Condition("candidate.rb between 0.5 and 0.9 or name = 'candidate.x' and abs(a) in (b, 1)").columns == (
        "candidate.rb",
        "name",
        "a",
        "b",
    )


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "candidate.rb >=",
        "upper(name) = 'A'",
        "a ~ b",
        "(a = 1",
        "a = 1; drop table x",
        "a < b < c",
        "name like 'x%'",
        "__import__('os')",
    ],
)
def test_what_is_not_understood_is_said(sql: str):
    with pytest.raises(ConfigError, match="cannot be counted: say it with columns"):
        Condition(sql)


def test_cuts_of_the_configuration():
    ztf = get("ztf")
    assert with_cuts(ztf, None) is ztf
    assert with_cuts(ztf, {}).cuts == {}
    assert with_cuts(ztf, {"deep": "candidate.drb > 0.5 or candidate.drb is null"}).cuts == {
        "deep": "candidate.drb > 0.5 or candidate.drb is null"
    }
    with pytest.raises(ConfigError, match="'upper"):
        with_cuts(ztf, {"x": "upper(objectId) = 'X'"})


def test_every_row_where_a_condition_needs_no_column():
    assert Condition("1 = 1").holds(pa.table({"a": [1, 2]})).to_pylist() == [True, True]
