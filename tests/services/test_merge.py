"""The nightly merge, over folders that a real file sink wrote."""

import itertools
import json
from dataclasses import replace
from datetime import datetime

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from fink_broker import surveys
from fink_broker.commands import merge as command
from fink_broker.config import Settings
from fink_broker.config.sections import Archive
from fink_broker.connectors import archive
from fink_broker.connectors.archive import Note
from fink_broker.connectors.ledger import Ledger
from fink_broker.connectors.parquet import committed
from fink_broker.errors import SumsDoNotMeet, UsageError
from fink_broker.services import generation
from fink_broker.services.merge import merge, pending
from tests.services.nights import JD, NIGHT, Sink, archived, candids, raw_alerts, science_alerts

ZTF = surveys.get("ztf")


def test_a_night_is_merged_with_the_columns_of_the_archive(spark, home, raw, science):
    raw.append(raw_alerts(spark, 0, 20).union(raw_alerts(spark, 20, 25, status="rejected")).union(raw_alerts(spark, 30, 33, "20260323")))
    science.append(science_alerts(spark, 0, 10).union(science_alerts(spark, 10, 14, "20260323")))
    assert merge(spark, home, ZTF, NIGHT) == {"raw": 20, "science": 10}
    folder = home.archive_folder / "science" / "year=2026" / "month=03" / "day=22"
    assert archive.files(home, "science") == list(folder.glob("*.parquet"))
    assert len(archive.files(home, "science")) == 1
    done = archived(spark, home, "science")
    assert candids(done) == list(range(10))
    assert sorted(done.columns) == ["candid", "candidate", "day", "gcvs", "month", "objectId", "pixel128", "timestamp", "tracklet", "year"]
    first = done.where("candid = 0").first()
    assert (first["timestamp"], first["gcvs"]) == (datetime(2026, 3, 22, 12, 10, 38, 3540), "RR")
    names = {row["candid"]: row["tracklet"] for row in done.collect()}
    assert names == {candid: "TRCK_20260322_121038_00" if candid < 6 else "" for candid in range(10)}
    assert (first["year"], first["month"], first["day"], first["candidate"]["jd"]) == (2026, 3, 22, JD)
    done = archived(spark, home, "raw")
    assert sorted(done.columns) == ["candid", "candidate", "day", "month", "objectId", "pixel128", "timestamp", "year"]
    assert candids(done) == list(range(20))


def test_merging_again_takes_late_alerts_in_and_doubles_nothing(spark, home, science):
    science.append(science_alerts(spark, 0, 10))
    for _ in range(2):
        assert merge(spark, home, ZTF, NIGHT) == {"raw": 0, "science": 10}
        assert candids(archived(spark, home, "science")) == list(range(10))
    science.append(science_alerts(spark, 10, 15))
    assert merge(spark, home, ZTF, NIGHT)["science"] == 15
    assert candids(archived(spark, home, "science")) == list(range(15))
    archive.tidy(home)
    assert [path.name for path in (home.archive_folder / "science/year=2026/month=03").iterdir()] == ["day=22"]


def test_a_merge_that_is_killed_leaves_the_old_night(spark, home, science, monkeypatch):
    science.append(science_alerts(spark, 0, 10))
    merge(spark, home, ZTF, NIGHT)
    science.append(science_alerts(spark, 10, 15))

    def killed(*arguments, **options):
        raise KeyboardInterrupt

    for place, step in ((generation, "in_order"), (generation.archive, "digest"), (Note, "save"), (generation.archive, "put")):
        with monkeypatch.context() as patched:
            patched.setattr(place, step, killed)
            with pytest.raises(KeyboardInterrupt):
                merge(spark, home, ZTF, NIGHT)
        assert candids(archived(spark, home, "science")) == list(range(10)), step
        assert pending(home) == [NIGHT]
    assert merge(spark, home, ZTF, NIGHT)["science"] == 15
    assert candids(archived(spark, home, "science")) == list(range(15))


