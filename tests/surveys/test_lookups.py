"""What the query layer is told of the tables is what the tables say of themselves."""

import subprocess
import sys

import pytest
from pyspark.sql import functions as F

from fink_broker import surveys
from fink_broker.surveys import Survey

SURVEYS = [surveys.get(name) for name in surveys.names()]
NUMBERS = ("313888653485834368", "7", "170032915988086813")
DESIGNATIONS = ("K20T00N", "J95X00A", "P")


def named(survey: Survey) -> dict:
    return {table.name: table for table in (*survey.tables, *([survey.tag] if survey.tag else []))}


@pytest.mark.parametrize("survey", SURVEYS, ids=lambda survey: survey.name)
def test_all_tables_are_there_and_have_the_columns(survey):
    lookups, tables = survey.lookups, named(survey)
    others = (lookups.cutouts, lookups.tns, lookups.solar_system)
    assert {one.table for one in (*lookups.by.values(), *others)} | {lookups.cone.table} | set(lookups.limits.values()) <= set(tables)
    wild = {column.partition(":")[0] for column in tables[lookups.by["object"].table].columns if column.strip().endswith("*")}
    for column in (lookups.time, lookups.object, lookups.alert, *lookups.position):
        assert column.partition(":")[0] in wild or column in tables[lookups.by["object"].table].columns
    assert lookups.folder in tables[lookups.cutouts.table].columns


def test_keys_of_rubin_begin_as_the_tables_make_them(spark):
    rubin = surveys.get("rubin")
    lookups, tables = rubin.lookups, named(rubin)
    row = spark.range(1).select(
        *[F.array(*[F.lit(one) for one in values]).alias(name) for name, values in (("numbers", NUMBERS), ("names", DESIGNATIONS))]
    )
    rows = row.select(F.explode(F.arrays_zip("numbers", "names")).alias("one")).select(
        F.expr("named_struct('diaObjectId', cast(one.numbers as bigint))").alias("diaObject"),
        F.expr("named_struct('diaSourceId', bigint(one.numbers), 'ssObjectId', bigint(one.numbers), 'midpointMjdTai', 61000.5D)").alias(
            "diaSource"
        ),
        F.expr("named_struct('packed_primary_provisional_designation', one.names)").alias("mpc_orbits"),
    )
    for lookup, values in (
        (lookups.by["object"], NUMBERS),
        (lookups.by["solar_system"], DESIGNATIONS),
        (lookups.cutouts, NUMBERS),
        (lookups.solar_system, NUMBERS),
    ):
        made = rows.select(F.concat_ws("_", *[F.expr(part).cast("string") for part in tables[lookup.table].key]).alias("key")).collect()
        for (key,), value in zip(made, values, strict=True):
            assert key in (lookup.begin(value), f"{lookup.begin(value)}61000.5")


def test_a_question_is_asked_without_spark_and_without_what_others_need():
    code = "import sys; from fink_broker.commands import query; print({'pyspark', 'astropy', 'cdshealpix'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize(
    ("designation", "packed"),
    # The examples of https://minorplanetcenter.net/iau/info/PackedDes.html
    [("1995 XA", "J95X00A"), ("1995XL1", "J95X01L"), ("1995 FB13", "J95F13B"), ("1998 SQ108", "J98SA8Q"), ("2007 TA418", "K07Tf8A")],
)
def test_designations_are_packed_as_the_keys_have_them(designation: str, packed: str) -> None:
    begin = surveys.get("rubin").lookups.by["solar_system"].begin
    assert begin(designation) == begin(packed) == f"{packed[1:3]}_{packed}_"
