"""Science anew: over a night that a real file sink wrote, with modules of one's own."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from pyspark.sql.types import StringType, StructField, StructType

from fink_broker import surveys
from fink_broker.commands import reprocess as command
from fink_broker.config import Settings
from fink_broker.connectors import archive, parquet
from fink_broker.errors import SumsDoNotMeet, UsageError
from fink_broker.services.merge import merge, pending
from fink_broker.services.past import alerts as past_alerts
from fink_broker.services.reprocess import reprocess
from tests.services.nights import NIGHT, archived, candids, science_alerts

ZTF = surveys.get("ztf")
THEN = ("timestamp'2026-03-22 12:15:00' as brokerEndProcessTimestamp", "'1.0' as fink_science_version")
VALUES = (*THEN, "-1L as double", "'before' as label", "7 as gone")
# Of the clock of another machine: what comes after must be later nevertheless.
AHEAD = (VALUES[0].replace("2026-03-22", "2999-01-01"), *VALUES[1:])

MODULES = """
from fink_broker.science import outputs

@outputs(double="bigint")
def doubled(candid):
    if (candid == 3).any():
        raise ValueError("three")
    return 2 * candid

@outputs(label="string")
def labelled(candid):
    return candid.astype(str)
"""


@pytest.fixture
def configured(home, tmp_path: Path) -> Settings:
    (tmp_path / "own.py").write_text(MODULES, encoding="utf-8")
    own = [{"name": name, "function": f"{tmp_path / 'own.py'}:{name}"} for name in ("doubled", "labelled")]
    settings = Settings.model_validate(home.model_dump() | {"science": {"modules": own}, "raw2science": {"modules": []}})
    parquet.publish(settings.raw, StructType([StructField(name, StringType()) for name in ("candid", "objectId", "candidate")]))
    return settings


def test_a_night_is_processed_anew_and_late_alerts_are_added_to_it(spark, configured, science, monkeypatch, capsys):
    home = configured
    science.append(science_alerts(spark, 0, 9, extra=VALUES).union(science_alerts(spark, 9, 10, extra=AHEAD)))
    merge(spark, home, ZTF, NIGHT)
    before = {row["candid"]: row for row in archived(spark, home, "science").collect()}

    # Killed when all is written, before or after it was compared, it leaves the night as it was; the other steps are those of a merge.
    digest, calls = archive.digest, iter([False, True])

    def killed(*arguments, **options):
        raise KeyboardInterrupt

    for step, instead in (("digest", lambda *given: killed() if next(calls) else digest(*given)), ("put", killed)):
        with monkeypatch.context() as patched:
            patched.setattr(archive, step, instead)
            with pytest.raises(KeyboardInterrupt):
                reprocess(spark, home, ZTF, NIGHT)
        assert {row["candid"]: row for row in archived(spark, home, "science").collect()} == before, step

    done = reprocess(spark, home, ZTF, NIGHT)
    assert (done.alerts, list(done.modules), done.errors) == (10, ["doubled", "labelled"], 1)
    assert "three" in done.error
    rows = {row["candid"]: row for row in archived(spark, home, "science").collect()}
    assert sorted(rows) == list(range(10))
    for candid, row in rows.items():
        assert (row["double"], row["label"]) == (None if candid == 3 else 2 * candid, str(candid))
        old = before[candid]
        assert all(row[name] == old[name] for name in ("candidate", "objectId", "timestamp", "tracklet", "pixel128"))
        assert row["brokerEndProcessTimestamp"] > old["brokerEndProcessTimestamp"]
        assert row["fink_science_version"] == done.version != old["fink_science_version"]
    assert rows[9]["brokerEndProcessTimestamp"] == datetime(2999, 1, 1, 12, 15, 0, 1000)
    assert "gone" not in rows[0]
    assert "gcvs" in rows[0], "Fink's columns are there with their defaults"

    # The night's files are still in science: their values do not come back, and what comes late does.
    science.append(science_alerts(spark, 10, 15, extra=VALUES))
    assert pending(home) == [NIGHT]
    assert merge(spark, home, ZTF, NIGHT)["science"] == 15
    assert pending(home) == []
    labels = {row["candid"]: row["label"] for row in archived(spark, home, "science").collect()}
    assert labels == {candid: rows[candid]["label"] if candid < 10 else "before" for candid in range(15)}
    assert {row["candid"]: row["label"] for row in past_alerts(spark, home, replace(ZTF, past_columns={})).collect()} == labels

    monkeypatch.setattr(command.config, "load", lambda conf: home)
    monkeypatch.setattr(command, "session", lambda settings, name: spark)
    monkeypatch.setattr(type(spark), "stop", lambda self: None)
    assert command.main(["--night", NIGHT, "--modules", "doubled"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"{NIGHT}: 15 science alerts anew ({done.version}), by doubled"
    assert out[1].startswith("modules raised for 1 of them, such as doubled: ")
    after = {row["candid"]: row for row in archived(spark, home, "science").collect()}
    assert {candid: row["label"] for candid, row in after.items()} == labels
    assert after[12]["double"] == 24


def test_what_is_not_there_is_said(spark, configured, science):
    with pytest.raises(UsageError, match=r"there are no science alerts of 20260322"):
        reprocess(spark, configured, ZTF, NIGHT)
    with pytest.raises(UsageError, match=r"'tripled' is not a science module that is configured; those are: doubled, labelled"):
        reprocess(spark, configured, ZTF, NIGHT, ["tripled"])
    science.append(science_alerts(spark, 0, 4, extra=VALUES).union(science_alerts(spark, 4, 8, extra=VALUES)))
    merge(spark, configured, ZTF, NIGHT)
    folder = archive.folder(configured, "science", NIGHT)
    archive.Note(archive.note(folder).files, 9, "2026-03-23T00:00:00Z").save(folder)
    with pytest.raises(SumsDoNotMeet, match=r"should hold 9 alerts that are nowhere else, but has 8"):
        reprocess(spark, configured, ZTF, NIGHT)
    assert candids(archived(spark, configured, "science")) == list(range(8))