def test_other_ids_than_were_read_do_not_replace_the_archive(spark, home, science, monkeypatch):
    science.append(science_alerts(spark, 0, 10))
    merge(spark, home, ZTF, NIGHT)
    science.append(science_alerts(spark, 10, 15))
    with monkeypatch.context() as patched:
        patched.setattr(generation, "in_order", lambda alerts, *_: alerts.withColumn("candid", F.expr("candid div 2 * 2")))
        with pytest.raises(SumsDoNotMeet, match="15 alerts with other ids were written of 15"):
            merge(spark, home, ZTF, NIGHT)
    assert candids(archived(spark, home, "science")) == list(range(10))


def test_files_lie_in_the_order_of_the_sky_so_that_readers_pass_over_most_of_a_night(spark, home, science):
    settings = home.model_copy(update={"archive": Archive(file_mb=1)})
    scattered = (
        "named_struct('jd', 2461122D + id, 'ra', pmod(id * 137.5, 360), 'dec', degrees(asin(pmod(id * 0.618D, 2) - 1))) as candidate"
    )
    noise = "unhex(replace(concat(uuid(), uuid(), uuid(), uuid()), '-', '')) as noise"
    alerts = spark.range(0, 60_000, 1, 3).selectExpr(
        "id as candid", "'ZTF' || id div 3 as objectId", scattered, f"'{NIGHT}' as night", noise
    )
    science.append(alerts)
    merge(spark, settings, replace(ZTF, on_tracks=None), NIGHT)
    files = archive.files(home, "science")
    tables = [pq.read_table(file, columns=["pixel128", "objectId", "candid"]) for file in files]
    rows = [list(zip(*(column.to_pylist() for column in table.columns[:2]), strict=True)) for table in tables]
    assert all(one == sorted(one) for one in rows)
    spans = sorted((one[0][0], one[-1][0]) for one in rows)
    assert len(spans) >= 3
    assert all(before[1] < after[0] for before, after in itertools.pairwise(spans))
    # An object is looked for in the row groups alone whose statistics have its pixel and its name.
    pixel, name = rows[1][100]
    wanted = (ds.field("pixel128") == pixel) & (ds.field("objectId") == name)
    night = ds.dataset([str(file) for file in files])
    read = [group for fragment in night.get_fragments(wanted) for part in fragment.split_by_row_group(wanted) for group in part.row_groups]
    assert len(read) == 1
    assert len(night.to_table(filter=wanted)) == sum(one.count((pixel, name)) for one in rows) > 0
    nowhere = ds.field("pixel128") == -1
    assert not [part for fragment in night.get_fragments() for part in fragment.split_by_row_group(nowhere)]


def test_late_alerts_are_added_to_a_night_that_has_left_the_logs(spark, home, science):
    science.append(science_alerts(spark, 0, 10))
    merge(spark, home, ZTF, NIGHT)
    key, data = f"science/night={NIGHT}", home.science.parent
    until = max(file.closed for file in committed(home.science))
    Ledger(data, {key: until}, {NIGHT: {"raw2science": {"taken": 12, "given": 10, "dropped": {"cut": 2}}}}).save()
    assert pending(home) == []
    assert merge(spark, home, ZTF, NIGHT)["science"] == 10
    science.append(science_alerts(spark, 10, 15, extra=("'RR' as gcvs", "3 as nalerthist")))
    assert pending(home) == [NIGHT]
    for _ in range(2):
        assert merge(spark, home, ZTF, NIGHT)["science"] == 15
        assert candids(archived(spark, home, "science")) == list(range(15))
    assert pending(home) == []
    # Its alerts are nowhere else.
    (home.archive_folder / "science/year=2026/month=03/day=22").rename(home.root / "lost")
    with pytest.raises(SumsDoNotMeet, match=r"should hold 10 alerts that are nowhere else, but has 0: put it back"):
        merge(spark, home, ZTF, NIGHT)


def test_files_that_the_log_does_not_name_are_not_read(spark, home, science):
    science.append(science_alerts(spark, 0, 10))
    (home.science / f"night={NIGHT}" / "part-of-a-batch-that-was-killed.parquet").write_bytes(b"PAR1 half a file")
    assert merge(spark, home, ZTF, NIGHT)["science"] == 10


