"""Alerts in Confluent's form, and bare ones: schemas from a folder, several ids in one topic, every field as fastavro reads it."""

from __future__ import annotations

import io
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import fastavro
import pytest

from fink_broker.connectors import kafka
from fink_broker.connectors.security import Connection
from tests.compare import differences
from tests.integration.conftest import Broker
from tests.integration.test_pipeline import rows

pytestmark = pytest.mark.integration

Schema = dict[str, Any]
SERVICES = ("stream2raw", "raw2science", "distribution")
INSIDE = {
    "topic",
    "partition",
    "offset",
    "record",
    "kafkaTimestamp",
    "brokerIngestMjd",
    "lsst_schema_version",
    "reason",
    "value",
    "status",
    "night",
    "columns_id",
}


def schema(**more: Any) -> Schema:
    """A little of Rubin's schema, and further fields of the detection."""
    names = {"diaSourceId": "long", "diaObjectId": ["null", "long"], "ssObjectId": ["null", "long"]}
    source = names | {"midpointMjdTai": "double", "ra": "double", "dec": "double", "psfFlux": ["null", "float"]} | more
    fields = [{"name": name, "type": kind} for name, kind in source.items()]
    cutouts = [{"name": f"cutout{kind}", "type": ["null", "bytes"]} for kind in ("Science", "Template", "Difference")]
    dia_source = {"type": "record", "name": "diaSource", "fields": fields}
    history = {"name": "prvDiaSources", "type": ["null", {"type": "array", "items": "diaSource"}]}
    root = [{"name": "diaSourceId", "type": "long"}, {"name": "diaSource", "type": dia_source}, history, *cutouts]
    return {"type": "record", "name": "alert", "fields": root}


def alert(number: int, **more: Any) -> dict[str, Any]:
    source = {
        "diaSourceId": number,
        "diaObjectId": 7,
        "ssObjectId": None,
        "midpointMjdTai": 61041.25,
        "ra": 10.5,
        "dec": -3.25,
        "psfFlux": 1.5,
    } | more
    fits = {f"cutout{kind}": b"SIMPLE  = T" for kind in ("Science", "Template", "Difference")}
    return {"diaSourceId": number, "diaSource": source, "prvDiaSources": [source | {"diaSourceId": 1}]} | fits


def body(writer: Schema, record: dict[str, Any]) -> bytes:
    value = io.BytesIO()
    fastavro.schemaless_writer(value, fastavro.parse_schema(json.loads(json.dumps(writer))), record)
    return value.getvalue()


def framed(number: int, data: bytes) -> bytes:
    return b"\0" + number.to_bytes(4) + data


# The Kafka is one for all tests: a topic for everything is named after that of the telescope.
DOWNSTREAM = """
[raw2science]
modules = []
[distribution]
filters = ["solar_system", "{topic}"]
[[filters]]
name = "{topic}"
sql = "true"
"""


def configure(one: Broker, folder: Path, topic: str, more: str = "") -> None:
    """Read a topic of Rubin's alerts, with schemas from a folder."""
    one.configure(topic, "")
    text = (
        one.conf.read_text()
        .replace("[wait]", 'survey = "rubin"\n[wait]')
        .replace("[kafka.input]", f'[kafka.input]\nschemas = "{folder}"\n{more}')
    )
    one.conf.write_text(text + DOWNSTREAM.format(topic=topic), encoding="utf-8")


def received(address: str, topic: str) -> list[dict[str, Any]]:
    """The messages of a users' topic, decoded as fink-client does."""
    found = []
    for message in kafka.read_all(Connection(address), topic):
        record: Any = fastavro.schemaless_reader(
            io.BytesIO(message.value() or b""), fastavro.parse_schema(json.loads(message.key() or b"")), None
        )
        assert message.headers() == [("fink-id", str(record["diaSourceId"]).encode())]
        found.append(record)
    return found


def mjd_now() -> float:
    return time.time() / 86400 + 40587


def start(one: Broker, folder: Path, topic: str, more: str = "", services: Sequence[str] = ("stream2raw",)) -> dict[int, dict[str, Any]]:
    """Take in all there is; the sound alerts by id."""
    configure(one, folder, topic, more)
    one.run("start", *services, "--once")
    return {row["diaSource"]["diaSourceId"]: row for row in rows(one.settings.raw, status="ok")}


def without_ours(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in INSIDE}


