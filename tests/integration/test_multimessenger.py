"""Counterparts of notices, on the real Kafka: each alert meets each notice once, whichever came first."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import fastavro
import pytest
from confluent_kafka import Producer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from fink_broker import surveys
from fink_broker.config import Settings
from fink_broker.config.positions import Notices
from fink_broker.config.sections import Kafka, KafkaInput, KafkaOutput
from fink_broker.connectors import gcn, kafka, parquet
from fink_broker.connectors.security import Connection
from fink_broker.errors import ConfigError
from fink_broker.infra.processes import Running
from fink_broker.monitoring import notices
from fink_broker.notices.match import FIELDS
from fink_broker.notices.notice import parse
from fink_broker.services import multimessenger
from fink_broker.services.context import Context, RunOptions
from tests.notices.samples import JD, fermi, gwalert, voevent, written

pytestmark = pytest.mark.integration

ZTF = surveys.get("ztf")
TOPICS = ("fink_grb_bronze", "fink_grb_silver", "fink_grb_gold", "fink_gw_bronze")
# Fink's columns with what they say where no module has run.
_FINK = {name: column for name, column in ZTF.fink_columns.items() if column.source is None and column.in_alerts}


def alerts(spark: SparkSession, rows: list[tuple[int, float, float, float, float, float, float]]) -> DataFrame:
    """Science alerts of id, position, days from the trigger to the begin, rb, magnitudes a day, distance to a known body."""
    names = "candid long, ra double, dec double, begin double, rb double, rate double, body double"
    defaults = {name: F.lit(column.default).cast(column.type) for name, column in _FINK.items() if name != "mag_rate"}
    candidate = (
        f"struct({JD}D + 1 as jd, {JD}D + begin as jdstarthist, ra, dec, rb, 1 as fid, 18.5D as magpsf, 0.1D as sigmapsf, "
        "candid, body as ssdistnr, -999D as distpsnr1, 0D as sgscore1, -999D as neargaia, "
        "0.9D as drb, 0.1D as classtar, 2 as ndethist, if(candid = 99, 2, 1) as programid) as candidate"
    )
    return (
        spark.createDataFrame(rows, names)
        .selectExpr("candid", "concat('ZTF26aaaaaa', candid) as objectId", candidate, "rate as mag_rate", "'20260323' as night")
        .withColumns(defaults)
    )


class Broker:
    """A science folder, notices, and the service."""

    def __init__(self, spark: SparkSession, home: Path, address: str) -> None:
        self.spark, self.address = spark, address
        ends = Kafka(input=KafkaInput(servers=address), output=KafkaOutput(servers=address, partitions=1))
        self.settings = Settings(home=home, kafka=ends, notices=Notices(servers=address, topics="gcn_test_.*", trigger_seconds=0.1))
        self.settings.notices_folder.mkdir(parents=True)
        self.context = Context(spark, self.settings, ZTF, RunOptions(once=True))
        self.seen = dict.fromkeys(TOPICS, 0)

    def science(self, rows: list[tuple[int, float, float, float, float, float, float]]) -> None:
        source, found = self.settings.root / "source", alerts(self.spark, rows)
        found.write.mode("append").parquet(str(source))
        stream = self.spark.readStream.schema(found.schema).parquet(str(source))
        sink = parquet.sink(stream, self.settings.science, self.settings.root / "writer", ["night"])
        sink.trigger(availableNow=True).start().awaitTermination()

    def notice(self, name: str, value: bytes | dict[str, Any]) -> None:
        (self.settings.notices_folder / name).write_bytes(value if isinstance(value, bytes) else written(value))

    def run(self) -> None:
        query = multimessenger.start(self.context)
        query.awaitTermination()
        assert query.exception() is None
        multimessenger.settle(self.context, query)

    def read(self) -> dict[str, list[dict[str, Any]]]:
        """What is new in each topic."""
        server = Connection(self.address)
        found: dict[str, list[dict[str, Any]]] = {topic: [] for topic in TOPICS}
        for topic, count in kafka.message_counts(server, TOPICS).items():
            if count > self.seen[topic]:
                new = [decode(message) for message in kafka.read_all(server, topic) if message.offset() >= self.seen[topic]]
                found[topic] = sorted(new, key=lambda one: (one["candid"], one["triggerId"]))
                self.seen[topic] = count
        return found


def decode(message: Any) -> dict[str, Any]:
    alert: dict[str, Any] = fastavro.schemaless_reader(io.BytesIO(message.value()), fastavro.parse_schema(json.loads(message.key())), None)  # type: ignore[assignment]
    [(name, identity)] = message.headers()
    assert (name, identity.decode()) == (
        "fink-id",
        "_".join(str(alert[part]) for part in ("candid", "observatory", "triggerId", "ackTime")),
    )
    return alert


def test_each_alert_meets_each_notice_once(kafka_server: Running, spark: SparkSession, tmp_path: Path) -> None:
    assert kafka_server.address is not None
    broker = Broker(spark, tmp_path / "a home", kafka_server.address)
    kafka.make_topics(Connection(kafka_server.address), {"gcn_test_notices": 1})
    here = (29.24, -63.62)
    broker.notice("fermi", fermi(ra_dec_error=0.01))
    broker.notice("broken", b"{")
    broker.science(
        [
            (1, *here, 0.5, 0.95, 1.0, -999.0),  # gold
            (2, *here, 0.5, 0.8, -1.0, -999.0),  # silver: rb below 0.9
            (3, *here, 0.5, 0.69, 1.0, -999.0),  # rb too low
            (4, *here, -0.5, 0.95, 1.0, -999.0),  # began before the trigger
            (5, *here, 0.5, 0.95, 1.0, 1.0),  # a known body
            (6, 120.0, 10.0, 0.5, 0.95, 1.0, -999.0),  # elsewhere
            (99, *here, 0.5, 0.95, 1.0, -999.0),  # not public
        ]
    )
    broker.run()
    found = broker.read()
    assert {topic: [one["candid"] for one in some] for topic, some in found.items()} == {
        "fink_grb_bronze": [1, 2],
        "fink_grb_silver": [1, 2],
        "fink_grb_gold": [1],
        "fink_gw_bronze": [],
    }
    [gold] = found["fink_grb_gold"]
    expected = {
        **{name: column.default for name, column in _FINK.items()},
        **{"candid": 1, "objectId": "ZTF26aaaaaa1", "ztf_ra": here[0], "ztf_dec": here[1], "fid": 1, "rb": 0.95, "mag_rate": 1.0},
        **{"jd": JD + 1, "jdstarthist": JD + 0.5, "magpsf": 18.5, "sigmapsf": 0.1, "fink_class": "Unknown"},
        **{"observatory": "Fermi", "instrument": "GBM", "event": "", "triggerId": "745121685", "gcn_status": "update"},
        **{"gcn_ra": here[0], "gcn_dec": here[1], "gcn_loc_error": pytest.approx(0.6), "triggerTimeUTC": "2026-03-22 02:00:00.430"},
        "p_assoc": pytest.approx(31 * math.pi * 0.01**2 / 141_994 * (1 - math.exp(-250 * 15_000 / 41_252.96 * 0.5 / 365.25)), rel=1e-4),
        "ackTime": gold["ackTime"],
    }
    assert gold == expected
    assert set(FIELDS) < set(gold)

    # Late notices, one of them more exact than the one before: they meet the alerts that were there, once, and those that come.
    broker.notice("swift", voevent().replace(b"225.0206", b"29.25").replace(b"-69.4968", b"-63.62"))
    broker.notice("lvk", gwalert())
    broker.notice("fermi_refined", fermi(ra_dec_error=0.01, ra=29.241))
    event = parse(written(gwalert()))
    broker.science([(7, *here, 0.5, 0.95, 1.0, -999.0), (8, event.ra, event.dec, 0.5, 0.95, 1.0, -999.0)])
    broker.run()
    seen = broker.read()
    bronze = [(one["candid"], one["triggerId"], one["gcn_ra"]) for one in seen["fink_grb_bronze"]]
    swift, refined = ("1118357", 29.25), ("745121685", 29.241)
    assert bronze == [(number, *notice) for number in (1, 2, 7) for notice in (swift, refined)]
    assert [one["candid"] for one in seen["fink_grb_gold"]] == [1, 1, 7, 7]
    assert [(one["candid"], one["triggerId"], one["event"]) for one in seen["fink_gw_bronze"]] == [(8, "S260322a", "gw")]
    found = notices.summary(broker.settings.notices_book)
    assert (found["read"], found["unusable"], list(found["faults"])) == (4, {}, ["broken"])
    _while_it_runs(broker)


def _while_it_runs(broker: Broker) -> None:
    """A notice comes from Kafka; what was fetched is noted there, and not fetched again."""
    server, folder = Connection(broker.address), broker.settings.notices_folder
    context = Context(broker.spark, broker.settings, ZTF)
    query = multimessenger.start(context)
    try:
        producer = Producer({"bootstrap.servers": broker.address})
        for value in (written(fermi(id="late")), b"no notice"):
            producer.produce("gcn_test_notices", value)
        assert producer.flush(20) == 0
        assert multimessenger.review(context, query) is False
    finally:
        query.stop()
        multimessenger.settle(context, query)
    seen = broker.read()
    assert [(one["candid"], one["triggerId"]) for one in seen["fink_grb_bronze"]] == [(number, "late") for number in (1, 2, 7)]
    assert len(notices.summary(broker.settings.notices_book)["faults"]) == 2
    inbox = gcn.Inbox(server, "gcn_test_.*", folder)
    assert inbox.fetch() == 0
    inbox.close()
    assert len(list(folder.glob("*.notice"))) == 2
    gcn.forget(folder, -1)
    assert {file.name for file in folder.iterdir()} == {"fermi", "broken", "swift", "lvk", "fermi_refined"}


def test_a_survey_without_counterparts_is_refused() -> None:
    with pytest.raises(ConfigError, match="rubin has no topics for counterparts"):
        multimessenger.check(surveys.get("rubin"))
