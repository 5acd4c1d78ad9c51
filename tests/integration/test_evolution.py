"""A telescope that changes its schema in mid-stream: no alert and no new field is lost, in any service, and nothing is started by hand."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from typing import Any

import fastavro
import pytest

from datasim.packet import writer_schema
from fink_broker.connectors import kafka
from fink_broker.connectors.security import Connection
from tests.integration.conftest import Broker
from tests.integration.test_pipeline import rows

pytestmark = pytest.mark.integration

SERVICES = ("stream2raw", "raw2science", "distribution")
FILTER = '[[filters]]\nname = "all"\nsql = "candid > 0"\n[distribution]\nfilters = ["all"]\ntrigger_seconds = 1\n'
QUICK = "[stream2raw]\ntrigger_seconds = 1\n[raw2science]\ntrigger_seconds = 1\nmodules = []\n"

Schema = dict[str, Any]
Record = dict[str, Any]


def base() -> Schema:
    schema: Schema = json.loads(writer_schema("4.02").text)
    return schema


def candidate(schema: Schema) -> list[Schema]:
    fields: list[Schema] = next(field for field in schema["fields"] if field["name"] == "candidate")["type"]["fields"]
    return fields


def adding() -> Schema:
    """A field more at the top, one more in the candidate, and the version."""
    schema = base() | {"version": "4.03"}
    schema["fields"].append({"name": "visit", "type": ["null", "long"], "default": None})
    candidate(schema).append({"name": "colour", "type": ["null", "double"], "default": None})
    return schema


def without() -> Schema:
    """A field less."""
    schema = base()
    candidate(schema)[:] = [field for field in candidate(schema) if field["name"] != "ssmagnr"]
    return schema


def wider() -> Schema:
    """An int that is a long now, a float that is a double, and unions the other way round with another default."""
    schema = base()
    for field in candidate(schema):
        if field["name"] == "nid":
            field["type"], field["default"] = ["long", "null"], 0
        if field["name"] == "magpsf":
            field["type"] = "double"
    return schema


def impossible() -> Schema:
    """A number that is a text now."""
    schema = base()
    for field in candidate(schema):
        if field["name"] == "fid":
            field["type"] = "string"
    return schema


def several(schema: Schema, records: list[Record], codec: str = "null") -> bytes:
    value = io.BytesIO()
    fastavro.writer(value, fastavro.parse_schema(json.loads(json.dumps(schema))), records, codec=codec)
    return value.getvalue()


def alert(template: Record, number: int, **values: Any) -> Record:
    top = {name: values.pop(name) for name in ("visit",) if name in values}
    sound = {"candid": number, "jd": 2461122.01, "nbad": 0, "rb": 0.9, "fid": 1}
    return template | {"candid": number, "fp_hists": None} | top | {"candidate": template["candidate"] | sound | values}


def wait_for(done: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not come in time"
        time.sleep(0.5)


def test_a_schema_that_changes_in_mid_stream(broker: Callable[[str], Broker], templates: list[Record]) -> None:
    one = broker("changing broker")
    one.configure("ztf_changing", QUICK + FILTER)
    template = templates[0]
    one.send("ztf_changing", [several(base(), [alert(template, 1)])])
    process = one.open("start", *SERVICES)
    try:
        wait_for(lambda: len(rows(one.settings.science)) == 1)
        one.send("ztf_changing", [several(adding(), [alert(template, 2, visit=2**40, colour=0.25)])])
        wait_for(lambda: len(rows(one.settings.science)) == 2)
        big = alert(template, 3, nid=2**35, magpsf=17.123456789012345)
        one.send(
            "ztf_changing",
            [several(without(), [alert(template, 4)]), several(wider(), [big]), several(impossible(), [alert(template, 5, fid="r")])],
        )
        one.send(
            "ztf_changing",
            [several(base(), [alert(template, 6), alert(template, 7)], "zstandard"), several(base(), [alert(template, 8)], "snappy")],
        )
        wait_for(lambda: len(rows(one.settings.science)) == 7)
        wait_for(lambda: kafka.message_counts(Connection(one.kafka), ["fink_all_ztf"])["fink_all_ztf"] == 7)
    finally:
        process.terminate()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, ""), (out, err)
    state = one.status()
    intake = state["services"]["stream2raw"]
    assert (state["ok"], intake["in"], intake["out"], sum(intake["rejected"].values())) == (True, 8, 7, 1)
    science = {row["candid"]: row for row in rows(one.settings.science)}
    assert sorted(science) == [1, 2, 3, 4, 6, 7, 8]
    assert (science[2]["visit"], science[2]["candidate"]["colour"]) == (2**40, 0.25)
    assert (science[8]["visit"], science[8]["candidate"]["colour"]) == (None, None)
    assert (science[3]["candidate"]["nid"], science[3]["candidate"]["magpsf"]) == (2**35, 17.123456789012345)
    assert science[4]["candidate"]["ssmagnr"] is None
    [rejected] = rows(one.settings.raw, status="rejected")
    assert rejected["reason"].startswith("its schema does not go with the known ones: field alert.candidate.fid is ")
    sent = {}
    for message in kafka.read_all(Connection(one.kafka), "fink_all_ztf"):
        found: Any = fastavro.schemaless_reader(io.BytesIO(message.value()), fastavro.parse_schema(json.loads(message.key())), None)
        sent[found["candid"]] = found
    assert sorted(sent) == sorted(science)
    assert (sent[2]["visit"], sent[2]["candidate"]["colour"], sent[3]["candidate"]["nid"]) == (2**40, 0.25, 2**35)
