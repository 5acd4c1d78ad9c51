"""A HOME of its own beside the common Kafka, and the broker's commands as a user runs them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from fink_broker import config
from fink_broker.config import CHECKOUT, Settings
from fink_broker.infra import processes

pytest.register_assert_rewrite("tests.integration.api_of_tables")


class Broker:
    """One broker: its configuration file, and what is done with it.

    Parameters
    ----------
    folder : Path
        Holds the configuration and the home.
    kafka : str
        Address of Kafka, in and out.
    """

    def __init__(self, folder: Path, kafka: str) -> None:
        self.kafka = kafka
        self.conf = folder / "fink.conf"
        self.configure("none")

    def configure(self, topic: str, more: str = "") -> None:
        """Write the configuration: which topic to read, and further sections."""
        ends = f'[kafka.input]\nservers = "{self.kafka}"\ntopics = "{topic}"\n[kafka.output]\nservers = "{self.kafka}"\n'
        self.conf.write_text(f'home = "{self.conf.parent}/the home"\n[wait]\nseconds = 20\n{ends}{more}', encoding="utf-8")

    @property
    def settings(self) -> Settings:
        return config.load(str(self.conf), {})

    def open(self, *command: str, **variables: str) -> subprocess.Popen[str]:
        """Start a command."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("FINK_") or key == "FINK_SETUP"} | variables
        name, *arguments = command
        argv = [sys.executable, "-m", f"fink_broker.commands.{name}", *arguments, "-c", str(self.conf)]
        return subprocess.Popen(argv, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *command: str, seconds: float = 150) -> str:
        """Run a command to its end, which must be a good one; what it printed."""
        process = self.open(*command)
        try:
            out, err = process.communicate(timeout=seconds)
        finally:
            process.kill()
        assert (process.returncode, err) == (0, ""), (process.returncode, out, err)
        return out

    def status(self) -> dict[str, Any]:
        """What `fink status` counts."""
        state: dict[str, Any] = json.loads(self.run("status", "--json").splitlines()[-1])
        return state

    def send(self, topic: str, values: Sequence[bytes], partitions: int = 2) -> None:
        """Send messages to a topic, which is made if it is not there."""
        admin = AdminClient({"bootstrap.servers": self.kafka})
        if topic not in admin.list_topics(timeout=10).topics:
            admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(10)
        faults: list[str] = []
        # Idempotent: what is sent again, on a busy machine, keeps its place.
        options = {"enable.idempotence": True, "message.max.bytes": 32_000_000, "queue.buffering.max.kbytes": 200_000}
        producer = Producer({"bootstrap.servers": self.kafka, **options})
        for number, value in enumerate(values):
            producer.produce(topic, value, partition=number % partitions, on_delivery=lambda e, _: faults.append(str(e)) if e else None)
        assert producer.flush(60) == 0
        assert faults == []


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, kafka_server: processes.Running) -> Iterator[Callable[[str], Broker]]:
    """Makes brokers with a home each; their processes are ended with the tests."""
    made = []

    def make(name: str) -> Broker:
        assert kafka_server.address is not None
        made.append(Broker(tmp_path_factory.mktemp(f"a {name}"), kafka_server.address))
        return made[-1]

    yield make
    for one in made:
        for running in processes.all_running(one.settings):
            processes.stop(one.settings, running.name, timeout=30, say=lambda line: None)


def kill_tree(pid: int) -> None:
    """SIGKILL of a process and all below it, as when the machine's memory has run out."""
    tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in tree:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(tree, timeout=20)
