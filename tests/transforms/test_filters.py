"""Which alerts go to which topics."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import functions as F

from fink_broker.config import Settings
from fink_broker.config.own import Plugin
from fink_broker.config.sections import Distribution
from fink_broker.errors import ConfigError
from fink_broker.filters import Filter
from fink_broker.filters import ztf as own
from fink_broker.filters.registry import active
from fink_broker.surveys import get
from fink_broker.transforms.filters import with_topics
from fink_broker.worker.tally import Adding

SURVEY = get("ztf")

PLUGINS = """
import pandas as pd

def faint(magpsf):
    return magpsf > 18

def nullable(magpsf):
    return (magpsf > 18).where(magpsf < 19).astype("boolean")

def careful(fid, magpsf):
    if (fid == 3).any():
        raise ValueError("what is filter 3?")
    return fid == 1

def broken(objectId):
    raise RuntimeError("no")

def one_for_all(objectId):
    return [True]

def rising(cmagpsf):
    return cmagpsf.map(lambda m: len(m) > 1 and m[-1] < m[0])

def changes_its_input(magpsf):
    magpsf += 100
    return magpsf > 118

def of_another_name(magpsf):
    return magpsf < 17
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fil ters") / "mine.py"
    path.write_text(PLUGINS)
    return path


def filters(*plugins: Plugin) -> list[Filter]:
    return active(Settings(filters=list(plugins), distribution=Distribution(filters=[one.name for one in plugins])), SURVEY)


@pytest.fixture(scope="module")
def alerts(spark):
    rows = [
        ("a", "RR", 2, (16.5, 1), [(17.5, 2)]),
        ("b", "Unknown", 0, (18.5, 3), [(18.0, 1), (None, 1)]),
        ("c", None, None, (19.5, 1), []),
        ("d", "M", 1, (None, 2), None),
    ]
    record = "struct<magpsf: double, fid: int>"
    made = spark.createDataFrame(rows, f"objectId string, gcvs string, n int, candidate {record}, prv_candidates array<{record}>")
    return made.selectExpr("*", "cast(ascii(objectId) as bigint) as candid")


def topics(alerts, chosen: list[Filter]) -> dict[str, list[str]]:
    return {row.objectId: row.topics for row in with_topics(alerts, chosen, SURVEY).collect()}


def test_sql_and_functions_together(alerts, file):
    chosen = filters(
        Plugin(name="variables", sql="gcvs != 'Unknown'"),
        Plugin(name="faint", file=file),
        Plugin(name="bright", file=file, function="of_another_name"),
        Plugin(name="rising", file=file),
    )
    assert topics(alerts, chosen) == {
        "a": ["fink_variables_ztf", "fink_bright_ztf", "fink_rising_ztf"],
        "b": ["fink_faint_ztf"],
        "c": ["fink_faint_ztf"],
        "d": ["fink_variables_ztf"],
    }


def test_a_missing_answer_selects_nothing(alerts, file):
    chosen = filters(Plugin(name="sql", sql="candidate.magpsf > 18"), Plugin(name="nullable", file=file))
    assert topics(alerts, chosen) == {"a": [], "b": ["fink_sql_ztf", "fink_nullable_ztf"], "c": ["fink_sql_ztf"], "d": []}


def test_a_filter_that_raises_costs_its_own_alerts_only(alerts, file):
    chosen = filters(
        Plugin(name="careful", file=file),
        Plugin(name="broken", file=file),
        Plugin(name="changes_its_input", file=file),
        Plugin(name="faint", file=file),
        # Errors in SQL: division by zero, a text that is no number, an item that is not there.
        Plugin(name="ratio", sql="1 / n > 0"),
        Plugin(name="number", sql="cast(objectId as int) > 1"),
        Plugin(name="first", sql="prv_candidates[0].magpsf < 18"),
    )
    assert topics(alerts, chosen) == {
        "a": ["fink_careful_ztf", "fink_ratio_ztf", "fink_first_ztf"],
        "b": ["fink_changes_its_input_ztf", "fink_faint_ztf"],
        "c": ["fink_careful_ztf", "fink_changes_its_input_ztf", "fink_faint_ztf"],
        "d": ["fink_ratio_ztf"],
    }


def test_who_raised_and_what_it_cost_is_counted(spark, alerts, file):
    tally = spark.sparkContext.accumulator({}, Adding())
    chosen = filters(Plugin(name="careful", file=file), Plugin(name="broken", file=file), Plugin(name="faint", file=file))
    with_topics(alerts.coalesce(1), chosen, SURVEY, tally=tally).collect()
    found = {name: (one.alerts, one.failures, one.reason, one.in_turn) for name, one in tally.value.items()}
    assert found == {
        "careful": (4, 1, "ValueError: what is filter 3?", 0),
        "broken": (4, 4, "RuntimeError: no", 1),
        "faint": (4, 0, "", 0),
    }
    assert all(one.cpu_ms > 0 for one in tally.value.values())


def test_sql_names_other_filters(alerts, file):
    chosen = filters(
        Plugin(name="both", sql="faint and variable and not (gcvs = 'faint')"),
        Plugin(name="either", sql="faint or variable"),
        Plugin(name="faint", file=file),
        Plugin(name="variable", sql="gcvs != 'Unknown'"),
    )
    found = topics(alerts, chosen[:2])
    assert found == {"a": ["fink_either_ztf"], "b": ["fink_either_ztf"], "c": ["fink_either_ztf"], "d": ["fink_either_ztf"]}
    assert with_topics(alerts, chosen[:2], SURVEY).columns == [*alerts.columns, "topics"]


