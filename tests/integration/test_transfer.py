"""fink transfer on the real Kafka: what users read is what the nights hold, each alert once, field by field."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from datasim import TEMPLATES
from fink_broker import config, surveys
from fink_broker.commands import transfer as command
from fink_broker.config import Settings
from fink_broker.connectors import kafka, parquet
from fink_broker.connectors.security import Connection
from fink_broker.errors import FinkError, SumsDoNotMeet, UsageError
from fink_broker.infra.processes import Running
from fink_broker.services import transfer
from fink_broker.services.merge import merge
from fink_broker.transforms.science import with_science
from tests import fink_client
from tests.compare import as_sent, differences

pytestmark = pytest.mark.integration

ZTF = surveys.get("ztf")
NIGHT, NEXT = "20260322", "20260323"
# A few alerts may be seen by partners only, and an entry of the history of all others.
PUBLIC = "candidate.candid % 10 != 3"


def science(spark: SparkSession) -> DataFrame:
    """The templates as science alerts of two nights: the first 40, and the others."""
    alerts = with_science(spark.read.parquet(str(TEMPLATES)), [], ZTF)
    numbered = alerts.withColumn("number", F.expr("row_number() over (order by candid)"))
    stamped = numbered.withColumn("brokerIngestTimestamp", F.lit("2026-03-22 01:02:03.5").cast("timestamp"))
    return stamped.withColumn("night", F.when(F.col("number") <= 40, NIGHT).otherwise(NEXT))


class Home:
    """A broker's HOME whose first night is half merged, with copies of alerts wherever they may be."""

    def __init__(self, spark: SparkSession, folder: Path, address: str) -> None:
        self.spark, self.server, self.conf = spark, Connection(address), folder / "fink.conf"
        ends = f'[kafka.output]\nservers = "{address}"\n[distribution]\npublic = "{PUBLIC}"\n'
        self.conf.write_text(f'home = "{folder}/the home"\n{ends}[[audiences]]\nname = "all"\nrule = ""\n', encoding="utf-8")
        self.settings: Settings = config.load(str(self.conf), {})
        every = science(spark).cache()
        self._columns, self._folder = every.drop("number"), folder
        self.append(every.where("number <= 25"))
        merge(spark, self.settings, ZTF, NIGHT)
        # Two that are in the archive come again, and one of these twice.
        self.append(every.where("number > 25 or number in (1, 2)").union(every.where("number = 2")))
        self.alerts = {row["candid"]: row.asDict(recursive=True) for row in every.drop("number").collect()}
        every.unpersist()

    def append(self, alerts: DataFrame) -> None:
        alerts.drop("number").write.mode("append").parquet(str(self._folder / "source"))
        stream = self.spark.readStream.schema(self._columns.schema).parquet(str(self._folder / "source"))
        sink = parquet.sink(stream, self.settings.science, self._folder / "writer", ["night"])
        sink.trigger(availableNow=True).start().awaitTermination()

    def of(self, *nights: str, public: bool = True) -> dict[int, dict[str, Any]]:
        """Alerts of nights by id, as they may be seen."""
        chosen = {candid: row for candid, row in self.alerts.items() if row["night"] in nights}
        return {candid: row for candid, row in chosen.items() if candid % 10 != 3} if public else chosen

    def read(self, topic: str) -> dict[int, dict[str, Any]]:
        """The alerts on a topic by id: as fink-client decodes them, by the schema of the schema's topic, which is the key of each too."""
        schemas = {message.key() for message in kafka.read_all(self.server, f"{topic}_schema")}
        found, messages = {}, list(kafka.read_all(self.server, topic))
        for message in messages:
            assert {message.key()} == schemas
            alert: Any = fastavro.schemaless_reader(io.BytesIO(message.value()), fastavro.parse_schema(json.loads(message.key())), None)
            assert message.headers() == [("fink-id", str(alert["candid"]).encode())]
            found[alert["candid"]] = alert
        assert len(found) == len(messages)
        return found


