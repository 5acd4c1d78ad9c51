"""Alerts in Confluent's form, and bare ones: schemas from a folder, several ids in one topic, every field as fastavro reads it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pytest

from tests.compare import differences
from tests.integration.conftest import Broker
from tests.integration.test_pipeline import rows

pytestmark = pytest.mark.integration

Schema = dict[str, Any]
INSIDE = {
    "topic",
    "partition",
    "offset",
    "record",
    "kafkaTimestamp",
    "brokerIngestTimestamp",
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


def configure(one: Broker, folder: Path, topic: str, more: str = "") -> None:
    """Read a topic of Rubin's alerts, with schemas from a folder."""
    one.configure(topic, "")
    text = (
        one.conf.read_text()
        .replace("[wait]", 'survey = "rubin"\n[wait]')
        .replace("[kafka.input]", f'[kafka.input]\nschemas = "{folder}"\n{more}')
    )
    one.conf.write_text(text)


def start(one: Broker, folder: Path, topic: str, more: str = "") -> dict[int, dict[str, Any]]:
    """Take in all there is; the sound alerts by id."""
    configure(one, folder, topic, more)
    one.run("start", "stream2raw", "--once")
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

    (tmp_path / "901.avsc").write_text(json.dumps(new))
    one.send("lsst_alerts", [framed(901, body(new, alert(4, snr=12.5))), framed(900, body(old, alert(5)))])
    found = start(one, tmp_path, "lsst_alerts")
    assert sorted(found) == [1, 2, 3, 4, 5]
    assert (found[4]["diaSource"]["snr"], found[5]["diaSource"]["snr"]) == (12.5, None)


def test_bare_records_of_a_configured_schema(broker: Callable[[str], Broker], tmp_path: Path) -> None:
    file = tmp_path / "simulation.avsc"
    file.write_text(json.dumps(schema()))
    one = broker("simulation broker")
    one.send("simulated", [body(schema(), alert(number)) for number in (1, 2)] + [b"\xff" * 30])
    found = start(one, file, "simulated", 'form = "schemaless"\n')
    assert sorted(found) == [1, 2]
    assert all(differences(alert(number), without_ours(row)) == [] for number, row in found.items())
    assert [row["reason"] for row in rows(one.settings.raw, status="rejected")] == ["does not decode with its schema"]


def test_real_alerts_of_three_versions(broker: Callable[[str], Broker], shared: Path) -> None:
    one = broker("real rubin broker")
    expected, values = {}, []
    for version, name in (
        ("7_4", "lsst_7.4_confluent_derived"),
        ("9_0", "lsst_9.0_confluent_derived"),
        ("10_0", "lsst_10.0_confluent_derived"),
    ):
        writer = fastavro.schema.load_schema(str(shared / "schemas" / "lsst" / version / f"lsst.v{version}.alert.avsc"))
        for file in sorted(path for path in (shared / name).iterdir() if path.is_file())[:15]:
            values.append(file.read_bytes())
            record: Any = fastavro.schemaless_reader(io.BytesIO(values[-1][5:]), writer, None)
            expected[record["diaSource"]["diaSourceId"]] = record
    one.send("lsst_real", values)
    found = start(one, shared / "schemas" / "lsst", "lsst_real")
    assert sorted(found) == sorted(expected)
    assert [fault for number, row in found.items() for fault in differences(expected[number], without_ours(row))] == []
