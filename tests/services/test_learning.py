"""What is learned from a message, and what is refused and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from datasim import garbage
from datasim.packet import container, writer_schema
from fink_broker.config import Settings
from fink_broker.connectors import avro
from fink_broker.errors import ServerUnavailable
from fink_broker.services import known, learning, stream2raw
from fink_broker.services.context import Context
from fink_broker.services.known import Known, Learned
from fink_broker.services.learning import Position
from fink_broker.surveys import get

ZTF = get("ztf")
PLACE = Position("ztf_x", 0, 7)


@pytest.fixture
def context(spark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A broker whose Kafka holds what `messages` says."""
    monkeypatch.setattr(learning.telescope, "connection", lambda context: None)
    return Context(spark, Settings(home=tmp_path), ZTF)


def give(monkeypatch: pytest.MonkeyPatch, *values: bytes) -> None:
    monkeypatch.setattr(learning.kafka, "messages", lambda connection, topic, partition, offset, count: iter(values[:count]))


def test_refusals_are_given_up_after_a_while(monkeypatch: pytest.MonkeyPatch):
    now = [100.0]
    monkeypatch.setattr(learning.time, "monotonic", lambda: now[0])
    context = SimpleNamespace(memory={})
    assert not learning.forget(context)
    learning.refused(context)[b"\0\0\0\0\1"] = "no schema has the id 1"
    now[0] += 299
    assert not learning.forget(context)
    now[0] += 2
    assert learning.forget(context)
    assert learning.refused(context) == {}
    assert not learning.forget(context)


def test_the_first_schema_is_learned_and_found_again(context: Context, monkeypatch: pytest.MonkeyPatch, templates):
    schema = writer_schema("4.02")
    give(monkeypatch, container(templates[0] | {"fp_hists": None}, schema))
    assert learning.learn(context, PLACE)
    assert known.load(context.settings, ZTF).learned == [Learned(prefix=schema.header, schema_text=schema.text)]
    assert not learning.learn(context, PLACE)  # nothing new


def test_a_kafka_that_starts_again_is_waited_for(context: Context, monkeypatch: pytest.MonkeyPatch, templates):
    answers = [KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION)), ServerUnavailable("no answer")]

    def messages(*place: object) -> Iterator[bytes]:
        if answers:
            raise answers.pop()
        yield container(templates[0] | {"fp_hists": None}, writer_schema("4.02"))

    monkeypatch.setattr(learning.kafka, "messages", messages)
    assert learning.learn(context, PLACE)


def test_a_schema_that_says_the_same_is_learned_if_it_comes_again(context: Context, monkeypatch: pytest.MonkeyPatch, templates):
    known.keep(context.settings, ZTF, Learned(prefix=writer_schema("4.02").header, schema_text=writer_schema("4.02").text))
    # The same schema after other metadata: another header.
    sound = container(templates[0] | {"fp_hists": None}, writer_schema("4.02"))
    header, text = avro.read_header(sound), writer_schema("4.02").text
    other = avro.header(text.replace('"version":"4.02"', '"version":"4.07"'))
    value = other + sound[len(header.prefix) :]
    give(monkeypatch, value, sound)
    assert not learning.learn(context, PLACE)
    give(monkeypatch, value, sound, value)
    assert learning.learn(context, PLACE)
    assert [one.prefix for one in known.load(context.settings, ZTF).learned] == [header.prefix, other]


@pytest.mark.parametrize("damage", [b"junk", b"", b"Obj\x01\x02"])
def test_what_has_no_schema_teaches_nothing(context: Context, monkeypatch: pytest.MonkeyPatch, damage: bytes):
    give(monkeypatch, damage)
    assert not learning.learn(context, PLACE, last_try=True)
    assert known.load(context.settings, ZTF).learned == []


def test_a_schema_that_comes_with_an_unsound_alert_is_refused_only_at_the_last_try(
    context: Context, monkeypatch: pytest.MonkeyPatch, templates
):
    candidate = templates[0]["candidate"] | {"ra": 400.0}
    value = container(templates[0] | {"fp_hists": None, "candidate": candidate}, writer_schema("3.3"))
    known.keep(context.settings, ZTF, Learned(prefix=writer_schema("4.02").header, schema_text=writer_schema("4.02").text))
    give(monkeypatch, value, value)
    assert not learning.learn(context, PLACE)
    assert learning.refused(context) == {}
    assert not learning.learn(context, PLACE, last_try=True)
    assert list(learning.refused(context)) == [writer_schema("3.3").header]


def test_a_header_with_json_that_is_no_schema_is_refused(context: Context, monkeypatch: pytest.MonkeyPatch, templates):
    """One bit that flips in `"type"` leaves JSON: it must not end the service, which would meet the message again at each start."""
    known.keep(context.settings, ZTF, Learned(prefix=writer_schema("4.02").header, schema_text=writer_schema("4.02").text))
    sound = container(templates[0] | {"fp_hists": None}, writer_schema("4.02"))
    for value in garbage.unsound_schemas(sound, writer_schema("4.02")).values():
        give(monkeypatch, value)
        assert not learning.learn(context, PLACE)
        assert not learning.learn(context, PLACE, last_try=True)
    assert len(known.load(context.settings, ZTF).learned) == 1
    assert all("field alert" in reason for reason in learning.refused(context).values())


def test_a_broker_that_knows_too_many_schemas_asks_for_no_more():
    """It would stop at each alert of a further one, and start again, without an end."""
    one = Learned(prefix=b"x", schema_text=writer_schema("4.02").text)
    assert Known(ZTF, [one] * (known.MOST - 1)).codec(1).ask
    assert not Known(ZTF, [one] * known.MOST).codec(1).ask


def test_a_damaged_first_alert_teaches_no_column(context: Context, monkeypatch: pytest.MonkeyPatch, templates):
    sound = container(templates[0] | {"fp_hists": None}, writer_schema("4.02"))
    give(monkeypatch, sound.replace(b'"name":"magpsf"', b'"name":"magpsg"'))
    assert not learning.learn(context, PLACE)
    assert known.load(context.settings, ZTF).learned == []


def test_the_service_comes_back_for_an_unknown_writer_only(monkeypatch: pytest.MonkeyPatch):
    started: list[bool] = []
    monkeypatch.setattr(stream2raw, "_start", lambda context, *, slow: started.append(slow) or "query")
    monkeypatch.setattr(stream2raw.learning, "learn", lambda context, position, last_try: position == PLACE)
    context = SimpleNamespace(memory={stream2raw._SLOW: False}, settings=Settings(), survey=ZTF)
    assert stream2raw.recover(context, ValueError("the disk is full")) is None
    assert stream2raw.recover(context, ValueError("[USER_RAISED_EXCEPTION] FINK-UNKNOWN-WRITER ztf_x 0 7 SQLSTATE: P0001")) == "query"
    assert stream2raw.recover(context, ValueError("[USER_RAISED_EXCEPTION] FINK-UNKNOWN-WRITER ztf_x 0 8 SQLSTATE: P0001")) == "query"
    assert started == [False, True]
