"""The embedded servers by name, for commands that treat them alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fink_broker.config import Settings
from fink_broker.infra import dashboard, hbase, kafka, registry
from fink_broker.infra.processes import Running


@dataclass(frozen=True)
class Server:
    """A server that runs on this machine beside the services.

    Attributes
    ----------
    name : str
        Name on the command line and of the pid file.
    description : str
        One line for the help.
    start : callable
        Starts it and waits until it answers; returns the running one if there is one.
    prepare : callable
        Fetches what is missing of it; quick where nothing is. `start` does it too, but Ctrl-C reaches only the main thread.
    """

    name: str
    description: str
    start: Callable[[Settings], Running]
    prepare: Callable[[], object] = lambda: None


SERVERS = {
    server.name: server
    for server in (
        Server(kafka.NAME, kafka.DESCRIPTION, kafka.start),
        Server(hbase.NAME, hbase.DESCRIPTION, hbase.start),
        Server(registry.NAME, registry.DESCRIPTION, registry.start, registry.application),
        Server(dashboard.NAME, dashboard.DESCRIPTION, dashboard.start),
    )
}
