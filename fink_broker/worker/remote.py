"""Servers in the network that modules ask: timeouts, another try, and a rest for a server that does not answer.

While a module runs, all that it sends through `requests` goes through here; its own code stays as it is.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

# Seconds to connect and to wait for an answer, tries with a pause in between: together below the minute that a module has.
TIMEOUT = (5.0, 15.0)
TRIES, PAUSE_S = 2, 0.5
# A server that failed so often in turn is left alone for a while: calls fail at once, and the night goes on.
_FAILURES, _REST_S = 3, 60.0
# Answers of a server that is overloaded or down (RFC 9110, section 15.6; RFC 6585, section 4).
_BUSY = {429, 500, 502, 503, 504}


class Away(ConnectionError):
    """The server does not answer. Whoever catches connection errors catches it."""


@dataclass
class _Server:
    failures: int = 0
    closed_until: float = 0.0


_servers: dict[str, _Server] = {}


@contextmanager
def patient() -> Iterator[None]:
    """Inside, requests have a timeout and are tried again."""
    requests = sys.modules.get("requests")
    if requests is None:
        yield
        return
    send = requests.Session.request
    # Whichever of the two a module catches.
    away = type("Away", (Away, requests.exceptions.ConnectionError), {})

    def request(self: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        kwargs["timeout"] = kwargs.get("timeout") or TIMEOUT
        host = urlsplit(url).netloc
        server = _servers.setdefault(host, _Server())
        if time.monotonic() < server.closed_until:
            raise away(f"{host} did not answer {server.failures} times in turn: it is left alone for a while")
        for number in range(TRIES):
            last = number == TRIES - 1
            try:
                answer = send(self, method, url, *args, **kwargs)
                if answer.status_code not in _BUSY:
                    server.failures = 0
                    return answer
                if last:
                    _failed(server)
                    return answer
            except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
                if last:
                    _failed(server)
                    raise away(f"{host} did not answer: {type(error).__name__}") from error
            time.sleep(PAUSE_S)
        raise AssertionError

    with mock.patch.object(requests.Session, "request", request):
        yield


def _failed(server: _Server) -> None:
    server.failures += 1
    if server.failures >= _FAILURES:
        server.closed_until = time.monotonic() + _REST_S