@pytest.fixture(scope="module")
def home(kafka_server: Running, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Home:
    assert kafka_server.address is not None
    return Home(spark, tmp_path_factory.mktemp("transfer"), kafka_server.address)


@pytest.fixture
def run(home: Home, spark: SparkSession, monkeypatch: pytest.MonkeyPatch, capsys) -> Callable[..., dict[str, Any]]:
    """The command in this process, with the tests' session; what it says as JSON."""
    monkeypatch.setattr(command, "session", lambda settings, name: spark)
    monkeypatch.setattr(type(spark), "stop", lambda self: None)

    def one(*arguments: str, code: int = 0) -> dict[str, Any]:
        assert command.main([*arguments, "--json", "-c", str(home.conf)]) == code
        found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return found

    return one


def expected(row: dict[str, Any]) -> dict[str, Any]:
    """An alert as it is sent to the public, but for what only past alerts have."""
    history = [entry for entry in row["prv_candidates"] or () if entry["candid"] is not None and entry["candid"] % 10 != 3]
    return as_sent(row) | {"prv_candidates": history if row["prv_candidates"] is not None else None}


def unlike(row: dict[str, Any], alert: dict[str, Any]) -> list[str]:
    assert alert["finkclass"] == "Unknown"
    assert alert["timestamp"].startswith("20")
    only_past = ("finkclass", "timestamp", "tracklet", "pixel128")
    return differences(expected(row), {name: value for name, value in alert.items() if name not in only_past})


def test_a_night_goes_out_whole_each_alert_once(home: Home, run: Callable[..., dict[str, Any]], tmp_path: Path):
    said = run("--night", NIGHT)
    alerts = home.of(NIGHT)
    assert 30 < len(alerts) < 40
    counts = dict.fromkeys(("announced", "arrived", "alerts"), len(alerts))
    assert said == {"ok": True, "to": said["to"], **counts, "failures": {}}
    assert said["to"].startswith("ftransfer_ztf_20")
    found = home.read(said["to"])
    assert set(found) == set(alerts)
    assert [line for candid, alert in found.items() for line in unlike(alerts[candid], alert)] == []
    # Some entries of histories were for others: else this would prove nothing.
    assert any(len(found[candid]["prv_candidates"] or ()) < len(row["prv_candidates"] or ()) for candid, row in alerts.items())
    # What an unmodified fink-client stores, which takes a schema from the schema's topic each time that it runs.
    assert kafka.message_counts(home.server, [f"{said['to']}_schema"]) == {f"{said['to']}_schema": 1_000}
    fink_client.register(tmp_path, "me", home.server.servers)
    stored = fink_client.transfer(tmp_path, said["to"])
    assert sorted(row["candid"] for row in stored) == sorted(alerts)
    assert [line for row in stored for line in unlike(alerts[row["candid"]], row)] == []


def test_what_was_asked_for_of_several_nights(home: Home, run: Callable[..., dict[str, Any]]):
    wanted = ["--where", "candidate.magpsf < 19", "--filter", "bright", "--filter", "solar_system"]
    said = run("--night", NIGHT, "--to", NEXT, *wanted, "--columns", "candidate.magpsf,cjd", "--audience", "all")
    every = home.of(NIGHT, NEXT, public=False)
    found = home.read(said["to"])
    assert 0 < len(found) == said["announced"] < len(every) == 51
    # Those among them that are not for the public.
    assert set(found) - set(home.of(NIGHT, NEXT))
    for candid, alert in found.items():
        row = every[candid]
        assert row["candidate"]["magpsf"] < 19
        curve = [*(entry["jd"] for entry in row["prv_candidates"] or ()), row["candidate"]["jd"]]
        assert alert == {"objectId": row["objectId"], "candid": candid, "magpsf": row["candidate"]["magpsf"], "cjd": curve}


def test_a_table_of_ones_own(home: Home, run: Callable[..., dict[str, Any]], tmp_path: Path):
    rows = list(home.of(NEXT).values())[:4]
    places = {name: [row["candidate"][name] for row in rows] for name in ("ra", "dec")}
    table = pa.table({"RA": [*places["ra"], 0.0], "Dec": [*places["dec"], -89.0], "label": ["a", "b", "c", "d", "e"]})
    pa.csv.write_csv(table, tmp_path / "mine.csv")
    said = run("--crossmatch", str(tmp_path / "mine.csv"), "--radius", "2")
    assert said["to"].startswith("fxmatch_ztf_20")
    found = home.read(said["to"])
    assert {row["candid"] for row in rows} <= set(found)
    labels = dict(zip((row["candid"] for row in rows), "abcd", strict=True))
    assert {candid: found[candid]["label"] for candid in labels} == labels
    assert all(alert["separation_arcsec"] < 2 for alert in found.values())
    assert not list((home.settings.root / "tmp" / "transfer").iterdir())
    # By the objects' names, into a file.
    pq.write_table(pa.table({"who": [row["objectId"] for row in rows], "n": [1, 2, 3, 4]}), tmp_path / "names.parquet")
    target = tmp_path / "out.parquet"
    said = run("--crossmatch", str(tmp_path / "names.parquet"), "--ids", "who", "--night", NEXT, "--output", str(target))
    stored = pq.read_table(target).to_pylist()
    objects = {row["objectId"] for row in rows}
    assert sorted(row["candid"] for row in stored) == sorted(row["candid"] for row in home.of(NEXT).values() if row["objectId"] in objects)
    assert said["to"] == str(target)
    assert all(row["who"] == row["objectId"] for row in stored)


def test_what_is_not_there_or_does_not_arrive(home: Home, run: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch):
    assert run("--night", NIGHT, "--where", "candidate.magpsf < -20")["to"] is None
    with pytest.raises(UsageError, match=f"no science alerts of these nights; there are: {NIGHT} to {NEXT}"):
        run("--night", "20250101")
    with pytest.raises(UsageError, match="there is no audience 'x'; there are: public, all"):
        run("--night", NIGHT, "--audience", "x")
    real = transfer.messages
    monkeypatch.setattr(transfer, "messages", lambda *given: real(*given).limit(3))
    said = run("--night", NEXT, "--content", "light", code=1)
    assert (said["ok"], said["arrived"]) == (False, 3)
    before = set(kafka.partitions(home.server, "ftransfer.*"))
    monkeypatch.setattr(transfer, "messages", lambda *given: real(*given).withColumn("partition", F.raise_error(F.lit("no")).cast("int")))
    with pytest.raises(FinkError, match="is deleted again"):
        run("--night", NEXT, "--content", "light")
    assert set(kafka.partitions(home.server, "ftransfer.*")) == before
    day = home.settings.archive_folder / "science/year=2026/month=03/day=22"
    [part] = day.glob("*.parquet")
    part.rename(day / "_away")
    with pytest.raises(SumsDoNotMeet, match="should hold 25 alerts but has 0"):
        run("--night", NIGHT)
    (day / "_away").rename(part)


def test_topics_whose_messages_are_gone_are_deleted(home: Home):
    old, young = "ftransfer_ztf_2020-01-01_000001", transfer.topic_name("fxmatch", ZTF)
    kafka.make_topics(home.server, {old: 1, f"{old}_schema": 1, young: 1})
    transfer.forget(home.server, ZTF, 24)
    left = set(kafka.partitions(home.server, "f(transfer|xmatch)_.*"))
    assert young in left
    assert not {old, f"{old}_schema"} & left


def test_files_that_a_merge_has_replaced_are_told(spark: SparkSession, tmp_path: Path):
    spark.range(3).write.parquet(str(tmp_path / "night"))
    rows = spark.read.parquet(str(tmp_path / "night"))
    for file in (tmp_path / "night").glob("*.parquet"):
        file.unlink()
    with pytest.raises(FinkError, match=r"files of the night have changed meanwhile.*start it again"):
        transfer.count(rows.where("id > 0"))
