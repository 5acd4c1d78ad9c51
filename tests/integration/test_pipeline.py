"""What goes in comes out: the services as a user starts them, with the real Kafka, read back by other libraries."""

from __future__ import annotations

import io
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastavro
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from datasim import garbage
from datasim.packet import container, writer_schema
from fink_broker import surveys
from fink_broker.config import Settings
from fink_broker.connectors import archive, kafka, parquet
from fink_broker.connectors.security import Connection
from fink_broker.connectors.sparklog import entries, newest
from fink_broker.monitoring.status import status
from fink_broker.services import simulator
from fink_broker.services.merge import merge
from fink_broker.services.prune import prune
from tests import fink_client
from tests.compare import as_sent, differences
from tests.integration.conftest import Broker, kill_tree

pytestmark = pytest.mark.integration

NIGHT = "20260322"
SERVICES = ("stream2raw", "raw2science", "distribution")
TOPICS = ("bright", "new_transients", "rising", "known_variables", "solar_system")


def rows(folder: Path, **partition: str) -> list[dict[str, Any]]:
    """Rows of committed files, read by pyarrow."""
    files = [file for file in parquet.committed(folder) if partition.items() <= file.partition.items()]
    return [row | file.partition for file in files for row in pq.ParquetFile(file.path).read().to_pylist()]


def read(value: bytes) -> dict[str, Any]:
    [record] = fastavro.reader(io.BytesIO(value))
    return record