def test_a_condition_on_topics_does_not_run_functions_twice(spark, alerts, file):
    tally = spark.sparkContext.accumulator({}, Adding())
    found = with_topics(alerts.coalesce(1), filters(Plugin(name="faint", file=file)), SURVEY, tally=tally)
    found.where(F.size("topics") > 0).select(F.explode("topics")).collect()
    assert tally.value["faint"].alerts == 4


def test_without_functions_there_is_no_python_in_the_plan(alerts, file):
    def plan(*plugins: Plugin) -> str:
        return str(with_topics(alerts, filters(*plugins), SURVEY)._jdf.queryExecution().executedPlan())

    assert "ArrowEvalPython" not in plan(Plugin(name="sql", sql="candidate.magpsf < 14"))
    assert "ArrowEvalPython" in plan(Plugin(name="faint", file=file))


def test_only_sql_and_none_at_all(alerts):
    assert topics(alerts, filters(Plugin(name="all_of_them", sql="true"))) == {name: ["fink_all_of_them_ztf"] for name in "abcd"}
    empty = with_topics(alerts, [], SURVEY)
    assert empty.schema["topics"].dataType.simpleString() == "array<string>"
    assert {tuple(row.topics) for row in empty.collect()} == {()}


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (Plugin(name="wrong", sql="candidate.magpfs < 14"), "the filter 'wrong' is not SQL on an alert: .*magpfs"),
        (Plugin(name="wrong", sql="candidate.magpsf <"), "the filter 'wrong' is not SQL on an alert: .*"),
        (Plugin(name="wrong", sql="candidate.magpsf < 18 and"), "the filter 'wrong' is not SQL on an alert: .*"),
        (Plugin(name="wrong", sql="candidate.magpsf < 18 candidate"), "the filter 'wrong' is not SQL on an alert: .*"),
        (Plugin(name="wrong", sql="candidate.magpsf"), "the filter 'wrong' is not a condition: its type is double"),
    ],
)
def test_wrong_sql_is_said_in_one_line(alerts, capfd: pytest.CaptureFixture[str], plugin: Plugin, message: str):
    with pytest.raises(ConfigError, match=message) as raised:
        with_topics(alerts, filters(plugin), SURVEY)
    assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(distribution=Distribution(filters=["brigth"])), "unknown filter 'brigth', did you mean 'bright'"),
        (
            Settings(distribution=Distribution(filters=["qqq"])),
            "unknown filter 'qqq'; known: bright, known_variables, solar_system, new_transients",
        ),
        (Settings(filters=[Plugin(name="x")], distribution=Distribution(filters=["x"])), "'x' needs either sql or file"),
        (
            Settings(filters=[Plugin(name="x", sql="true", file=Path("x.py"))], distribution=Distribution(filters=["x"])),
            "either sql or file",
        ),
    ],
)
def test_wrong_configuration_is_said(settings: Settings, message: str):
    with pytest.raises(ConfigError, match=message):
        active(settings, SURVEY)


def test_a_function_that_is_not_in_the_file(file):
    with pytest.raises(ConfigError, match=r"mine\.py has no function 'not_there'"):
        filters(Plugin(name="x", file=file, function="not_there"))


def test_the_brokers_own_filters(spark):
    assert [one.topic(SURVEY) for one in active(Settings(), SURVEY)] == [
        "fink_bright_ztf",
        "fink_new_transients_ztf",
        "fink_rising_ztf",
        "fink_known_variables_ztf",
        "fink_solar_system_ztf",
    ]
    old = (2461122.0, 2461000.0, 50)
    rows = [
        ("bright", 15.99, -999.0, "Unknown", *old, None),
        ("at the limit", 16.0, -999.0, "Unknown", *old, None),
        ("variable", 17.0, -999.0, "RR", *old, None),
        ("asteroid", 17.0, 0.0, "Unknown", 2461122.0, 2461121.9, 1, None),
        ("near one", 17.0, 5.0, "Unknown", 2461122.0, 2461121.9, 1, None),
        ("new", 17.0, -999.0, "Unknown", 2461122.0, 2461120.1, 3, None),
        ("two days", 17.0, -999.0, "Unknown", 2461122.0, 2461120.0, 3, None),
        ("often", 17.0, -999.0, "Unknown", 2461122.0, 2461121.0, 4, None),
        ("no distance", 17.0, None, "Unknown", 2461122.0, 2461121.0, 1, None),
        # Band 1 before at 17.2, then an upper limit, then another band.
        ("rising", 17.09, -999.0, "Unknown", *old, [(17.5, 1), (17.2, 1), (None, 1), (16.5, 2)]),
        ("as bright", 17.11, -999.0, "Unknown", *old, [(17.5, 1), (17.2, 1)]),
        ("limits only", 17.0, -999.0, "Unknown", *old, [(None, 1)]),
    ]
    alerts = spark.createDataFrame(
        rows,
        "objectId string, magpsf double, ssdistnr double, gcvs string, jd double, jdstarthist double, ndethist int, "
        "prv_candidates array<struct<magpsf: double, fid: int>>",
    ).selectExpr(
        "1L as candid", "objectId", "gcvs", "prv_candidates", "struct(jd, magpsf, ssdistnr, jdstarthist, ndethist, 1 as fid) as candidate"
    )
    found = topics(alerts, active(Settings(), SURVEY))
    assert {name: [topic.removeprefix("fink_").removesuffix("_ztf") for topic in names] for name, names in found.items()} == {
        "bright": ["bright"],
        "at the limit": [],
        "variable": ["known_variables"],
        "asteroid": ["solar_system"],
        "near one": ["new_transients"],
        "new": ["new_transients"],
        "two days": [],
        "often": [],
        "no distance": ["new_transients"],
        "rising": ["rising"],
        "as bright": [],
        "limits only": [],
    }
    assert set(own.FUNCTIONS) | set(own.SQL) == set(Settings().distribution.filters)
