"""Follow-up of an object: asked for at one of the outlets that can, from the command line, a page or the API."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import Any

from fink_broker import query
from fink_broker.config import Settings
from fink_broker.errors import FinkError, UsageError
from fink_broker.outlets import Alert, Mail, Request
from fink_broker.outlets.alert import alert
from fink_broker.outlets.notes import Notes
from fink_broker.outlets.registry import Way, ways
from fink_broker.services.courier import Courier
from fink_broker.services.sender import Sender

log = logging.getLogger(__name__)

_PATIENCE_S = 30.0


def names(settings: Settings) -> list[str]:
    """Outlets that ask for follow-up."""
    return [one.name for one in settings.outlets if one.asks_followup]


def check(settings: Settings, to: str) -> None:
    """Whether an outlet asks for follow-up.

    Raises
    ------
    UsageError
        There is none of this name that does.
    """
    if to not in names(settings):
        raise UsageError(f"no outlet '{to}' asks for follow-up; there are: {', '.join(names(settings)) or 'none'} (docs/outlets.md)")


def ask(settings: Settings, tables: query.Tables, name: str, to: str, *, send: bool = False) -> list[str]:
    """Ask for follow-up of an object, or say what would be asked.

    Parameters
    ----------
    settings : Settings
        Outlets.
    tables : Tables
        Where its last alert is.
    name : str
        The object.
    to : str
        Name of an outlet whose options have `followup`.
    send : bool
        Without, nothing is sent.

    Returns
    -------
    list of str
        The requests.

    Raises
    ------
    UsageError
        There is no such object or outlet.
    ConfigError
        An outlet cannot be used.
    FinkError
        The endpoint has refused it, or did not answer.
    """
    check(settings, to)
    # The others need not be ready.
    secrets = {name: secret for name, secret in settings.secrets.items() if name == to}
    only = {"outlets": [one for one in settings.outlets if one.name == to], "secrets": secrets}
    [way] = ways(settings.model_copy(update=only), tables.survey)
    found, sent, notes, begun = _last(tables, name, way), list[str](), Notes(), time.monotonic()
    deliver = Sender(way)

    def say(message: Request | Mail) -> Any:
        answer = deliver(message) if send else {}
        sent.append(str(message))
        if send:
            log.info("follow-up of %s, %s: %s", name, to, message)
        return answer

    courier = Courier(way, say, notes, _rest, give_up_s=min(_PATIENCE_S, settings.wait.seconds))
    try:
        courier.take(found)
    except FinkError as error:
        log.warning("follow-up of %s, %s: not taken within %.0f s: %s", name, to, time.monotonic() - begun, notes.error)
        raise FinkError(f"{to} did not take it: {notes.error}") from error
    if notes.failed:
        raise FinkError(f"{to} has not taken it: {notes.refusal}")
    return sent


def _rest(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _last(tables: query.Tables, name: str, way: Way) -> Alert:
    """An object's last alert, as outlets know alerts."""
    facts = way.facts
    rows = query.light_curve(tables, name)
    if not rows.num_rows:
        raise UsageError(f"there is no object '{name}'")
    last = {column.partition(":")[2]: value for column, value in rows.slice(rows.num_rows - 1).to_pylist()[0].items()}
    record: dict[str, Any] = {}
    for field in (*facts.object, *facts.ra, *facts.dec, *facts.time, *facts.band, *facts.brightness, *facts.error, *facts.sign):
        outer, _, inner = field.partition(".")
        if inner:
            record.setdefault(outer, {})[inner] = last.get(inner)
        else:
            record[outer] = last.get(outer)
    identity = str(last.get(tables.survey.alert_id.rpartition(".")[2], name))
    return alert(record, facts, "by hand", identity, datetime.now(UTC))