def received(address: str, names: tuple[str, ...]) -> dict[str, list[dict[str, Any]]]:
    """The messages of users' topics, decoded as fink-client does."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        found[name] = []
        for message in kafka.read_all(Connection(address), f"fink_{name}_ztf"):
            key, value, headers = message.key(), message.value(), message.headers()
            alert: Any = fastavro.schemaless_reader(io.BytesIO(value), fastavro.parse_schema(json.loads(key)), None)
            assert headers == [("fink-id", str(alert["candid"]).encode())]
            found[name].append(alert)
    return found


def passes(alert: dict[str, Any]) -> bool:
    candidate = alert["candidate"]
    return candidate["nbad"] == 0 and candidate["rb"] >= 0.55 and candidate["fid"] != 3


def first_cut(alert: dict[str, Any]) -> str | None:
    candidate = alert["candidate"]
    met = {"nbad": candidate["nbad"] == 0, "rb": candidate["rb"] >= 0.55, "fid": candidate["fid"] != 3}
    return next((name for name, holds in met.items() if not holds), None)


def utc(moment: datetime) -> datetime:
    """A time as Parquet has it: UTC without saying so."""
    return moment.replace(tzinfo=UTC)


def night(count: int, after: int = 0) -> list[bytes]:
    """The messages of a night that come after the first so many."""
    settings = Settings.model_validate({"simulator": {"burst": 40}})
    return list(simulator.messages(settings, NIGHT, count))[after:]


@dataclass
class Run:
    """One night through the services: what was sent, and when."""

    broker: Broker
    topic: str
    good: list[bytes]
    bad: dict[str, bytes]
    repeats: list[bytes]
    messages: list[bytes]
    began: datetime
    ended: datetime

    def ids(self) -> list[int]:
        """Ids of the alerts sent, repeats too."""
        return [read(value)["candid"] for value in [*self.good, *self.repeats]]

    def alerts(self) -> dict[int, dict[str, Any]]:
        return {alert["candid"]: alert for alert in map(read, self.good)}

    def passing(self) -> dict[int, dict[str, Any]]:
        return {candid: alert for candid, alert in self.alerts().items() if passes(alert)}

    def science(self) -> dict[int, dict[str, Any]]:
        return {row["candid"]: row for row in rows(self.broker.settings.science)}


@pytest.fixture(scope="module")
def run(broker: Callable[[str], Broker], templates: list[dict[str, Any]]) -> Run:
    """Good alerts, bad messages among them, and repeats; worked off once."""
    one = broker("broker")
    # All tests share users' topics: only what comes now counts.
    assert set(kafka.message_counts(Connection(one.kafka), [f"fink_{name}_ztf" for name in TOPICS]).values()) == {0}
    good = night(120)
    bad = garbage.every_kind(templates[0] | {"fp_hists": None}, writer_schema("4.02"))
    repeats = good[:7]
    messages = [*good[:30], *bad.values(), *good[30:], *repeats]
    topic = "ztf_20260322_pipeline"
    one.send(topic, messages)
    # Several batches a service, and logs that are compacted every second one.
    logs = "".join(f'"spark.sql.streaming.{kind}.log.compactInterval" = "2"\n' for kind in ("fileSink", "fileSource"))
    one.configure(topic, f"[stream2raw]\nmax_alerts_per_trigger = 40\n[raw2science]\nmax_files_per_trigger = 4\n[spark.conf]\n{logs}")
    began = datetime.now(UTC)
    one.run("start", *SERVICES, "--once")
    return Run(one, topic, good, bad, repeats, messages, began, datetime.now(UTC))


def test_raw_has_every_alert_with_every_field(run: Run):
    raw, sent = rows(run.broker.settings.raw, status="ok"), run.alerts()
    assert Counter(row["candid"] for row in raw) == Counter(run.ids())
    for row in raw:
        alert = sent[row["candid"]]
        assert differences(alert, {name: row[name] for name in alert}) == []
        assert (row["night"], row["topic"], row["value"], row["reason"]) == (NIGHT, run.topic, None, None)
        # Messages were dealt to two partitions in turn.
        assert read(run.messages[2 * row["offset"] + row["partition"]])["candid"] == row["candid"]
        assert run.began <= utc(row["brokerIngestTimestamp"]) <= run.ended


def test_what_is_no_alert_is_kept_with_its_reason_and_place(run: Run):
    rejected = rows(run.broker.settings.raw, status="rejected")
    assert Counter(bytes(row["value"]) for row in rejected) == Counter(run.bad.values())
    for row in rejected:
        assert run.messages[2 * row["offset"] + row["partition"]] == row["value"]
        assert len(row["reason"]) > 10
        assert row["candid"] is row["candidate"] is None
        assert row["night"] in {f"{run.began:%Y%m%d}", f"{run.ended:%Y%m%d}"}


def test_science_has_what_passes_once_with_every_field(run: Run):
    expected = run.passing()
    assert 10 < len(expected) < len(run.good)
    assert sorted(row["candid"] for row in rows(run.broker.settings.science)) == sorted(expected)
    for candid, row in run.science().items():
        alert = expected[candid] | {"publisher": "Fink"}
        assert differences(alert, {name: row[name] for name in alert}) == []
        times = [one["jd"] for one in [*(alert["prv_candidates"] or []), alert["candidate"]] if one["magpsf"] is not None]
        assert row["nalerthist"] == len(times)
        assert row["jd_first_real_det"] == min(times)
        assert row["jdstarthist_dt"] == pytest.approx(min(times) - alert["candidate"]["jdstarthist"], abs=1e-9)
        assert row["gcvs"]
        assert row["science_errors"] is None
        assert (row["roid"], row["vsx"], row["mulens"]) == (0, "Unknown", 0.0)
        assert row["brokerIngestTimestamp"] <= row["brokerStartProcessTimestamp"] <= row["brokerEndProcessTimestamp"]
        assert utc(row["brokerEndProcessTimestamp"]) <= run.ended
        assert not {"topic", "partition", "offset", "kafkaTimestamp", "reason", "value", "status"} & row.keys()


def selected(science: dict[int, dict[str, Any]]) -> dict[str, list[int]]:
    """What the filters that are SQL say, in Python."""
    return {
        "bright": sorted(c for c, row in science.items() if row["candidate"]["magpsf"] < 16),
        "known_variables": sorted(c for c, row in science.items() if row["gcvs"] != "Unknown"),
        "solar_system": sorted(c for c, row in science.items() if 0 <= row["candidate"]["ssdistnr"] < 5),
    }


def test_topics_have_what_their_filters_select_with_every_field(run: Run):
    science, found = run.science(), received(run.broker.kafka, TOPICS)
    for name, ids in selected(science).items():
        assert sorted(alert["candid"] for alert in found[name]) == ids, name
    messages = [alert for alerts in found.values() for alert in alerts]
    assert len(messages) > 10
    for alert in messages:
        assert differences(as_sent(science[alert["candid"]]), alert) == []


def test_an_unmodified_fink_client_reads_and_stores_them(run: Run, tmp_path: Path):
    science, names = run.science(), ("bright", "solar_system")
    topics = [f"fink_{name}_ztf" for name in names]
    expected = {topic: ids for topic, ids in zip(topics, map(selected(science).get, names), strict=True) if ids}
    count = sum(map(len, expected.values()))
    reader = {"bootstrap.servers": run.broker.kafka, "group.id": "reader"}
    found, fault = fink_client.consume(tmp_path, topics, reader, count)
    assert fault == ""
    for topic, ids in expected.items():
        assert sorted(alert["candid"] for name, alert in found if name == topic) == ids
    fink_client.register(tmp_path, "me", run.broker.kafka)
    stored = fink_client.stream(tmp_path, topics, count)
    # A file an alert, whichever topics it came on.
    assert sorted(alert["candid"] for alert in stored) == sorted({candid for ids in expected.values() for candid in ids})
    for alert in [*(alert for _, alert in found), *stored]:
        assert differences(as_sent(science[alert["candid"]]), alert) == []
    # What it takes for statistics: a message for each alert.
    [(topic, _), *others], _ = fink_client.consume(tmp_path, [f"fink_ztf_{NIGHT}"], reader, len(science))
    assert topic == f"fink_ztf_{NIGHT}"
    assert len(others) + 1 == len(science)


def test_status_counts_all_of_it(run: Run):
    state = run.broker.status()
    assert state["ok"]
    intake, science, distribution = (state["services"][name] for name in SERVICES)
    assert (intake["in"], intake["out"], intake["lag"]) == (len(run.messages), len(run.ids()), 0)
    assert intake["rejected"] == Counter(row["reason"] for row in rows(run.broker.settings.raw, status="rejected"))
    assert (science["in"], science["out"], science["lag"]) == (len(run.ids()), len(run.passing()), 0)
    assert science["duplicate"] == sum(passes(read(value)) for value in run.repeats)
    assert science["cut"] == sum(not passes(read(value)) for value in [*run.good, *run.repeats])
    assert science["cuts"] == Counter(first for value in [*run.good, *run.repeats] if (first := first_cut(read(value))))
    assert set(science["cpu_ms"]) == {"gcvs", "nalerthist", "first_detection"}
    assert 50 < science["memory_mb"] < 1000
    assert (distribution["in"], distribution["lag"]) == (len(run.passing()), 0)


def test_run_again_nothing_is_sent_twice_and_what_is_new_goes_through(run: Run):
    """After the others: it adds to the night, and alerts on both sides of its beginning, UTC; one of them comes twice."""
    template = read(run.good[0])
    before, after = (
        container(template | {"candid": candid, "candidate": template["candidate"] | {"candid": candid, "jd": jd}}, writer_schema("4.02"))
        for candid, jd in ((1, 2461121.4999), (2, 2461121.5001))
    )
    further = [*night(160, after=120), before, after]
    again = [run.good[-1], after]
    run.broker.send(run.topic, [*further, *again])
    run.broker.run("start", *SERVICES, "--once")
    run.repeats += again
    run.good += further
    assert Counter(row["candid"] for row in rows(run.broker.settings.raw, status="ok")) == Counter(run.ids())
    assert sorted(row["candid"] for row in rows(run.broker.settings.science)) == sorted(run.passing())
    found = received(run.broker.kafka, TOPICS)
    for name, ids in selected(run.science()).items():
        assert sorted(alert["candid"] for alert in found[name]) == ids, name
    assert run.broker.status()["ok"]


def account(broker: Broker, night: str) -> dict[str, Any]:
    """The account of a night, without faults."""
    found: dict[str, Any] = json.loads(broker.run("status", "--night", night, "--json").splitlines()[-1])["account"]
    assert found["faults"] == []
    return found


def test_the_account_of_each_night_adds_up(run: Run):
    """After all others: garbage is of the night in which it came, everything else of its own."""
    sent = {"20260321": [1], NIGHT: [candid for candid in run.ids() if candid != 1]}
    nights = {night: account(run.broker, night) for night in {*sent, *(row["night"] for row in rows(run.broker.settings.raw))}}
    passing = run.passing()
    for night, ids in sent.items():
        found, unique = nights[night], set(ids)
        assert (found["sound"], found["distinct"], found["repeats"]) == (len(ids), len(unique), len(ids) - len(unique))
        assert (found["cut"], found["science"], found["waiting"]) == (len(unique - passing.keys()), len(unique & passing.keys()), 0)
    assert sum(found["messages"] for found in nights.values()) == len(run.ids()) + len(run.bad)
    assert sum((Counter(found["rejected"]) for found in nights.values()), Counter()) == Counter(
        row["reason"] for row in rows(run.broker.settings.raw, status="rejected")
    )
    for one in (one for found in nights.values() for one in found["stretches"]):
        assert (one["topic"], one["missing"]) == (run.topic, 0)
    lines = run.broker.run("status", "--night", NIGHT).splitlines()
    assert f"  {nights[NIGHT]['sound']} sound = {nights[NIGHT]['distinct']} distinct + {nights[NIGHT]['repeats']} repeats" in lines


def test_a_night_leaves_logs_and_disk_and_is_still_counted(run: Run, spark: SparkSession):
    """After the others: nothing of it is in raw and science any more, and all of the other night is."""
    settings, survey = run.broker.settings, surveys.get("ztf")
    later = time.time() + (settings.archive.retention_days + 1) * 86_400

    def counted() -> list[dict[str, Any]]:
        numbers = ("in", "out", "rejected", "cut", "duplicate", "lag", "errors", "ok")
        states = [status(settings, night)["services"] for night in (None, NIGHT, "20260101")]
        return [{name: {key: one[key] for key in numbers if key in one} for name, one in state.items()} for state in states]

    def on_disk() -> set[Path]:
        folders = [settings.raw / "status=ok" / f"night={NIGHT}", settings.science / f"night={NIGHT}"]
        return {file for folder in folders for file in folder.glob("*.parquet")}

    before, files = counted(), on_disk()
    science, others = ([row["candid"] for row in rows(settings.science) if (row["night"] == NIGHT) is it] for it in (True, False))
    assert before[0]["raw2science"]["duplicate"] > 0
    assert prune(settings, survey, later) == []  # not merged
    merge(spark, settings, survey, NIGHT)
    assert prune(settings, survey) == []  # too young
    commits = settings.checkpoint("distribution") / "commits"
    newest_commit = commits / str(newest(commits))
    newest_commit.rename(commits.parent / "newest")
    assert prune(settings, survey, later) == []  # not read by all
    (commits.parent / "newest").rename(newest_commit)
    stray = min(files).with_name("part-of-a-batch-that-was-killed.parquet")
    stray.write_bytes(b"PAR1 half a file")
    os.utime(stray, (0, 0))

    assert prune(settings, survey, later) == [NIGHT]
    assert [row["candid"] for row in rows(settings.raw, status="ok")] == [1]
    assert [row["candid"] for row in rows(settings.science)] == others
    assert on_disk() == files | {stray}
    assert counted() == before
    assert prune(settings, survey, later) == []
    named = {file.path for folder in (settings.raw, settings.science) for file in parquet.logged(folder)}
    assert on_disk() == files & named < files
    for log in settings.root.glob("checkpoints/*/sources/0"):
        read = [entry["path"] for _, entry in entries(log) if "path" in entry] if log.parts[-3] != "stream2raw" else []
        assert not {parquet.local_path(path) for path in read} & files - named
    assert counted() == before
    archived = [pq.ParquetFile(file).read(["candid"])["candid"].to_pylist() for file in archive.files(settings, "science")]
    assert sorted(one for ids in archived for one in ids) == sorted(science)


def test_killed_in_the_middle_and_started_again_each_alert_is_there_once(broker: Callable[[str], Broker]):
    one, topic, sent = broker("victim"), "ztf_20260322_killed", night(160)
    one.send(topic, sent, partitions=5)
    one.configure(topic, "[stream2raw]\ntrigger_seconds = 0.1\nmax_alerts_per_trigger = 20\n")
    process = one.open("start", "stream2raw")
    deadline = time.monotonic() + 60
    while newest(one.settings.raw / parquet.LOG) < 1:
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    kill_tree(process.pid)
    process.communicate()
    assert sum(file.rows for file in parquet.committed(one.settings.raw)) < len(sent)
    one.run("start", "stream2raw", "--once")
    assert sorted(row["candid"] for row in rows(one.settings.raw)) == sorted(read(value)["candid"] for value in sent)
    files = parquet.committed(one.settings.raw)
    assert {file.partition["status"] for file in files} == {"ok"}
    # However many partitions Kafka has.
    assert max(Counter(file.batch for file in files).values()) == one.settings.stream2raw.writers
    intake = one.status()["services"]["stream2raw"]
    assert (intake["in"], intake["out"], intake["ok"]) == (len(sent), len(sent), True)
