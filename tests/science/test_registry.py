"""Which modules there are, which run, and in which order."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from fink_broker import __version__
from fink_broker.config import CHECKOUT, Settings
from fink_broker.config.own import Science, ScienceModule
from fink_broker.config.sections import Raw2science
from fink_broker.errors import ConfigError
from fink_broker.infra import environments
from fink_broker.plugins import Reference
from fink_broker.science.describe import Description
from fink_broker.science.module import Module
from fink_broker.science.registry import _outputs, active, community, known, ordered
from fink_broker.services.raw2science import science_version
from fink_broker.surveys import get

SURVEY = get("ztf")


def module(name: str, inputs: str = "", outputs: str | None = None) -> Module:
    made = dict.fromkeys((name if outputs is None else outputs).split(), "double")
    return Module(name, Reference("m", name), tuple(inputs.split()), made)


def settings(*modules: dict[str, Any], use: tuple[str, ...] = (), **science: Any) -> Settings:
    entries = [ScienceModule.model_validate(one) for one in modules]
    return Settings(raw2science=Raw2science(modules=list(use)), science=Science(modules=entries, **science))


def test_each_comes_after_those_whose_columns_it_takes():
    snn, roid, match, own = (
        module("snn", "cjd roid cdsxmatch"),
        module("roid", "cjd"),
        module("match", "ra dec", "cdsxmatch"),
        module("own", "snn ra"),
    )
    assert [one.name for one in ordered([own, snn, match, roid])] == ["match", "roid", "snn", "own"]
    # What does not depend on others stays as the configuration has it.
    assert [one.name for one in ordered([match, roid, module("z"), module("a")])] == ["match", "roid", "z", "a"]


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        (
            [module("a", "c"), module("b", "a"), module("c", "b")],
            r"wait for each other's columns: (a -> c -> b -> a|b -> a -> c -> b|c -> b -> a -> c)",
        ),
        ([module("a", "a")], "wait for each other's columns: a -> a"),
        ([module("a", "", "x y"), module("b", "", "y")], "'a' and 'b' both make the column 'y': switch one off"),
    ],
)
def test_what_cannot_be_put_in_order_is_said(modules: list[Module], message: str):
    with pytest.raises(ConfigError, match=message):
        ordered(modules)


def test_an_entry_adds_a_module_or_changes_one(tmp_path: Path):
    file = tmp_path / "mine.py"
    file.write_text("def other(magpsf, scale):\n    return magpsf * scale\n")
    mine = {"name": "mine", "function": f"{file}:other", "constants": {"scale": 2.0}, "outputs": {"scaled": "double"}, "timeout_seconds": 5}
    found = active(settings(mine, {"name": "gcvs", "timeout_seconds": 7}, {"name": "nalerthist", "on": False}, use=("nalerthist",)), SURVEY)
    assert [one.name for one in found] == ["mine", "gcvs"]
    assert (found[0].inputs, found[0].constants, found[0].outputs, found[0].timeout_s) == (
        ("magpsf",),
        {"scale": 2.0},
        {"scaled": "double"},
        5,
    )
    assert (found[1].inputs, found[1].outputs, found[1].timeout_s) == (("ra", "dec"), {"gcvs": "string"}, 7)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"constants": {"scal": 1}}, r"takes \(magpsf, scale\): no constant 'scal'"),
        ({"columns": ["magpsf"]}, r"takes \(magpsf, scale\): 1 columns do not fit"),
        ({"columns": ["magpsf", "fid", "jd"]}, "3 columns do not fit"),
        ({}, r"does not say what it returns: decorate it with @outputs\(mine=\"double\"\), or add outputs"),
    ],
)
def test_what_does_not_fit_the_function_is_said(tmp_path: Path, entry: dict[str, Any], message: str):
    file = tmp_path / "mine.py"
    file.write_text("def mine(magpsf, scale):\n    return magpsf * scale\n")
    with pytest.raises(ConfigError, match=message):
        active(settings({"name": "mine", "function": str(file)} | entry), SURVEY)


@pytest.mark.parametrize(
    ("entry", "found", "outputs"),
    [
        ({"name": "fink.vsx"}, Description(type="string"), {"vsx": "string"}),
        ({"name": "rate"}, Description(type="struct<a:int,b:double>", parts={"a": "int", "b": "double"}), {"a": "int", "b": "double"}),
        ({"name": "m"}, Description(type="map<string,float>", parts={"*": "float"}), {"m": "map<string,float>"}),
        (
            {"name": "m", "pick": {"x": "flux", "_all": "*"}},
            Description(type="map<string,float>", parts={"*": "float"}),
            {"x": "float", "_all": "map<string,float>"},
        ),
        ({"name": "m", "outputs": {"y": "int"}}, Description(type="string", outputs={"z": "int"}), {"y": "int"}),
        ({"name": "m"}, Description(outputs={"z": "int"}), {"z": "int"}),
    ],
)
def test_types_come_from_the_entry_or_the_function(entry: dict[str, Any], found: Description, outputs: dict[str, str]):
    assert _outputs(ScienceModule.model_validate(entry), found) == outputs


def test_offline_and_versions(tmp_path: Path):
    file = tmp_path / "mine.py"
    file.write_text("def mine(ra):\n    return ra\n")
    entry = {"name": "mine", "function": str(file), "outputs": {"mine": "string"}, "remote": True, "away": "Fail"}
    online, offline = (active(settings(entry, offline=value), SURVEY) for value in (False, True))
    assert [one.offline for one in (*online, *offline)] == [False, True]
    assert (science_version([]), science_version(online), science_version(offline)) == ("no-science", __version__, f"{__version__}-offline")
    packaged = [Module("m", Reference("p.q", "f"), (), {}, version="7.4.0"), *online]
    assert science_version(packaged) == "7.4.0"


@pytest.mark.parametrize("survey", ["ztf", "rubin"])
def test_the_communitys_modules_are_data_that_fits_together(survey: str):
    entries = community(get(survey))
    assert len(entries) > 10
    assert all(name == entry.name and name.startswith("fink.") for name, entry in entries.items())
    assert all(entry.away is not None for entry in entries.values() if entry.remote)
    assert {*entries} <= {*known(settings(), get(survey))}


def test_without_their_environment_it_is_said_how_to_get_it(tmp_path: Path):
    with pytest.raises(
        ConfigError,
        match=r"'fink.vsx': fink_science.* does not import: .*: fink science install ztf, then \[science\] environment = \"ztf\"",
    ):
        active(settings(use=("fink.vsx",)), SURVEY)
    nowhere = settings(use=("fink.vsx",), environment="ztf").model_copy(update={"home": tmp_path})
    with pytest.raises(ConfigError, match=r"there is no environment 'ztf' in .*: fink science install ztf"):
        active(nowhere, SURVEY)


@pytest.fixture
def environment(tmp_path: Path) -> Settings:
    """An environment with a package that the broker's own does not have."""
    bin_, packages = tmp_path / "envs" / "tiny" / "bin", tmp_path / "envs" / "tiny" / "packages"
    bin_.mkdir(parents=True)
    packages.mkdir()
    (packages / "elsewhere.py").write_text(
        "from pyspark.sql.functions import pandas_udf, udf\nfrom pyspark.sql.types import *\nimport pandas as pd\nprint('hello')\n"
        "@pandas_udf(MapType(StringType(), FloatType()))\ndef batch(x: pd.Series, y: pd.Series = None) -> pd.Series:\n    return x\n"
        "row = udf(lambda x: x, IntegerType())\n"
    )
    python = bin_ / "python"
    python.write_text(
        f'#!/bin/sh\necho once >>"{tmp_path}/started"\nPYTHONPATH="$PYTHONPATH:{packages}" exec {shlex.quote(sys.executable)} "$@"\n'
    )
    python.chmod(0o755)
    entries = [{"name": "a", "function": "elsewhere:batch"}, {"name": "b", "function": "elsewhere:row", "columns": ["fid"]}]
    return settings(*entries, environment="tiny").model_copy(update={"home": tmp_path})


def test_modules_of_another_environment_are_described_there_once(environment: Settings, tmp_path: Path):
    for _ in range(2):
        a, b = active(environment, SURVEY)
    assert (a.inputs, a.outputs, a.by_row) == (("x", "y"), {"a": "map<string,float>"}, False)
    assert (b.inputs, b.outputs, b.by_row) == (("fid",), {"b": "int"}, True)
    assert (tmp_path / "started").read_text().splitlines() == ["once"]
    assert "elsewhere" not in sys.modules


def test_no_password_goes_to_another_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FINK_KAFKA__INPUT__PASSWORD", "secret")
    assert "secret" not in environments.variables().values()
    assert str(CHECKOUT) in environments.variables()["PYTHONPATH"].split(os.pathsep)


def test_lists_of_packages_are_pinned():
    for name in environments.names():
        lines = [line for line in environments.wanted_packages(name).splitlines() if not line.startswith("#")]
        packages = [line.partition("==")[0].strip() for line in lines]
        assert all("==" in line for line in lines)
        assert len(packages) == len(set(packages))
        assert {"fink-science", "numpy", "pydantic"} <= set(packages)
        assert "pyspark" not in packages
