"""notify on the real Kafka: every alert is delivered, over an endpoint that fails, one that is dead, and a restart."""

from __future__ import annotations

import email
import io
import json
import time
from collections import Counter
from collections.abc import Callable
from email import policy
from typing import Any

import fastavro
import pytest
from confluent_kafka import Producer

from fink_broker import surveys
from fink_broker.connectors.kafka import make_topics
from fink_broker.connectors.security import Connection
from fink_broker.outlets import notes
from tests.integration.conftest import Broker
from tests.outlets.endpoints import Mailbox, Web, mailbox, web

pytestmark = pytest.mark.integration

SCHEMA = json.loads((surveys.get("ztf").schemas / "4.02.avsc").read_text(encoding="utf-8"))


def publish(broker: Broker, topic: str, alerts: list[dict[str, Any]]) -> None:
    """As distribution does: the schema as key, the record as value, the id as header."""
    producer, parsed = Producer({"bootstrap.servers": broker.kafka}), fastavro.parse_schema(SCHEMA)
    for number, alert in enumerate(alerts):
        value = io.BytesIO()
        fastavro.schemaless_writer(value, parsed, alert)
        headers = {"fink-id": str(alert["candid"])}
        producer.produce(topic, value.getvalue(), json.dumps(SCHEMA).encode(), partition=number % 2, headers=headers)
    assert producer.flush(30) == 0


def outlets(chat: Web, tom: Web, box: Mailbox, per_minute: int) -> str:
    """Five outlets, one of them dead."""
    entries = {
        "chat": f'kind = "webhook"\nurl = "{chat.url}/services/{{secret}}"\nper_minute = {per_minute}\noptions = {{ text = "{{id}}" }}',
        "tom": f'kind = "tom"\nurl = "{tom.url}"\nper_minute = 1000',
        "mail": f'kind = "email"\nurl = "{box.url}"\ndigest_minutes = 0.02\noptions = {{ to = ["a@b.org"], sender = "fink@b.org" }}',
        "dead": 'kind = "notice"\nurl = "http://127.0.0.1:9"',
        "trial": f'kind = "skyportal"\nurl = "{tom.url}/trial"\ndry_run = true\noptions = {{ group_ids = [1], instrument_id = 2 }}',
    }
    begin = 'starting_offsets = "earliest"\nfilters = ["told"]\n'
    broken = 'topics = "fink_broken_.*"\n'
    return "".join(f'[[outlets]]\nname = "{name}"\n{begin}{"" if name == "dead" else broken}{text}\n' for name, text in entries.items())


def until(true: Callable[[], bool], what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


def texts(box: Mailbox) -> str:
    return "\n".join(str(email.message_from_string(mail, policy=policy.default).get_content()) for mail in box.mails)


def test_nothing_is_lost_and_nobody_holds_up_others(broker: Callable[[str], Broker], templates: list[dict[str, Any]]) -> None:
    one, found = broker("notifier"), [dict(alert, candid=number) for number, alert in enumerate(templates[:20], 1000)]
    variables = {"FINK_SECRETS__CHAT": "T0/hunter2", "FINK_SECRETS__TOM": "abc"}

    def done() -> dict[str, tuple[int, int]]:
        tallies = {name: notes.load(notes.path(one.settings.outlet_notes, name)) for name in ("chat", "tom", "mail")}
        return {name: (tally.sent, tally.failed) for name, tally in tallies.items()}

    with web() as chat, web() as tom, mailbox() as box:
        one.configure("none", outlets(chat, tom, box, per_minute=5))
        one.send("fink_broken_ztf", [b"no alert"])
        make_topics(Connection(one.kafka), {"fink_told_ztf": 2})
        publish(one, "fink_told_ztf", found)
        chat.answers = [(500, {}, ""), (429, {"Retry-After": "0"}, ""), (400, {}, "invalid_payload")]
        tom.answers = [(201, {}, "")] * 19 + [(400, {}, '{"name": ["target with this name already exists."]}')]
        process = one.open("start", "notify", **variables)
        try:
            # Killed while most of the chat's alerts are held for the next minute.
            until(lambda: done() == {"chat": (4, 2), "tom": (20, 1), "mail": (20, 1)}, lambda: (done(), process.poll()))
        finally:
            process.kill()
            out, err = process.communicate()
        assert err == "", out

        for alert in found:
            [body] = [body for body in tom.bodies if body["targetextra_set"][1]["value"] == str(alert["candid"])]
            assert (body["name"], body["ra"], body["dec"]) == (alert["objectId"], alert["candidate"]["ra"], alert["candidate"]["dec"])
        assert {headers["Authorization"] for _, _, headers, _ in tom.requests} == {"Token abc"}
        assert {path for _, path, _, _ in chat.requests} == {"/services/T0/hunter2"}
        assert all(texts(box).count(f"  {name} ") == count for name, count in Counter(alert["objectId"] for alert in found).items())

        # The next start delivers what was not, and no more; it gives the dead one up, as it is told to.
        one.configure("none", outlets(chat, tom, box, per_minute=500))
        one.conf.write_text(one.conf.read_text(encoding="utf-8").replace("seconds = 20", "seconds = 1"), encoding="utf-8")
        before = len(tom.requests), len(box.mails)
        process = one.open("start", "notify", "--once", **variables)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err.count("\n")) == (1, 1), (out, err)
        assert err.startswith("fink: outlet dead: URLError")
        assert (len(tom.requests), len(box.mails)) == before
        # The first was refused, after two answers to try again.
        first, second, refused, *told = [body["text"] for body in chat.bodies]
        assert first == second == refused
        assert sorted([refused, *told]) == [str(alert["candid"]) for alert in found]
        trial = [json.loads(line.partition("/api/sources ")[2]) for line in out.splitlines() if "/api/sources " in line]
        assert Counter(entry["id"] for entry in trial) == Counter(alert["objectId"] for alert in found)

        # It has ended because of an outlet, which nobody asked it to.
        state = json.loads(one.open("status", "--json").communicate(timeout=60)[0])
        service = state["services"]["notify"]
        assert (state["ok"], service["state"], service["lag"]) == (False, "failed", 20)
        assert service["failure"]["reason"].startswith("outlet dead: URLError")
        tallies = {name: (entry["sent"], entry["failed"], entry["waiting"]) for name, entry in service["outlets"].items()}
        assert tallies == {"chat": (19, 2, 0), "tom": (20, 1, 0), "mail": (20, 1, 0), "dead": (0, 0, 20)}
        assert service["outlets"]["dead"]["error"].startswith("URLError")
        log = one.settings.log("notify").read_text(encoding="utf-8")
        assert "fink_broken_ztf/0, offset 0 cannot be read: it has no schema" in log
        assert not any("hunter2" in text for text in (log, out, err, one.run("config", "show")))
