"""stream2raw without Kafka: what it makes of messages, and when it starts again."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from datasim import garbage
from datasim.packet import container, writer_schema
from fink_broker.config import Settings
from fink_broker.errors import ConfigError
from fink_broker.services import stream2raw
from fink_broker.services.context import Context, RunOptions
from fink_broker.surveys import get
from tests import known

SURVEY = get("ztf")
MESSAGE = "value binary, topic string, partition int, offset bigint, kafkaTimestamp timestamp"


@pytest.mark.parametrize("forced", [None, "20200101"])
def test_sound_and_rejected_alerts(spark, templates, forced, tmp_path: Path):
    schema = writer_schema("3.3")
    # Two alerts on both sides of midnight, 2026-03-22 UTC.
    late, early = (templates[0] | {"candidate": templates[0]["candidate"] | {"jd": jd}} for jd in (2461121.4999, 2461121.5001))
    values = [container(late, schema), garbage.EMPTY, container(early, schema)]
    moment = datetime(2026, 3, 22, 1, 2, 3)
    messages = spark.createDataFrame([(value, "ztf_x", 1, offset, moment) for offset, value in enumerate(values)], MESSAGE)
    built = stream2raw.build(messages, SURVEY, known.codec("3.3"), forced)
    found = {row.offset: row for row in built.collect()}
    assert [found[n].status for n in range(3)] == ["ok", "rejected", "ok"]
    assert [found[n].reason for n in range(3)] == [None, "empty message", None]
    assert [found[n].night for n in (0, 2)] == ([forced] * 2 if forced else ["20260321", "20260322"])
    assert [bytes(found[1].value), found[0].value] == [b"", None]
    assert {(row.topic, row.partition, row.kafkaTimestamp) for row in found.values()} == {("ztf_x", 1, moment)}
    assert all(row.brokerIngestTimestamp > moment for row in found.values())
    # Readers know the columns before the first file is there.
    assert built.schema.simpleString() == stream2raw.schema(Context(spark, Settings(home=tmp_path), SURVEY)).simpleString()


def test_topics_that_a_query_has_read_must_stay(spark, tmp_path: Path):
    settings = Settings(home=tmp_path)
    log = settings.checkpoint("stream2raw") / "offsets"
    log.mkdir(parents=True)
    (log / "0").write_text('v1\n{}\n{"ztf_20260322_programid1":{"0":7}}')
    with pytest.raises(ConfigError, match="has read ztf_20260322_programid1, which 'ztf-stream-sim' does not match"):
        stream2raw.start(Context(spark, settings, SURVEY, RunOptions(simulator=True)))
