"""The embedded Kafka: the real server in KRaft mode, one process, on this machine only."""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from fink_broker import config
from fink_broker.config import Settings
from fink_broker.config.sections import KafkaEnd
from fink_broker.connectors import security
from fink_broker.connectors.security import Connection
from fink_broker.errors import ConfigError, FinkError, ServerUnavailable
from fink_broker.infra import java, kafka_security, ports, processes
from fink_broker.infra.detach import detach
from fink_broker.infra.processes import Running

NAME = "kafka"
PLAIN = "PLAINTEXT"
DESCRIPTION = "Kafka on this machine, for those who have no cluster"

# Large enough for every alert and for messages that are to be rejected.
MAX_MESSAGE_BYTES = 32 * 1024 * 1024

# Kafka logs through Log4j 1 here; it also looks for a Log4j 2 to adjust, in vain.
_OPTIONS = ["-Dlog4j2.statusLoggerLevel=OFF"]

_START_S = 60.0
_POLL_S = 0.1


def connection(settings: Settings, end: KafkaEnd) -> Connection:
    """Where a Kafka is and how to log in: as configured, and for ``local`` as the embedded one runs.

    Parameters
    ----------
    end : KafkaEnd
        A Kafka of the configuration, such as ``settings.kafka.input``.

    Raises
    ------
    ServerUnavailable
        The embedded Kafka does not run.
    ConfigError
        A file cannot be read, or the embedded Kafka runs without the security asked for.
    """
    if end.servers != "local":
        return security.connection(settings, end, end.servers)
    running = processes.find(settings, NAME)
    if running is None or running.address is None:
        raise ServerUnavailable("Kafka is not running on this machine: fink start kafka")
    addresses = _addresses(running)
    if addresses.keys() != {PLAIN}:
        return kafka_security.connection(settings, end, addresses)
    if end.security_protocol != PLAIN:
        raise ConfigError(
            f"[{end.section}] security_protocol is {end.security_protocol}, but Kafka runs without: "
            "fink stop kafka, then fink start kafka --secure"
        )
    return Connection(addresses[PLAIN])


def is_secured(running: Running) -> bool:
    """Whether a running Kafka asks who is there."""
    return PLAIN not in _addresses(running)


def _addresses(running: Running) -> dict[str, str]:
    """Listener to address; the only one of a Kafka without security goes without its name."""
    listeners = (one.rpartition("://") for one in (running.address or "").split(","))
    return {name or PLAIN: address for name, _, address in listeners}


def start(settings: Settings) -> Running:
    """Start Kafka and wait until it answers; one that runs already is left as it is.

    Raises
    ------
    ServerUnavailable
        Its port is taken, or it did not come up.
    """
    running = processes.once(settings, NAME, lambda: _start(settings))
    if settings.kafka.embedded.secure and not is_secured(running):
        raise FinkError("kafka runs already, without security: fink stop kafka, then fink start kafka --secure")
    return running


def _start(settings: Settings) -> Running:
    listeners = _listeners(settings)
    if settings.kafka.embedded.secure:
        kafka_security.prepare(settings)
    configuration = _configure(settings, listeners)
    _format(settings, configuration)
    pid = detach(_command(settings, "kafka.Kafka", str(configuration)), settings.log(NAME))
    address = ",".join(f"{name}://{where}" for name, where in listeners.items()).removeprefix(f"{PLAIN}://")
    running = processes.register(settings, NAME, address, pid)
    _bring_up(settings, running, listeners)
    return running


def _listeners(settings: Settings) -> dict[str, str]:
    """Listener to address; those of a secured Kafka are on the configured port and the next ones."""
    embedded = settings.kafka.embedded
    names = kafka_security.LISTENERS if embedded.secure else (PLAIN,)
    wanted = [embedded.port and embedded.port + number for number in range(len(names))]
    return {name: f"{ports.HOST}:{ports.choose(port, 'Kafka', '[kafka.embedded] port')}" for name, port in zip(names, wanted, strict=True)}


def _bring_up(settings: Settings, running: Running, listeners: Mapping[str, str]) -> None:
    """Wait until Kafka answers, and where it is secured, until its user can log in."""
    if not is_secured(running):
        _wait(settings, running, Connection(listeners[PLAIN]))
        return
    by_certificate = kafka_security.connection(settings, KafkaEnd(security_protocol="SSL"), listeners)
    _wait(settings, running, by_certificate)
    kafka_security.add_user(settings, by_certificate)
    _wait(settings, running, kafka_security.connection(settings, KafkaEnd(security_protocol="SASL_SSL"), listeners))


def _wait(settings: Settings, running: Running, connection: Connection) -> None:
    """Wait until a client gets the cluster's metadata."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if not processes.is_alive(running):
            raise ServerUnavailable(f"Kafka ended while it started; its log is {settings.log(NAME)}")
        if ports.answers(int(connection.servers.rpartition(":")[2])) and _has_metadata(connection):
            return
        time.sleep(_POLL_S)
    raise ServerUnavailable(f"Kafka did not answer within {_START_S:g} s; its log is {settings.log(NAME)}")


def _has_metadata(connection: Connection) -> bool:
    # Without a log callback the client prints to the terminal what the caller knows anyway.
    client = AdminClient({**connection.client, "log_level": 0, "socket.timeout.ms": 2000})
    try:
        return bool(client.list_topics(timeout=2).brokers)
    except KafkaException:
        return False


def _command(settings: Settings, *main: str) -> list[str]:
    return java.command(
        settings, NAME, class_path=[java.jar_folder("kafka")], heap=settings.kafka.embedded.heap, options=_OPTIONS, main=list(main)
    )


def _data(settings: Settings) -> Path:
    return settings.root / "kafka" / "data"


def _format(settings: Settings, configuration: Path) -> None:
    """Prepare the data folder, once."""
    if (_data(settings) / "meta.properties").exists():
        return
    cluster = uuid.uuid4().hex[:22]
    done = subprocess.run(
        _command(settings, "kafka.tools.StorageTool", "format", "--cluster-id", cluster, "--config", str(configuration)),
        env=config.without_secrets(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise FinkError(f"Kafka cannot use {_data(settings)}: {' '.join(last)}")


def _configure(settings: Settings, listeners: Mapping[str, str]) -> Path:
    """Write server.properties anew, because ports may change; the data stay."""
    controller = ports.free()
    advertised = ",".join(f"{name}://{where}" for name, where in listeners.items())
    secured = settings.kafka.embedded.secure
    values: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{ports.HOST}:{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"{advertised},CONTROLLER://{ports.HOST}:{controller}",
        "advertised.listeners": advertised,
        **(kafka_security.server_properties(settings) if secured else {}),
        "log.dir": _data(settings),
        # Topics are made on purpose: a wrong name is an error, not a new topic.
        "auto.create.topics.enable": "false",
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "replica.fetch.max.bytes": MAX_MESSAGE_BYTES,
        # One broker holds all replicas, and few partitions are enough for its own topics.
        "default.replication.factor": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        "group.initial.rebalance.delay.ms": 0,
        # How long a killed Kafka holds its place against the next one.
        "broker.session.timeout.ms": 4000,
        "broker.heartbeat.interval.ms": 1000,
        "num.network.threads": 2,
        "num.io.threads": 4,
        # The default buffer alone is a quarter of the default heap.
        "log.cleaner.dedupe.buffer.size": 8 * 1024 * 1024,
    }
    path = settings.root / "kafka" / "server.properties"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(java.properties(values), encoding="ascii")
    return path
