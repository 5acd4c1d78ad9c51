"""Endpoints of others: HTTP and SMTP; and what became of what was handed to them."""

from __future__ import annotations

import email.utils
import http.client
import smtplib
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

_PATIENCE_S = 30.0
# No server is believed that it is away for longer.
_LONGEST_S = 3600.0
_SHOWN = 300
_LARGEST = 1_000_000

# About this request, and sending it again would not help. All other refusals (login, address, too many) are about the endpoint.
_REFUSED = {400, 409, 413, 422}


class Refused(Exception):
    """The endpoint does not take this, now or later."""


class Away(Exception):
    """The endpoint takes nothing now.

    Parameters
    ----------
    reason : str
        Why.
    after : float, optional
        Seconds after which it asks to be tried again.
    """

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class _Stay(urllib.request.HTTPRedirectHandler):
    """A redirect would turn a POST into a GET, and take the login to another host."""

    def redirect_request(self, *_: Any) -> None:
        """Never."""
        return


_OPENER = urllib.request.build_opener(_Stay)


def post(url: str, body: bytes | None, headers: Mapping[str, str], method: str) -> bytes:
    """Send a request over HTTP; the beginning of the answer.

    Raises
    ------
    Refused, Away
        It was not taken. What happened below is not shown with them: its texts may name the URL, and a secret in it.
    """
    try:
        request = urllib.request.Request(url, body, dict(headers), method=method)
        with _OPENER.open(request, timeout=_PATIENCE_S) as response:
            answer: bytes = response.read(_LARGEST)
            return answer
    except urllib.error.HTTPError as error:
        with error:
            text = " ".join(error.read(4 * _SHOWN).decode("utf-8", "replace").split())[:_SHOWN]
        reason = f"{error.code} {error.reason}: {text}"
        if error.code in _REFUSED:
            raise Refused(reason) from None
        raise Away(reason, _after(error.headers.get("Retry-After"))) from None
    except (OSError, http.client.HTTPException) as error:
        raise Away(f"{type(error).__name__}: {getattr(error, 'reason', error)}") from None


def _after(text: str | None) -> float | None:
    """Seconds that a header ``Retry-After`` asks for: a number, or a date (RFC 9110, section 10.2.3)."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = (email.utils.parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return min(max(seconds, 0.0), _LONGEST_S)


def mail(url: str, login: tuple[str, str] | None, message: EmailMessage) -> None:
    """Send a mail by ``smtp://host:port``, encrypted if the server can (a login asks for it), or ``smtps://host:port``.

    Raises
    ------
    Refused, Away
        It was not taken by anybody.
    """
    where, context = urlsplit(url), ssl.create_default_context()
    try:
        with _connected(where.scheme, where.hostname or "", where.port or 0, context) as server:
            if where.scheme == "smtp" and server.has_extn("starttls"):
                server.starttls(context=context)
            elif where.scheme == "smtp" and login:
                raise Away("the mail server has no encryption (STARTTLS), so it is not given the password: use smtps://")
            if login:
                server.login(*login)
            server.send_message(message)
    except smtplib.SMTPRecipientsRefused as error:
        answers = "; ".join(f"{who}: {code} {said.decode('utf-8', 'replace')}" for who, (code, said) in error.recipients.items())
        permanent = all(code >= 500 for code, _ in error.recipients.values())
        raise (Refused if permanent else Away)(answers[:_SHOWN]) from error
    except smtplib.SMTPDataError as error:
        raise (Refused if error.smtp_code >= 500 else Away)(str(error)[:_SHOWN]) from error
    except (OSError, smtplib.SMTPException) as error:
        raise Away(f"{type(error).__name__}: {error}"[:_SHOWN]) from error


def _connected(scheme: str, host: str, port: int, context: ssl.SSLContext) -> smtplib.SMTP:
    if scheme == "smtps":
        return smtplib.SMTP_SSL(host, port, timeout=_PATIENCE_S, context=context)
    server = smtplib.SMTP(host, port, timeout=_PATIENCE_S)
    server.ehlo()
    return server
