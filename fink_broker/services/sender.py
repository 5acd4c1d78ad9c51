"""Sends what an adapter gives to the endpoint of its outlet."""

from __future__ import annotations

import contextlib
import json
import re
from base64 import b64encode
from collections.abc import Callable
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from functools import partial
from typing import Any

from fink_broker.connectors import endpoints
from fink_broker.connectors.endpoints import Refused
from fink_broker.outlets import Mail, Request
from fink_broker.outlets.registry import Way


class Sender:
    """Sends what an adapter gives to its endpoint."""

    def __init__(self, way: Way) -> None:
        self._way, self._url = way, way.filled(way.outlet.url)
        secret, username = way.secret.get_secret_value(), way.outlet.username
        self._login = (username, secret) if username else None
        self._headers = {"Content-Type": "application/json", "User-Agent": "fink-broker"}
        if username:
            self._headers["Authorization"] = "Basic " + b64encode(f"{username}:{secret}".encode()).decode()
        elif way.authorization:
            self._headers["Authorization"] = way.filled(way.authorization)

    def __call__(self, message: Request | Mail) -> Any:
        """Send it; what an answer in JSON says, else an empty dictionary.

        Raises
        ------
        Refused, Away
            It was not taken.
        """
        if isinstance(message, Mail):
            endpoints.mail(self._url, self._login, _written(message))
            return {}
        # What is no number in JSON is refused here: others would refuse the whole message.
        body = None if message.body is None else json.dumps(message.body, allow_nan=False).encode()
        url = self._url.rstrip("/") + message.path if message.path else self._url
        try:
            return _said(endpoints.post(url, body, self._headers, message.method))
        except Refused as error:
            if not (message.known and re.search(message.known, str(error))):
                raise
            return {}


def _said(answer: bytes) -> Any:
    with contextlib.suppress(ValueError):
        found = json.loads(answer)
        return found if isinstance(found, dict) else {}
    return {}


def _written(mail: Mail) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = mail.sender, ", ".join(mail.to), mail.subject
    message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain="fink-broker")
    message.set_content(mail.text)
    return message


def sender(way: Way) -> Callable[[Request | Mail], Any]:
    """What sends the messages of an outlet, and gives what is answered; in a dry run it prints them."""
    return partial(_show, way) if way.outlet.is_dry_run else Sender(way)


def _show(way: Way, message: Request | Mail) -> dict[str, Any]:
    print(f"outlet {way.name}, dry run, to {way.outlet.url}: {message}", flush=True)
    return {}
