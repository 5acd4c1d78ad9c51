"""What Kafka gave up before it was read: counted, said, and no reason to stop."""

from __future__ import annotations

import logging

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from fink_broker.connectors import kafka
from fink_broker.connectors.ranges import Range
from fink_broker.connectors.security import Connection
from fink_broker.monitoring import gaps
from fink_broker.monitoring.gaps import Gap
from fink_broker.services import stream2raw
from tests.integration.test_catch_up import Home, home  # noqa: F401 - a fixture
from tests.integration.test_evolution import wait_for
from tests.integration.test_rubin import alert, body, schema

pytestmark = pytest.mark.integration


def give_up(home: Home, topic: str, partition: int, before: int) -> None:  # noqa: F811
    """What Kafka's retention does."""
    admin = AdminClient({"bootstrap.servers": home.kafka.kafka})
    [given_up] = admin.delete_records([TopicPartition(topic, partition, before)]).values()
    assert given_up.result(10).low_watermark == before


def send_in_a_transaction(home: Home, topic: str) -> None:  # noqa: F811
    """Two alerts and, after them, Kafka's mark of the transaction: an offset without a message."""
    producer = Producer({"bootstrap.servers": home.kafka.kafka, "transactional.id": topic})
    producer.init_transactions(20)
    producer.begin_transaction()
    for number in (home.sent + 1, home.sent + 2):
        producer.produce(topic, body(schema(), alert(number)), partition=1)
    producer.commit_transaction(20)
    home.sent += 2


def test_the_stream_goes_on_and_the_loss_is_counted(home: Home, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    once = home.context(once=True)
    settings, first, second = once.settings, f"{home.topics}_1", f"{home.topics}_2"
    home.topics += "_."
    once = home.context(once=True)
    home.send(10, first)
    with monkeypatch.context() as unasked:
        # What is complete costs no look at files and no question to Kafka.
        unasked.delattr(gaps, "note")
        home.run(once)
    home.send(20, first)
    send_in_a_transaction(home, first)
    home.send(2, first)
    give_up(home, first, 0, 9)
    with caplog.at_level(logging.WARNING):
        home.run(once)
    # The batches of 8 met the gap twice: it is told once.
    assert [line for line in caplog.messages if "LOST" in line] == [
        f"LOST: the messages of {first}/0 from offset 5 on were gone from Kafka before they were read"
    ]
    state = home.intake(settings)
    assert (state["in"], state["out"], state["lost"], state["lag"]) == (34, 30, 4, 0)
    assert gaps.total(gaps.noted(settings), "none") == 1
    assert [sum(one["lost"] for one in account["stretches"]) for account in home.accounts(settings)] == [4, 4, 4]

    # A topic that is deleted, as telescopes do after some days: what was read of it still counts.
    admin = AdminClient({"bootstrap.servers": home.kafka.kafka})
    admin.delete_topics([first])[first].result(10)
    wait_for(lambda: first not in admin.list_topics(timeout=10).topics)
    home.send(30, second)
    handed = home.context("both")
    stream2raw.start(handed).stop()
    assert home.intake(settings)["backlog"] == 30
    assert f"{first}/0 is gone from Kafka, or was made anew; it had been read up to offset 15" in caplog.messages
    # And a backlog that Kafka gave up before its query came to it.
    give_up(home, second, 1, 11)
    home.send(4, second)
    home.run(once)
    state = home.intake(settings)
    assert (state["in"], state["out"], state["lost"], state["lag"]) == (68, 53, 15, 0)

    # What Kafka still has is no loss: that the sums do not meet is to be seen.
    before = gaps.noted(settings)
    place = Range(second, 1, 10, 13)
    connection = Connection(home.kafka.kafka)
    gaps.note(settings, connection, "stream2raw-99", [place], [])
    assert f"of {second}/1 the messages from offset 11 to 12 are in Kafka, but were not taken in" in caplog.messages
    assert [gap for gap in gaps.noted(settings) if gap not in before] == [Gap(place._replace(until=11), "lost")]
    assert kafka.message_counts(connection, [first, second]) == {first: 0, second: 23}
