"""notify: alerts of topics to chats, mailboxes and other platforms; see docs/outlets.md.

Each outlet is a consumer group and a thread of its own: an endpoint that is away holds up nobody else.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from confluent_kafka import KafkaException, Message

from fink_broker import surveys
from fink_broker.config import Settings
from fink_broker.connectors.reader import Reader
from fink_broker.errors import ConfigError, FinkError, ServerUnavailable
from fink_broker.infra.kafka import connection
from fink_broker.outlets import Alert, notes
from fink_broker.outlets.alert import alert, decode
from fink_broker.outlets.notes import Notes
from fink_broker.outlets.registry import Way, ways
from fink_broker.services.context import RunOptions
from fink_broker.services.courier import Courier, Ending
from fink_broker.services.sender import sender
from fink_broker.services.waiting import Stop

NAME = "notify"

log = logging.getLogger(__name__)

_POLL_S = 0.2
_AGAIN_S = 1.0


@dataclass(frozen=True)
class _Outlet:
    """An outlet at work."""

    way: Way
    settings: Settings
    once: bool
    ending: threading.Event

    def serve(self) -> None:
        """Deliver until the end is asked for, or with `once` all that there is."""
        file = notes.path(self.settings.outlet_notes, self.way.name)
        tally, begun, said = notes.load(file), time.monotonic(), ""
        while not self.ending.is_set():
            try:
                self._read(tally)
                return
            except Ending:
                return
            except (KafkaException, ServerUnavailable) as error:
                if self.once and time.monotonic() >= begun + self.settings.wait.seconds:
                    raise FinkError(f"outlet {self.way.name}: Kafka does not answer: {error}") from error
                if said != (said := str(error)):
                    log.warning("outlet %s: Kafka does not answer: %s", self.way.name, error)
                self.ending.wait(_AGAIN_S)

    def _read(self, tally: Notes) -> None:
        outlet, kafka = self.way.outlet, connection(self.settings, self.settings.kafka.output)
        give_up_s = self.settings.wait.seconds if self.once else None
        changed = partial(self._save, tally)
        courier = Courier(self.way, sender(self.way), tally, self.ending.wait, changed=changed, give_up_s=give_up_s)
        with Reader(kafka, self.way.topics, self.way.group, outlet.starting_offsets, keep=not outlet.is_dry_run) as reader:
            while not self.ending.is_set():
                if courier.full:
                    self.ending.wait(_POLL_S)
                elif (message := reader.poll(_POLL_S)) is not None:
                    self._note(reader, tally)
                    _hand_over(message, self.way, courier, tally)
                if courier.due() or (self.once and reader.at_end and courier.held):
                    courier.flush()
                if courier.held:
                    continue
                # Only now: what is held is read again by the next start.
                reader.commit()
                self._note(reader, tally)
                if self.once and reader.at_end:
                    return

    def _note(self, reader: Reader, tally: Notes) -> None:
        if tally.offsets != reader.reached:
            tally.offsets, tally.lost, reader.lost = reader.reached, tally.lost + reader.lost, 0
            self._save(tally)

    def _save(self, tally: Notes) -> None:
        if not self.way.outlet.is_dry_run:
            tally.save(notes.path(self.settings.outlet_notes, self.way.name))


def run(settings: Settings, options: RunOptions, stop: Stop) -> None:
    """Deliver until the end is asked for; with `once` all that there is.

    Raises
    ------
    ConfigError
        There is no outlet, or one that cannot be used.
    FinkError
        With `once`: an endpoint or Kafka did not answer as long as ``[wait]`` says.
    """
    found = [way for way in ways(settings, surveys.get(settings.survey)) if way.topics]
    if not found:
        raise ConfigError("there is nobody to notify: [[outlets]] in the configuration, see docs/outlets.md")
    ending = threading.Event()
    with ThreadPoolExecutor(len(found), "outlet") as pool:
        work = {pool.submit(_Outlet(way, settings, options.once, ending).serve): way for way in found}
        try:
            while (waiting := wait(work, 0, FIRST_EXCEPTION)).not_done:
                # With `once` the others go on to their end.
                if stop.wait(_POLL_S) or (not options.once and waiting.done):
                    break
        finally:
            ending.set()
    failed = {way.name: error for future, way in work.items() if (error := future.exception()) is not None}
    for name, error in failed.items():
        if not isinstance(error, FinkError):
            log.error("outlet %s ended", name, exc_info=error)
            raise FinkError(f"outlet {name} ended: {type(error).__name__}; details in {settings.log(NAME)}") from error
    if failed:
        raise FinkError("; ".join(map(str, failed.values())))


def _hand_over(message: Message, way: Way, courier: Courier, tally: Notes) -> None:
    try:
        found = read(message, way)
    except ValueError as error:
        tally.failed += 1
        tally.refusal = f"{message.topic()}/{message.partition()}, offset {message.offset()} cannot be read: {error}"
        log.warning("outlet %s: %s", way.name, tally.refusal)
        return
    courier.take(found)


def read(message: Message, way: Way) -> Alert:
    """The alert in a message.

    Raises
    ------
    ValueError
        It cannot be read.
    """
    key, value = message.key(), message.value()
    if not isinstance(key, bytes) or value is None:
        raise ValueError("it has no schema, or no value")
    headers: dict[str, bytes] = dict(message.headers() or ())  # type: ignore[arg-type]
    identity = headers.get("fink-id", b"").decode("utf-8", "replace")
    published = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
    topic = str(message.topic())
    return alert(decode(key, value), way.facts, topic, identity or f"{topic}/{message.partition()}/{message.offset()}", published)
