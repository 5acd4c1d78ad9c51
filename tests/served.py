"""A dashboard served on this machine, and what it answers."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from fink_broker.config import Settings
from fink_broker.infra import ports
from fink_broker.web.app import create


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """The address of a dashboard."""
    port = ports.free()
    server = uvicorn.Server(uvicorn.Config(create(settings), port=port, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def get(url: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Code, headers and content; by POST with a body."""
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, content, {"Content-Type": "application/json"} | headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()
