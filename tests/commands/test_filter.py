"""fink filter: as the author of a filter uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from fink_broker import config
from fink_broker.commands import filter as command
from fink_broker.commands import filter_trial
from fink_broker.config import Settings
from fink_broker.connectors import parquet
from fink_broker.errors import ConfigError, UsageError
from fink_broker.monitoring import filters


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("FINK__HOME", str(tmp_path / "a home"))
    monkeypatch.chdir(tmp_path)
    return config.load()


@pytest.fixture
def here(home: Settings, spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The home, with the session of the other tests in place of one that starts and ends."""
    monkeypatch.setattr(filter_trial, "session", lambda *_: spark)
    monkeypatch.setattr(filter_trial, "_ENOUGH", 100)
    monkeypatch.setattr(SparkSession, "stop", lambda _: None)
    return home


def test_the_first_filter(here: Settings, capsys: pytest.CaptureFixture[str]):
    """What docs/filters.md says, up to the filter in its folder."""
    assert command.main(["new", "both_bands"]) == 0
    assert f"fink filter test both_bands.py\ncp both_bands.py {here.filter_folder}/" in capsys.readouterr().out
    assert command.main(["test", "both_bands.py"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "on the alerts that come with the broker; science modules off"
    assert lines[1].startswith("both_bands: 2 of 51 alerts pass, 3.92 %; ")
    assert lines[2:] == ["  ZTF18abcjaev 975188145315010269", "  ZTF18abctvau 975188145615015025"]
    # What is in the folder already may be tried again, in a new version.
    (here.filter_folder / "both_bands.py").write_text("def both_bands(jd):\n    return jd > 1\n")
    settings, survey = here, command.surveys.get("ztf")
    [new] = filter_trial.chosen(settings, survey, "both_bands.py")
    [old] = filter_trial.chosen(settings, survey, "both_bands")
    assert (new.inputs, old.inputs) == (("magpsf", "cmagpsf", "cfid"), ("jd",))


def test_what_fails_and_what_passes_too_much(here: Settings, capsys: pytest.CaptureFixture[str]):
    Path("mine.py").write_text(
        "def mine(candid):\n    if (candid % 2 == 0).any():\n        raise ValueError('even')\n    return candid > 0\n"
    )
    Path("test_mine.py").write_text("def test_mine():\n    assert 1 == 2\n\n\ntest_mine()\n")
    assert command.main(["test", "mine.py", "--json"]) == 1
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["test"].startswith("AssertionError (File ")
    [mine] = found["filters"]
    assert 0 < mine["failures"] == mine["alerts"] - mine["passed"]
    assert mine["reason"] == "ValueError: even"
    Path("some.toml").write_text('everything = "true"\nnothing = "false"\n')
    assert command.main(["test", "some.toml"]) == 0
    out = capsys.readouterr().out
    assert "everything: 51 of 51 alerts pass, 100.00 %; " in out
    assert "warning: more than 5 % of the stream: of a night of ten million alerts, 10,000,000" in out
    assert out.splitlines()[-1].startswith("nothing: 0 of 51 alerts pass, 0.00 %; ")


def test_alerts_of_a_night_and_of_files(here: Settings, spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(UsageError, match="there are no alerts of 20260322, in science or in the archive"):
        command.main(["test", "bright", "--night", "20260322"])
    templates, _ = filter_trial.found(spark, here, command.surveys.get("ztf"), filter_trial.Data())
    archived = here.archive_folder / "science" / "year=2026" / "month=03" / "day=22"
    templates.limit(7).write.parquet(str(archived))
    assert command.main(["test", "bright", "--night", "20260322"]) == 0
    assert "archived alerts of 20260322\nbright: " in (out := capsys.readouterr().out)
    assert " of 7 alerts" in out
    assert command.main(["test", "bright", "--data", str(archived), "--alerts", "5"]) == 0
    assert f"on {archived}\nbright: " in (out := capsys.readouterr().out)
    assert " of 5 alerts" in out


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("mine.py", "def mine(magpfs):\n    return magpfs > 1\n", r"'mine' \(.*mine\.py\): there is no column 'magpfs' .* mean 'magpsf'"),
        ("mine.toml", '\nx = "candidate.magpfs < 1"\n', r"'x' \(.*, line 2\) is not SQL .* no column 'magpfs', did you mean 'magpsf'"),
        ("mine.toml", 'x = "obectId = 1"\n', r"'x' \(.*, line 1\) is not SQL .* no column 'obectId', did you mean 'objectId'"),
        ("mine.toml", 'x = "candidate.magpsf"\n', r"'x' \(.*, line 1\) is not a condition: its type is "),
        (
            "bright.py",
            "def bright(magpsf):\n    return magpsf > 1\n",
            r"bright\.py: there is a filter 'bright' already, in the configuration",
        ),
    ],
)
def test_what_cannot_run_is_refused(here: Settings, name: str, text: str, message: str):
    Path(name).write_text(text)
    with pytest.raises(ConfigError, match=message):
        command.main(["test", name])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["new", "Not-a-name"], "'Not-a-name' is no name for a filter"),
        (["new"], "fink filter new takes a name"),
        (["test", "nowhere.py"], r"there is no file nowhere\.py"),
        (["enable", "bright"], "the filter 'bright' is not off; off are: none"),
        (["test", "bright", "--night", "20260322", "--data", "x"], "not allowed with"),
    ],
)
def test_what_does_not_do_is_said(home: Settings, arguments: list[str], message: str):
    with pytest.raises(UsageError, match=message):
        command.main(arguments)


