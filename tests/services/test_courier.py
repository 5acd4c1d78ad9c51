"""How alerts of one outlet are delivered: not too many a minute, again until they are taken, nothing dropped."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from fink_broker import surveys
from fink_broker.config import Settings
from fink_broker.connectors.endpoints import Away, Refused
from fink_broker.errors import FinkError
from fink_broker.outlets import Alert, Mail, Request
from fink_broker.outlets.notes import Notes
from fink_broker.outlets.registry import ways
from fink_broker.services.courier import Courier, Ending


@dataclass
class World:
    """A clock that only waiting moves, and an endpoint: `faults` are used up one by one, then all is well."""

    now: float = 1000.0
    ends_at: float = float("inf")
    faults: list[Exception] = field(default_factory=list)
    sent: list[tuple[float, Any]] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return self.now >= self.ends_at

    def send(self, message: Request | Mail) -> None:
        if self.faults:
            raise self.faults.pop(0)
        self.sent.append((self.now - 1000, message.text if isinstance(message, Mail) else message.body))

    def courier(self, kind: str = "webhook", give_up_s: float | None = None, **outlet: Any) -> Courier:
        options = {"webhook": {"text": "{name}"}, "email": {"to": ["a@b"], "sender": "a@b"}}
        scheme = "smtp" if kind == "email" else "https"
        entry = {"name": "mine", "kind": kind, "filters": ["f"], "url": f"{scheme}://h", "options": options.get(kind, {}), **outlet}
        settings = Settings.model_validate({"outlets": [entry]})
        [way] = ways(settings, surveys.get("ztf"))
        note = lambda: self.changes.append(self.notes.error)  # noqa: E731
        return Courier(way, self.send, self.notes, self.wait, changed=note, give_up_s=give_up_s, clock=lambda: self.now)

    @property
    def texts(self) -> list[tuple[float, str]]:
        return [(when, body["text"]) for when, body in self.sent]


def alert(number: int) -> Alert:
    return Alert("t", str(number), datetime(2026, 3, 22, tzinfo=UTC), record={"cutout": b"large"})


def test_what_is_over_the_limit_goes_into_one_message():
    world = World()
    courier = world.courier(per_minute=3)
    for number in range(100):
        courier.take(alert(number))
        assert not courier.due()
    assert world.texts == [(0, "0"), (0, "1"), (0, "2")]
    assert not any(one.record for one in courier.held)
    world.now += 59.9
    assert not courier.due()
    world.now += 0.1
    assert courier.due()
    courier.flush()
    assert world.texts[3:] == [(60, "\n".join(["97 alerts: 97 in t", *map(str, range(3, 18)), "… and 82 more"]))]
    # That was the first of this minute.
    for number in range(100, 104):
        courier.take(alert(number))
    assert [text for _, text in world.texts[4:]] == ["100", "101"]
    assert [one.id for one in courier.held] == ["102", "103"]
    assert (world.notes.sent, world.notes.gathered, world.notes.failed) == (102, 97, 0)


def test_what_has_no_message_for_many_waits_for_its_turn():
    world = World()
    courier = world.courier("tom", per_minute=2)
    for number in range(5):
        courier.take(alert(number))
    assert [(when, body["name"]) for when, body in world.sent] == [(0, "0"), (0, "1"), (60, "2"), (60, "3"), (120, "4")]
    assert (world.notes.sent, world.notes.gathered) == (5, 0)
    world.ends_at = world.now
    courier.take(alert(5))
    with pytest.raises(Ending):
        courier.take(alert(6))
    assert world.notes.sent == 6


def test_a_digest_is_gathered():
    world = World()
    courier = world.courier("email", digest_minutes=10)
    courier.take(alert(0))
    world.now += 599
    courier.take(alert(1))
    assert not courier.due()
    world.now += 1
    assert courier.due()
    courier.flush()
    [(when, text)] = world.sent
    assert (when, text.split()[:2], courier.held) == (600, ["2", "t"], [])
    for number in range(10_000):
        courier.take(alert(number))
    assert courier.full
    assert courier.due()


def test_tried_again_until_it_is_taken():
    world = World(faults=[Away("500"), Away("500"), Away("429", after=30), Away("refused"), Away("refused")])
    courier = world.courier()
    courier.take(alert(0))
    assert world.texts == [(1 + 2 + 30 + 8 + 16, "0")]
    assert (world.notes.sent, world.notes.retries, world.notes.error) == (1, 5, "")
    # Told once for each reason.
    assert world.changes == ["500", "429", "refused", ""]
    world.faults = [Away("gone") for _ in range(30)]
    world.ends_at = world.now + 5000
    with pytest.raises(Ending):
        courier.take(alert(1))
    # No more than five minutes between two tries.
    assert 16 < world.notes.retries - 5 < 30
    assert (world.notes.sent, world.notes.error) == (1, "gone")


def test_with_once_an_endpoint_that_is_away_is_an_error():
    world = World(faults=[Away("gone") for _ in range(30)])
    with pytest.raises(FinkError, match="outlet mine: gone; what was not delivered waits in Kafka"):
        world.courier(give_up_s=20).take(alert(0))
    assert world.now < 1040


def test_what_is_refused_or_raised_costs_its_own_alert():
    world = World(faults=[Refused("400: no"), ValueError("no number in JSON")])
    courier = world.courier()
    for number in range(3):
        courier.take(alert(number))
    assert world.texts == [(0, "2")]
    assert (world.notes.sent, world.notes.failed) == (1, 2)
    assert world.notes.refusal == "the adapter raised ValueError: no number in JSON"
    courier = world.courier("email")
    courier.take(alert(3))
    courier.take(alert(4))
    world.faults = [Refused("550: unknown")]
    courier.flush()
    assert (world.notes.sent, world.notes.failed, world.notes.gathered, courier.held) == (1, 4, 0, [])