def test_modules_may_change_during_the_night(spark, home, science):
    science.append(science_alerts(spark, 0, 2))
    science.append(science_alerts(spark, 2, 4, extra=("3 as nalerthist",)))
    science.append(science_alerts(spark, 4, 6, extra=("1 as roid",)))
    assert merge(spark, home, ZTF, NIGHT)["science"] == 6
    rows = archived(spark, home, "science").orderBy("candid").collect()
    values = [(row["gcvs"], row["nalerthist"], row["roid"]) for row in rows]
    assert values == [("RR", None, None)] * 2 + [(None, 3, None)] * 2 + [(None, None, 1)] * 2


def test_large_nights_are_split(spark, home, science):
    settings = home.model_copy(update={"archive": Archive(file_mb=1)})
    noise = "unhex(replace(concat(uuid(), uuid(), uuid(), uuid()), '-', '')) as noise"
    science.append(science_alerts(spark, 0, 60_000, extra=(noise,)))
    assert merge(spark, settings, ZTF, NIGHT)["science"] == 60_000
    files = list((home.archive_folder / "science").rglob("*.parquet"))
    size = sum(file.stat().st_size for file in files)
    assert 3 <= len(files) <= 2 * size / 1e6
    assert max(file.stat().st_size for file in files) < 2e6


def test_a_smaller_source_does_not_replace_the_archive(spark, home, science, tmp_path):
    science.append(science_alerts(spark, 0, 10))
    merge(spark, home, ZTF, NIGHT)
    home.science.rename(home.science.with_name("lost"))
    Sink(spark, home.science, tmp_path / "again", ["night"]).append(science_alerts(spark, 0, 4))
    with pytest.raises(SumsDoNotMeet, match=r"holds 10 alerts.* only 4"):
        merge(spark, home, ZTF, NIGHT)
    assert candids(archived(spark, home, "science")) == list(range(10))


def test_pending_nights_are_over_and_have_new_files(spark, home, science):
    assert pending(home) == []
    science.append(science_alerts(spark, 0, 4).union(science_alerts(spark, 4, 8, "20260320")))
    assert pending(home, before="20260322") == ["20260320"]
    assert pending(home) == ["20260320", "20260322"]
    merge(spark, home, ZTF, "20260320")
    assert pending(home) == ["20260322"]
    science.append(science_alerts(spark, 8, 9, "20260320"))
    assert pending(home) == ["20260320", "20260322"]


@pytest.mark.parametrize("night", ["2026322", "20260230", "today", "../../etc"])
def test_a_night_is_a_date(spark, home, night):
    with pytest.raises(UsageError, match="YYYYMMDD"):
        merge(spark, home, ZTF, night)


@pytest.fixture
def here(spark, home, monkeypatch, tmp_path) -> Settings:
    """The command runs in this process, with the tests' session."""
    conf = tmp_path / "fink.conf"
    conf.write_text(f"home = {json.dumps(str(home.home))}\n", encoding="utf-8")
    monkeypatch.setenv("FINK_CONF", str(conf))
    monkeypatch.setattr(command, "session", lambda settings, name: spark)
    monkeypatch.setattr(type(spark), "stop", lambda self: None)
    return home


def test_the_command_merges_what_is_pending(spark, here, science, capsys):
    assert command.main([]) == 0
    assert capsys.readouterr().out == "nothing to merge\n"
    science.append(science_alerts(spark, 0, 4).union(science_alerts(spark, 4, 9, "20260320")))
    assert command.main(["--json"]) == 0
    nights = {"20260320": {"raw": 0, "science": 5}, NIGHT: {"raw": 0, "science": 4}}
    assert json.loads(capsys.readouterr().out) == {"ok": True, "nights": nights, "left": []}
    assert command.main(["--night", NIGHT]) == 0
    assert capsys.readouterr().out == f"{NIGHT}: 0 raw alerts, 4 science alerts\n"
