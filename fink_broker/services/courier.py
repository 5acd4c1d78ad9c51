"""Delivers the alerts of one outlet: as many a minute as it may, again until the endpoint takes them, many in one message."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Generator
from typing import Any

from fink_broker.connectors.endpoints import Away, Refused
from fink_broker.errors import FinkError
from fink_broker.outlets import Alert, Mail, Request
from fink_broker.outlets.notes import Notes
from fink_broker.outlets.registry import Messages, Way

log = logging.getLogger(__name__)

_MINUTE_S = 60.0
_PAUSES_S = (1.0, 300.0)
# More wait in Kafka.
_MOST = 10_000


class Ending(Exception):
    """The service is to end: what is in hand is not delivered, and comes again."""


class Courier:
    """Takes alerts, and returns when they are delivered or held for a message for many.

    Parameters
    ----------
    way : Way
        The outlet.
    send : callable
        Sends one message and gives what is answered; raises Refused or Away.
    notes : Notes
        Counts.
    wait : callable
        Waits for so many seconds; whether the service is to end.
    changed : callable
        Called when the endpoint has gone away or come back.
    give_up_s : float, optional
        An endpoint that is away for longer is an error; without, it is tried for ever.
    clock : callable
        Time in seconds.
    """

    def __init__(
        self,
        way: Way,
        send: Callable[[Request | Mail], Any],
        notes: Notes,
        wait: Callable[[float], bool],
        *,
        changed: Callable[[], None] = lambda: None,
        give_up_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._way, self._send, self._notes, self._wait = way, send, notes, wait
        self._changed, self._give_up_s, self._clock = changed, give_up_s, clock
        self.held: list[Alert] = []
        self._held_since = 0.0
        self._minute, self._count = clock(), 0

    @property
    def full(self) -> bool:
        """Whether so many are held that the next ones have to wait."""
        return len(self.held) >= _MOST

    def take(self, alert: Alert) -> None:
        """Deliver an alert, or hold it.

        Raises
        ------
        Ending
            Before it was delivered.
        FinkError
            The endpoint was away for too long.
        """
        single = self._way.single
        if self._way.summary is not None and (self._way.digest_s or self.held or not self._free()):
            if not self.held:
                self._held_since = self._clock()
            self.held.append(alert.brief())
            return
        assert single is not None  # the registry has seen to it
        self._await_turn()
        self._deliver(lambda: single(alert), 1, alert.id)

    def due(self) -> bool:
        """Whether the message for those that are held is to go out: when the digest's time has come, else with the next minute."""
        since, span = (self._held_since, self._way.digest_s) if self._way.digest_s else (self._minute, _MINUTE_S)
        return bool(self.held) and (self.full or self._clock() >= since + span)

    def flush(self) -> None:
        """Deliver what is held, in one message; see `take`."""
        summary, alerts = self._way.summary, self.held
        assert summary is not None
        self._await_turn()
        if self._deliver(lambda: [summary(alerts)], len(alerts), f"{len(alerts)} alerts from {alerts[0].id} on"):
            self._notes.gathered += len(alerts)
        self.held = []

    def _free(self) -> bool:
        """Whether this minute has room for another message."""
        now = self._clock()
        if now >= self._minute + _MINUTE_S:
            self._minute, self._count = now, 0
        return self._count < self._way.outlet.per_minute

    def _await_turn(self) -> None:
        while not self._free():
            self._rest(self._minute + _MINUTE_S - self._clock())
        self._count += 1

    def _rest(self, seconds: float) -> None:
        if self._wait(max(seconds, 0.0)):
            raise Ending

    def _deliver(self, requests: Callable[[], Messages], count: int, what: str) -> bool:
        """Send the requests of one delivery; whether all were taken."""
        try:
            steps = requests()
            if isinstance(steps, Generator):
                with contextlib.suppress(StopIteration):
                    request = next(steps)
                    while True:
                        request = steps.send(self._insist(request))
            else:
                for request in steps:
                    self._insist(request)
        except (Ending, FinkError):
            raise
        except Refused as error:
            self._fail(count, what, f"refused: {error}")
            return False
        # An adapter is somebody's code: what it raises costs its own alert.
        except Exception as error:  # noqa: BLE001
            self._fail(count, what, f"the adapter raised {type(error).__name__}: {error}")
            return False
        self._notes.sent += count
        return True

    def _fail(self, count: int, what: str, reason: str) -> None:
        self._notes.failed += count
        self._notes.refusal = self._way.masked(reason)[:300]
        log.warning("outlet %s: %s: %s", self._way.name, what, self._notes.refusal)

    def _insist(self, request: Request | Mail) -> Any:
        """Send until it is taken, waiting as long as the endpoint says, else ever longer."""
        pause, begun = _PAUSES_S[0], self._clock()
        while True:
            try:
                answer = self._send(request)
                break
            except Away as away:
                self._notes.retries += 1
                self._tell(self._way.masked(str(away))[:300])
                if self._give_up_s is not None and self._clock() >= begun + self._give_up_s:
                    raise FinkError(f"outlet {self._way.name}: {self._notes.error}; what was not delivered waits in Kafka") from None
                self._rest(pause if away.after is None else away.after)
                pause = min(2 * pause, _PAUSES_S[1])
        self._tell("")
        return answer

    def _tell(self, error: str) -> None:
        """Say once that the endpoint has gone away, or come back."""
        if error != self._notes.error:
            log.log(logging.WARNING if error else logging.INFO, "outlet %s: %s", self._way.name, error or "takes messages again")
            self._notes.error = error
            self._changed()
