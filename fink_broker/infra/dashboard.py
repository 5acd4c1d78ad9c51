"""The dashboard's process: started, found and stopped as the other servers of this machine."""

from __future__ import annotations

import os
import sys
import time

from fink_broker.config import CHECKOUT, Settings
from fink_broker.errors import ServerUnavailable
from fink_broker.infra import ports, processes
from fink_broker.infra.detach import detach
from fink_broker.infra.processes import Running

NAME = "dashboard"
DESCRIPTION = "pages in a browser, REST API, metrics for Prometheus"

_START_S = 30.0
_POLL_S = 0.1


def start(settings: Settings) -> Running:
    """Start the dashboard and wait until it answers; one that runs already is left as it is.

    Raises
    ------
    ServerUnavailable
        Its port is taken, or it did not come up.
    """
    return processes.once(settings, NAME, lambda: _start(settings))


def _start(settings: Settings) -> Running:
    port = ports.choose(settings.dashboard.port, "the dashboard", "[dashboard] port")
    command = [sys.executable, "-P", "-m", "fink_broker.web.serve", str(port)]
    # With our passwords: it asks Kafka how far behind the services are. It reads the configuration by itself, but not what `-s` says.
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "FINK_SURVEY": settings.survey}
    pid = detach(command, settings.log(NAME), environment)
    running = processes.register(settings, NAME, f"{settings.dashboard.host}:{port}", pid)
    _wait(settings, running, port)
    return running


def _wait(settings: Settings, running: Running, port: int) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if not processes.is_alive(running):
            raise ServerUnavailable(f"the dashboard ended while it started; its log is {settings.log(NAME)}")
        if ports.answers(port):
            return
        time.sleep(_POLL_S)
    raise ServerUnavailable(f"the dashboard did not answer within {_START_S:g} s; its log is {settings.log(NAME)}")
