"""Messages as fink-client 12.3 decodes them: by the schema that is their key."""

from __future__ import annotations

import gzip
import io
import json
from datetime import UTC, datetime
from typing import Any

import fastavro
import pytest

from datasim.packet import container, writer_schema
from fink_broker.config import Settings
from fink_broker.filters import Filter
from fink_broker.science.registry import active
from fink_broker.services import raw2science, stream2raw
from fink_broker.surveys import get
from fink_broker.transforms.filters import with_topics
from fink_broker.transforms.serialise import INTERNAL, messages
from tests import known
from tests.compare import differences

SURVEY = get("ztf")
FILTERS = [Filter("everything", sql="true"), Filter("half", sql="candid % 2 = 0"), Filter("nothing", sql="false")]
PARTITIONS = {"fink_everything_ztf": 5, "fink_half_ztf": 1, "fink_nothing_ztf": 2}


def decode(key: bytes, value: bytes) -> dict[str, Any]:
    """What `AlertConsumer` does with a message."""
    schema = fastavro.schema.parse_schema(json.loads(key.decode("utf8")))
    body = io.BytesIO(value)
    alert = fastavro.schemaless_reader(body, schema)
    assert body.read() == b""
    return alert


@pytest.fixture(scope="module")
def science(spark, templates):
    """Real alerts through the broker's own steps."""
    values = [container(record | {"fp_hists": None}, writer_schema("4.02")) for record in templates]
    received = spark.createDataFrame(list(enumerate(values)), "offset long, value binary").selectExpr(
        "value", "'ztf' as topic", "0 as partition", "offset", "now() as kafkaTimestamp"
    )
    raw = stream2raw.build(received, SURVEY, known.codec())
    built = raw2science.build(raw, SURVEY, active(Settings(), SURVEY), "1.2.3", "2 days")
    return with_topics(built, FILTERS, SURVEY).cache()


@pytest.fixture(scope="module")
def sent(science):
    return messages(science, SURVEY, PARTITIONS).collect()


@pytest.fixture(scope="module")
def expected(science) -> dict[int, dict[str, Any]]:
    """What readers are to get: no column that is internal, and times as text."""
    rows = [row.asDict(recursive=True) for row in science.collect()]
    alerts = [{name: _text(value) for name, value in row.items() if name not in INTERNAL} for row in rows]
    return {alert["candid"]: alert for alert in alerts}


def _text(value: Any) -> Any:
    """A time as Spark writes it: UTC, without zeros at its end."""
    if not isinstance(value, datetime):
        return value
    utc = datetime.fromtimestamp(value.timestamp(), UTC)
    return utc.strftime("%Y-%m-%d %H:%M:%S.%f").rstrip("0").rstrip(".")


def test_every_value_arrives(sent, expected):
    assert len(expected) > 5
    everything = [message for message in sent if message.topic == "fink_everything_ztf"]
    alerts = {alert["candid"]: alert for alert in (decode(m.key, m.value) for m in everything)}
    assert len(alerts) == len(everything)
    assert alerts.keys() == expected.keys()
    for candid, alert in alerts.items():
        assert list(alert) == list(expected[candid])
        assert differences(expected[candid], alert) == []


def test_what_clients_of_fink_need_is_where_they_look(sent):
    alert = decode(sent[0].key, sent[0].value)
    for name in ("objectId", "candid", "candidate", "prv_candidates", "gcvs", "nalerthist", "jd_first_real_det", "fink_broker_version"):
        assert name in alert
    for name in SURVEY.cutouts:
        assert gzip.decompress(alert[name]["stampData"]).startswith(b"SIMPLE")
    assert alert["publisher"] == "Fink"
    assert alert["fink_science_version"] == "1.2.3"
    for name in ("brokerIngestTimestamp", "brokerStartProcessTimestamp", "brokerEndProcessTimestamp"):
        assert datetime.fromisoformat(alert[name])
    # What is the broker's own stays inside.
    assert not {"topic", "partition", "offset", "night", "topics", "science_errors", "value", "status", "reason"} & alert.keys()


def test_topics_get_what_their_filters_select(sent, expected):
    ids = {topic: sorted(decode(m.key, m.value)["candid"] for m in sent if m.topic == topic) for topic in PARTITIONS}
    assert ids == {
        "fink_everything_ztf": sorted(expected),
        "fink_half_ztf": sorted(candid for candid in expected if candid % 2 == 0),
        "fink_nothing_ztf": [],
    }
    assert ids["fink_half_ztf"]


def test_the_key_is_compact_json_and_the_same_for_all(sent):
    assert len({bytes(message.key) for message in sent}) == 1
    text = bytes(sent[0].key).decode()
    assert text == json.dumps(json.loads(text), separators=(",", ":"))


def test_a_header_tells_the_alert(sent):
    for message in sent:
        assert [(header.key, bytes(header.value)) for header in message.headers] == [
            ("fink-id", str(decode(message.key, message.value)["candid"]).encode())
        ]


def test_partitions_are_chosen_by_object(sent):
    by_object: dict[str, set[int]] = {}
    for message in sent:
        assert 0 <= message.partition < PARTITIONS[message.topic]
        if message.topic == "fink_everything_ztf":
            by_object.setdefault(decode(message.key, message.value)["objectId"], set()).add(message.partition)
    assert all(len(partitions) == 1 for partitions in by_object.values())
    assert len(set.union(*by_object.values())) > 2


def test_without_filters_there_are_no_messages(science):
    none = messages(with_topics(science.drop("topics"), [], SURVEY), SURVEY, {})
    assert none.columns == ["topic", "key", "value", "partition", "headers"]
    assert none.collect() == []
