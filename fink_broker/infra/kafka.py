"""The embedded Kafka: the real server in KRaft mode, one process, on this machine only."""

from __future__ import annotations

import subprocess
import time
import uuid
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from fink_broker.config import Settings
from fink_broker.errors import FinkError, ServerUnavailable
from fink_broker.infra import java, ports, processes
from fink_broker.infra.processes import Running

NAME = "kafka"
DESCRIPTION = "Kafka on this machine, for those who have no cluster"

# Large enough for every alert and for messages that are to be rejected.
MAX_MESSAGE_BYTES = 32 * 1024 * 1024

# Kafka logs through Log4j 1 here; it also looks for a Log4j 2 to adjust, in vain.
_OPTIONS = ["-Dlog4j2.statusLoggerLevel=OFF"]

_START_S = 60.0
_POLL_S = 0.1


def address(settings: Settings, servers: str = "local") -> str:
    """Bootstrap servers: those given, or for ``local`` the address of the embedded Kafka.

    Raises
    ------
    ServerUnavailable
        The embedded Kafka does not run.
    """
    if servers != "local":
        return servers
    running = processes.find(settings, NAME)
    if running is None or running.address is None:
        raise ServerUnavailable("Kafka is not running on this machine: fink start kafka")
    return running.address


def start(settings: Settings) -> Running:
    """Start Kafka and wait until it answers; one that runs already is left as it is.

    Raises
    ------
    ServerUnavailable
        Its port is taken, or it did not come up.
    """
    with processes.start_lock(settings, NAME):
        running = processes.find(settings, NAME)
        if running is not None:
            return running
        port = ports.choose(settings.kafka.embedded.port, "Kafka", "[kafka.embedded] port")
        configuration = _configure(settings, port)
        _format(settings, configuration)
        pid = processes.detach(_command(settings, "kafka.Kafka", str(configuration)), settings.log(NAME))
        running = processes.register(settings, NAME, f"{ports.HOST}:{port}", pid)
        try:
            _wait(settings, running, port)
        except BaseException:
            processes.stop(settings, NAME, say=lambda line: None)
            raise
        return running


def _wait(settings: Settings, running: Running, port: int) -> None:
    """Wait until a client gets the cluster's metadata."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if not processes.is_alive(running):
            raise ServerUnavailable(f"Kafka ended while it started; its log is {settings.log(NAME)}")
        if ports.answers(port) and _has_metadata(f"{ports.HOST}:{port}"):
            return
        time.sleep(_POLL_S)
    raise ServerUnavailable(f"Kafka did not answer within {_START_S:g} s; its log is {settings.log(NAME)}")


def _has_metadata(servers: str) -> bool:
    # Without a log callback the client prints to the terminal what the caller knows anyway.
    client = AdminClient({"bootstrap.servers": servers, "log_level": 0, "socket.timeout.ms": 2000})
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
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise FinkError(f"Kafka cannot use {_data(settings)}: {' '.join(last)}")


def _configure(settings: Settings, port: int) -> Path:
    """Write server.properties anew, because ports may change; the data stay."""
    controller = ports.free()
    values: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{ports.HOST}:{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{ports.HOST}:{port},CONTROLLER://{ports.HOST}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{ports.HOST}:{port}",
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