def test_several_schemas_of_a_folder_in_one_topic(broker: Callable[[str], Broker], tmp_path: Path) -> None:
    old, new = schema(), schema(snr=["null", "double"], diaObjectId=["null", "long"])
    (tmp_path / "900.avsc").write_text(json.dumps(old))
    one = broker("rubin broker")
    sent = [framed(900, body(old, alert(number))) for number in (1, 2, 3)]
    odd = {b"\0\0": "not in Confluent's wire form", framed(4711, b"x" * 50): "no schema has the id 4711"}
    odd |= {framed(900, body(old, alert(9, ra=360.0))): "ra is out of range", framed(900, b"\xff" * 40): "does not decode with its schema"}
    one.send("lsst_alerts", [*sent[:2], *odd, sent[2]])
    found = start(one, tmp_path, "lsst_alerts")
    assert sorted(found) == [1, 2, 3]
    assert all(differences(alert(number), without_ours(row)) == [] for number, row in found.items())
    assert {row["night"] for row in found.values()} == {"20251231"}
    rejected = {row["value"]: row["reason"] for row in rows(one.settings.raw, status="rejected")}
    assert rejected == odd

    # The same field again, at noon UTC, when day_obs changes: a night has both alerts of one side, and repeats.
    noon = 61041.5 + 37 / 86400
    sides = [alert(10, midpointMjdTai=noon - 1e-6), alert(11, midpointMjdTai=noon + 1e-6)]
    (tmp_path / "901.avsc").write_text(json.dumps(new | {"namespace": "lsst.v9_1"}))
    newer = [framed(901, body(new, alert(4, snr=12.5))), framed(900, body(old, alert(5)))]
    one.send("lsst_alerts", [*newer, *(framed(900, body(old, one)) for one in sides), sent[0], newer[0]])
    found = start(one, tmp_path, "lsst_alerts", services=SERVICES)
    assert sorted(found) == [1, 2, 3, 4, 5, 10, 11]
    assert (found[4]["diaSource"]["snr"], found[5]["diaSource"]["snr"]) == (12.5, None)
    assert (found[4]["lsst_schema_version"], found[5]["lsst_schema_version"]) == ("lsst.v9_1", None)
    assert (found[10]["night"], found[11]["night"]) == ("20251231", "20260101")
    check_account(one, "20251231", ids={1, 2, 3, 4, 5, 10}, repeats=2)
    check_account(one, "20260101", ids={11}, repeats=0)
    today = {row["night"] for row in rows(one.settings.raw, status="rejected")}
    accounts = [json.loads(one.run("status", "--json", "--night", night).splitlines()[-1])["account"] for night in today]
    assert sum((Counter(account["rejected"]) for account in accounts), Counter()) == Counter(odd.values())
    assert one.status()["ok"]


def check_account(one: Broker, night: str, ids: set[int], repeats: int) -> None:
    """The account of a night agrees with what was sent."""
    account = json.loads(one.run("status", "--json", "--night", night).splitlines()[-1])["account"]
    assert account["faults"] == []
    assert account["rejected"] == {}
    assert (account["messages"], account["sound"], account["repeats"]) == (len(ids) + repeats, len(ids) + repeats, repeats)
    assert (account["distinct"], account["cut"], account["science"], account["waiting"]) == (len(ids), 0, len(ids), 0)
    assert {row["diaSource"]["diaSourceId"] for row in rows(one.settings.science, night=night)} == ids


def test_bare_records_of_a_configured_schema(broker: Callable[[str], Broker], tmp_path: Path) -> None:
    file = tmp_path / "simulation.avsc"
    file.write_text(json.dumps(schema()))
    one = broker("simulation broker")
    one.send("simulated", [body(schema(), alert(number)) for number in (1, 2)] + [b"\xff" * 30])
    found = start(one, file, "simulated", 'form = "schemaless"\n')
    assert sorted(found) == [1, 2]
    assert all(differences(alert(number), without_ours(row)) == [] for number, row in found.items())
    assert [row["reason"] for row in rows(one.settings.raw, status="rejected")] == ["does not decode with its schema"]


def test_real_alerts_of_three_versions_reach_their_users(broker: Callable[[str], Broker], shared: Path) -> None:
    one = broker("real rubin broker")
    expected, versions, values = {}, {}, []
    for version, name in (
        ("7_4", "lsst_7.4_confluent_derived"),
        ("9_0", "lsst_9.0_confluent_derived"),
        ("10_0", "lsst_10.0_confluent_derived"),
    ):
        writer = fastavro.schema.load_schema(str(shared / "schemas" / "lsst" / version / f"lsst.v{version}.alert.avsc"))
        for file in sorted(path for path in (shared / name).iterdir() if path.is_file())[:15]:
            values.append(file.read_bytes())
            record: Any = fastavro.schemaless_reader(io.BytesIO(values[-1][5:]), writer, None)
            number = record["diaSource"]["diaSourceId"]
            expected[number], versions[number] = record, f"lsst.v{version}"
    began = mjd_now()
    one.send("lsst_real", [*values, *values[:3]])
    found = start(one, shared / "schemas" / "lsst", "lsst_real", services=SERVICES)
    assert sorted(found) == sorted(expected)
    assert [fault for number, row in found.items() for fault in differences(expected[number], without_ours(row))] == []
    assert {number: row["lsst_schema_version"] for number, row in found.items()} == versions
    assert all(began <= row["brokerIngestMjd"] <= mjd_now() for row in found.values())

    science = {row["diaSource"]["diaSourceId"]: row for row in rows(one.settings.science)}
    assert len(rows(one.settings.science)) == len(science) == len(expected)
    messages = received(one.kafka, "fink_lsst_real_lsst")
    assert sorted(alert["diaSourceId"] for alert in messages) == sorted(expected)
    for alert in messages:
        number = alert["diaSourceId"]
        assert alert["cutoutScience"].startswith(b"SIMPLE  =")
        assert datetime.fromisoformat(alert["brokerEndProcessTimestamp"])
        assert (alert["lsst_schema_version"], alert["publisher"]) == (versions[number], "Fink")
        assert alert["brokerIngestMjd"] == found[number]["brokerIngestMjd"]
        ours = {name: value for name, value in alert.items() if name in expected[number]}
        assert differences(expected[number], ours) == []
    # In these a known object of the solar system was detected.
    moving = {alert["diaSourceId"] for alert in received(one.kafka, "fink_solar_system_lsst")}
    assert moving == {number for number, record in expected.items() if record["diaSource"]["ssObjectId"]}
    state = one.status()
    assert state["ok"]
    assert state["services"]["raw2science"]["duplicate"] == 3
    for night in {row["night"] for row in found.values()}:
        ids = {number for number, row in found.items() if row["night"] == night}
        again = sum(number in ids for number in list(expected)[:3])
        check_account(one, night, ids, again)
