"""Science modules: what they return, and that one that fails costs only its own values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from fink_broker.config import Settings
from fink_broker.config.own import Science, ScienceModule
from fink_broker.config.sections import Raw2science
from fink_broker.errors import ConfigError
from fink_broker.science.module import Module
from fink_broker.science.registry import active
from fink_broker.surveys import get
from fink_broker.transforms.science import with_science
from fink_broker.worker import batch
from fink_broker.worker.place import Place

SURVEY = get("ztf")

PLUGINS = """
import pandas as pd
from fink_broker.science import outputs

@outputs(doubled="double")
def fine(magpsf):
    return 2 * magpsf

@outputs(sometimes="double")
def sometimes(magpsf, fid):
    if (fid == 3).any():
        raise ValueError("no calibration for filter 3")
    return magpsf + fid

@outputs(changed="double")
def changes_its_input(magpsf):
    magpsf += 100
    if (magpsf > 118).any():
        raise ValueError("too faint")
    return magpsf

@outputs(always="string")
def always(objectId):
    raise RuntimeError("model is missing")

@outputs(few="int")
def wrong_length(fid):
    return pd.Series([1])

@outputs(number="int")
def wrong_type(objectId):
    return objectId.map(lambda name: "text" if name == "b" else 7)

@outputs(low="int", high="double", name="string", parts="array<float>")
def several(magpsf):
    table = pd.DataFrame({"high": magpsf + 1, "low": magpsf.astype(int), "name": magpsf.astype(str), "further": 0})
    return table.assign(parts=[[m, m / 2] for m in magpsf])

@outputs(pair="struct<a:int,b:string>")
def struct(fid):
    return pd.Series([{"a": int(f), "b": "x"} for f in fid])

def undeclared(fid):
    return fid
