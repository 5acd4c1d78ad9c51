"""The embedded schema registry: Apicurio with the API of Confluent's, one process, on this machine only."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from pathlib import Path

from fink_broker.config import Settings
from fink_broker.errors import ServerUnavailable
from fink_broker.infra import archives, java, ports, processes
from fink_broker.infra.detach import detach
from fink_broker.infra.processes import Running

NAME = "registry"
DESCRIPTION = "a schema registry on this machine, for alerts that come without their schema"

# Where Apicurio speaks as Confluent's registry does.
API = "/apis/ccompat/v7"

_START_S = 90.0
_POLL_S = 0.1

# A proxy of the environment is not for this machine.
_here = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def address(settings: Settings) -> str:
    """URL of the embedded registry's API, as clients of Confluent's registry take it.

    Raises
    ------
    ServerUnavailable
        It does not run.
    """
    running = processes.find(settings, NAME)
    if running is None or running.address is None:
        raise ServerUnavailable("the schema registry is not running on this machine: fink start registry")
    return f"http://{running.address}{API}"


def application() -> Path:
    """Folder of the application, which is fetched at the first call.

    Raises
    ------
    FinkError
        It cannot be fetched; the message says what to do.
    """
    return archives.unpacked(NAME, "the schema registry (Apicurio, 109 MB)")


def start(settings: Settings) -> Running:
    """Start the registry and wait until it answers; one that runs already is left as it is.

    Raises
    ------
    ServerUnavailable
        Its port is taken, or it did not come up.
    FinkError
        It is not installed and cannot be fetched.
    """
    return processes.once(settings, NAME, lambda: _start(settings))


def _start(settings: Settings) -> Running:
    [program] = application().glob("*-runner.jar")
    port = ports.choose(settings.registry.port, "the schema registry", "[registry] port")
    (settings.root / NAME).mkdir(parents=True, exist_ok=True)
    options = [f"-D{key}={value}" for key, value in _properties(settings, port).items()]
    main = ["-jar", str(program)]
    command = java.command(settings, NAME, class_path=[], heap=settings.registry.heap, options=options, main=main)
    running = processes.register(settings, NAME, f"{ports.HOST}:{port}", detach(command, settings.log(NAME)))
    _wait(settings, running, port)
    return running


def _properties(settings: Settings, port: int) -> dict[str, object]:
    """What differs from Apicurio's defaults, which keep everything in memory."""
    return {
        "quarkus.http.host": ports.HOST,
        "quarkus.http.port": port,
        # The folder apart from the URL, in which a semicolon would end it. A schema is on disk before it is acknowledged.
        "h2.baseDir": settings.root / NAME,
        "apicurio.datasource.url": "jdbc:h2:./registry;WRITE_DELAY=0",
        # Connections to its database: the defaults are for many users, and two of the three pools are for other kinds of storage.
        "apicurio.datasource.jdbc.initial-size": 1,
        "apicurio.datasource.jdbc.min-size": 1,
        "apicurio.datasource.jdbc.max-size": 10,
        "apicurio.datasource.blue.jdbc.initial-size": 0,
        "apicurio.datasource.blue.jdbc.min-size": 0,
        "apicurio.datasource.green.jdbc.initial-size": 0,
        "apicurio.datasource.green.jdbc.min-size": 0,
        # Warnings and errors, at most 40 MB, and no line for each question.
        "quarkus.http.access-log.enabled": "false",
        'quarkus.log.category."io.apicurio".level': "WARN",
        "quarkus.log.console.enable": "false",
        "quarkus.log.file.enable": "true",
        "quarkus.log.file.json": "false",
        "quarkus.log.file.path": str(settings.log(NAME)).replace("$", "$$"),  # "${" would begin the name of a variable
        "quarkus.log.file.rotation.max-file-size": "20M",
        "quarkus.log.file.rotation.max-backup-index": 1,
    }


def _wait(settings: Settings, running: Running, port: int) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if not processes.is_alive(running):
            raise ServerUnavailable(f"the schema registry ended while it started; its log is {settings.log(NAME)}")
        if ports.answers(port) and _is_ready(f"http://{ports.HOST}:{port}{API}"):
            return
        time.sleep(_POLL_S)
    raise ServerUnavailable(f"the schema registry did not answer within {_START_S:g} s; its log is {settings.log(NAME)}")


def _is_ready(api: str) -> bool:
    """Whether it answers from its database."""
    try:
        with _here.open(f"{api}/subjects", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False