def test_the_name_of_a_broken_filter_gives_what_is_wrong(home: Settings):
    home.filter_folder.mkdir(parents=True)
    (home.filter_folder / "torn.py").write_text("def torn(jd:\n")
    with pytest.raises(ConfigError, match="torn"):
        filter_trial.chosen(home, command.surveys.get("ztf"), "torn")
    with pytest.raises(ConfigError, match="unknown filter 'other'"):
        filter_trial.chosen(home, command.surveys.get("ztf"), "other")


def test_what_is_there_is_not_overwritten(home: Settings):
    Path("test_mine.py").touch()
    with pytest.raises(UsageError, match=r"test_mine\.py is there already"):
        command.main(["new", "mine"])
    assert not Path("mine.py").exists()


def test_the_list_says_who_is_on_off_broken_or_lacks_a_column(home: Settings, capsys: pytest.CaptureFixture[str]):
    detection = "candidate struct<jd: double, magpsf: float, ssdistnr: float, jdstarthist: double, ndethist: int>"
    schema = command.StructType.fromDDL(f"gcvs string, {detection}, prv_candidates array<struct<magpsf: float>>, night string")
    parquet.publish(home.science, schema)
    home.filter_folder.mkdir(parents=True)
    (home.filter_folder / "mine.toml").write_text('mine = "true"\nfailing = "true"\n')
    (home.filter_folder / "other.py").write_text("def other(:")
    note = home.filter_notes / "off" / "failing.json"
    note.parent.mkdir(parents=True)
    note.write_text('{"since": "2026-03-22T01:00:00+00:00", "reason": "no answer"}')
    assert command.main(["list", "--json"]) == 0
    found = {row["name"]: (row["on"], row["state"]) for row in json.loads(capsys.readouterr().out)["filters"]}
    assert found["bright"] == found["mine"] == (True, "on")
    assert found["rising"] == (False, "lacks there is no column 'cfid' in the alerts of ztf")
    assert found["failing"] == (False, "off since 2026-03-22T01:00:00+00:00: no answer (fink filter enable failing)")
    assert found["other.py"][1].startswith(f"broken: {home.filter_folder}/other.py, line 1, does not import: SyntaxError")
    assert command.main(["enable", "failing"]) == 0
    assert filters.switched_off(home) == {}