"""


def only(*modules: ScienceModule, **science: Any) -> Settings:
    """Settings with these modules and no others."""
    return Settings(raw2science=Raw2science(modules=[]), science=Science(modules=list(modules), **science))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory):
    """Runs modules on the columns below, as a worker does."""
    place = Place(tmp_path_factory.mktemp("workers"))

    def run(modules: list[Module]) -> pd.DataFrame:
        return batch.run(modules, COLUMNS, KINDS, COLUMNS["objectId"], place)

    return run


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory):
    """Makes modules of the file above active, in the order asked for."""
    file = tmp_path_factory.mktemp("plug ins") / "mine.py"
    file.write_text(PLUGINS)

    def make(*names: str) -> list[Module]:
        return active(only(*[ScienceModule(name=name, function=str(file)) for name in names]), SURVEY)

    return make


COLUMNS = {
    "objectId": pd.Series(["a", "b", "c"], index=[10, 11, 12]),
    "magpsf": pd.Series([16.5, 17.5, 18.5], index=[10, 11, 12]),
    "fid": pd.Series([1, 3, 2], index=[10, 11, 12]),
}


KINDS = {
    "doubled": pa.float64(),
    "changed": pa.float64(),
    "sometimes": pa.float64(),
    "always": pa.string(),
    "few": pa.int32(),
    "low": pa.int32(),
    "high": pa.float64(),
    "name": pa.string(),
    "parts": pa.list_(pa.float32()),
}


def test_values_times_and_no_errors(modules, run):
    before = datetime.now(UTC).replace(tzinfo=None)
    table = run(modules("fine", "several"))
    after = datetime.now(UTC).replace(tzinfo=None)
    assert list(table.index) == [10, 11, 12]
    assert list(table["doubled"]) == [33.0, 35.0, 37.0]
    assert list(table["low"]) == [16, 17, 18]
    assert list(table["high"]) == [17.5, 18.5, 19.5]
    assert list(table["name"]) == ["16.5", "17.5", "18.5"]
    assert list(table["parts"]) == [[16.5, 8.25], [17.5, 8.75], [18.5, 9.25]]
    assert "further" not in table
    assert list(table["science_errors"]) == [None, None, None]
    start, end = set(table["brokerStartProcessTimestamp"]), set(table["brokerEndProcessTimestamp"])
    assert len(start) == len(end) == 1
    assert before <= start.pop() <= end.pop() <= after


def test_one_alert_costs_its_own_value_only(modules, run):
    table = run(modules("sometimes", "fine"))
    assert [None if pd.isna(value) else value for value in table["sometimes"]] == [17.5, None, 20.5]
    assert list(table["doubled"]) == [33.0, 35.0, 37.0]
    assert list(table["science_errors"]) == [None, ["sometimes: ValueError: no calibration for filter 3"], None]


def test_several_that_fail_are_all_named(modules, run):
    table = run(modules("always", "sometimes", "wrong_length", "fine"))
    assert list(table["always"]) == [None] * 3
    assert list(table["doubled"]) == [33.0, 35.0, 37.0]
    length = "wrong_length: ValueError: returned 1 values for 3 alerts"
    # One value for one alert is right: what a module returns for each alone counts.
    assert list(table["few"]) == [1, 1, 1]
    assert length not in str(list(table["science_errors"]))
    missing = "always: RuntimeError: model is missing"
    assert list(table["science_errors"]) == [[missing], [missing, "sometimes: ValueError: no calibration for filter 3"], [missing]]


def test_a_module_that_changes_its_input_changes_nobody_elses(modules, run):
    table = run(modules("changes_its_input", "fine"))
    assert [None if pd.isna(value) else value for value in table["changed"]] == [116.5, 117.5, None]
    assert list(table["doubled"]) == [33.0, 35.0, 37.0]
    assert list(COLUMNS["magpsf"]) == [16.5, 17.5, 18.5]


@pytest.fixture(scope="module")
def alerts(spark):
    rows = [(1, "a", (16.5, 1), [(15.5, 2)]), (2, "b", (17.5, 3), []), (3, "c", (18.5, 2), None)]
    return spark.createDataFrame(
        rows,
        "candid long, objectId string, candidate struct<magpsf: double, fid: int>, prv_candidates array<struct<magpsf: double, fid: int>>",
    ).coalesce(1)


def test_in_spark_with_modules_that_fail(alerts, modules):
    active_modules = modules("fine", "sometimes", "always", "wrong_type", "several", "struct")
    found = with_science(alerts, active_modules, SURVEY)
    assert found.columns == [
        *alerts.columns,
        *("doubled", "sometimes", "always", "number", "low", "high", "name", "parts", "pair"),
        *("brokerStartProcessTimestamp", "brokerEndProcessTimestamp", "science_errors", "science_cost"),
        *(name for name, column in SURVEY.fink_columns.items() if column.in_alerts and not column.source),
    ]
    rows = {row.objectId: row.asDict(recursive=True) for row in found.collect()}
    for name, magpsf, fid in (("a", 16.5, 1), ("b", 17.5, 3), ("c", 18.5, 2)):
        row = rows[name]
        assert row["doubled"] == 2 * magpsf
        assert row["sometimes"] == (None if fid == 3 else magpsf + fid)
        assert row["always"] is None
        assert row["number"] == (None if name == "b" else 7)
        assert (row["low"], row["high"], row["name"], row["parts"]) == (int(magpsf), magpsf + 1, str(magpsf), [magpsf, magpsf / 2])
        assert row["pair"] == {"a": fid, "b": "x"}
        assert row["brokerStartProcessTimestamp"] <= row["brokerEndProcessTimestamp"]
    assert [error.partition(":")[0] for error in rows["a"]["science_errors"]] == ["always"]
    assert [error.partition(":")[0] for error in rows["b"]["science_errors"]] == ["sometimes", "always", "wrong_type"]


def test_no_modules_still_say_when(alerts):
    found = with_science(alerts, [], SURVEY)
    assert found.columns[-4:] == ["brokerStartProcessTimestamp", "brokerEndProcessTimestamp", "science_errors", "science_cost"]
    assert found.schema["science_errors"].dataType.simpleString() == "array<string>"
    row = found.first()
    assert row.brokerStartProcessTimestamp == row.brokerEndProcessTimestamp
    assert row.science_errors is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(raw2science=Raw2science(modules=["gvcs"])), "unknown science module 'gvcs', did you mean 'gcvs'"),
        (Settings(raw2science=Raw2science(modules=["qqq"])), "unknown science module 'qqq'; known: .*gcvs, .*nalerthist"),
        (only(ScienceModule(name="mine")), r"'mine' needs a function in \[\[science.modules\]\]"),
        (only(ScienceModule(name="mine", function="/nowhere/mine.py")), "'mine': there is no file /nowhere/mine.py"),
    ],
)
def test_wrong_configuration_is_said(settings: Settings, message: str):
    with pytest.raises(ConfigError, match=message):
        active(settings, SURVEY)


def test_a_module_that_does_not_say_its_outputs(modules):
    with pytest.raises(ConfigError, match=r"'undeclared' does not say what it returns: decorate it with @outputs"):
        modules("undeclared")
