"""distribution without Kafka: from science alerts to messages, and which topics it makes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import fastavro
import pytest
from pyspark.sql import functions as F

from fink_broker.config import Settings
from fink_broker.config.sections import Distribution, Kafka, KafkaOutput, Plugin
from fink_broker.connectors import kafka
from fink_broker.filters import Filter
from fink_broker.filters.registry import active
from fink_broker.services import distribution
from fink_broker.services.context import Context, RunOptions
from fink_broker.surveys import get

SURVEY = get("ztf")
SETTINGS = Settings(
    kafka=Kafka(output=KafkaOutput(servers="127.0.0.1:1", partitions=3)),
    filters=[Plugin(name="even", sql="candid % 2 = 0"), Plugin(name="small", sql="candid < 3")],
    distribution=Distribution(filters=["even", "small"]),
)


def test_one_message_for_each_alert_and_filter(spark):
    science = spark.createDataFrame(
        [(number, f"o{number}", (1.5,), []) for number in range(1, 7)],
        "candid long, objectId string, candidate struct<jd: double>, prv_candidates array<struct<jd: double>>",
    )
    sent = distribution.build(science, SURVEY, active(SETTINGS, SURVEY), {"fink_even_ztf": 3, "fink_small_ztf": 1}).collect()
    ids = {"fink_even_ztf": [], "fink_small_ztf": []}
    for message in sent:
        alert = fastavro.schemaless_reader(io.BytesIO(message.value), fastavro.parse_schema(json.loads(bytes(message.key))))
        assert alert == {"candid": alert["candid"], "objectId": f"o{alert['candid']}", "candidate": {"jd": 1.5}, "prv_candidates": []}
        ids[message.topic].append(alert["candid"])
    assert {topic: sorted(found) for topic, found in ids.items()} == {"fink_even_ztf": [2, 4, 6], "fink_small_ztf": [1, 2]}


def test_an_id_in_a_struct_is_at_the_top_of_a_message(spark):
    """What is in no catalogue, but is a known object of the solar system, goes by its name there to its partition."""
    rows = [((1, 7, None),), ((2, None, 8),), ((3, 0, 8),), ((4, 7, 0),)]
    science = spark.createDataFrame(rows, "diaSource struct<diaSourceId: long, diaObjectId: long, ssObjectId: long>")
    science = science.withColumn("prvDiaSources", F.array("diaSource"))
    rubin, filters = get("rubin"), [Filter("all", sql="true")]
    sent = distribution.build(science, rubin, filters, {"fink_all_lsst": 1_000}).collect()
    alerts = {}
    for message in sent:
        alert = fastavro.schemaless_reader(io.BytesIO(message.value), fastavro.parse_schema(json.loads(bytes(message.key))))
        assert [(header.key, bytes(header.value)) for header in message.headers] == [("fink-id", str(alert["diaSourceId"]).encode())]
        assert alert["diaSource"]["diaSourceId"] == alert["diaSourceId"]
        alerts[alert["diaSourceId"]] = message.partition
    assert sorted(alerts) == [1, 2, 3, 4]
    assert alerts[1] == alerts[4] != alerts[2] == alerts[3]


def test_topics_are_made_before_anything_is_sent(spark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked = {}

    def make(connection, topics, config):
        asked.update(topics, address=connection.servers)
        return topics

    monkeypatch.setattr(kafka, "make_topics", make)
    settings = SETTINGS.model_copy(update={"home": tmp_path})
    query = distribution.start(Context(spark, settings, SURVEY, RunOptions(once=True)))
    # Nothing lies there: nothing is sent, so that nobody needs to answer.
    query.awaitTermination(60)
    assert not query.isActive
    assert query.exception() is None
    assert asked == {"fink_even_ztf": 3, "fink_small_ztf": 3, "address": "127.0.0.1:1"}
