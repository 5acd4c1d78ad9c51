"""The client that users have, unmodified, in its own environment (`infra/setup.py` makes it)."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fastavro
import pyarrow.dataset as ds

from fink_broker.infra import jars

# Runs there: polls one alert, consumes the others, and hands on what the client made of them.
_READ = """
import pickle, sys
from fink_client.consumer import AlertConsumer

topics, config, count = pickle.load(sys.stdin.buffer)
consumer, found, fault = AlertConsumer(topics, config, survey="ztf"), [], ""
try:
    while len(found) < count:
        some = [consumer.poll(20)] if not found else consumer.consume(count - len(found), 20)
        if not some or some[0][0] is None:
            break
        found += [(topic, alert) for topic, alert, key in some]
except Exception as error:
    fault = str(error)
finally:
    consumer.close()
pickle.dump((found, fault), sys.stdout.buffer)
"""


def _run(folder: Path, *command: str, given: bytes = b"") -> bytes:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")} | {"HOME": str(folder)}
    programs = jars.setup() / "fink-client" / "bin"
    argv = [str(programs / command[0]), *command[1:]]
    return subprocess.run(argv, input=given, capture_output=True, env=environment, check=True, timeout=120).stdout


def consume(folder: Path, topics: Sequence[str], config: dict[str, str], count: int) -> tuple[list[tuple[str, dict[str, Any]]], str]:
    """What `AlertConsumer` gives: topic and alert of at most so many messages; and the error that it ended with, if any."""
    found, fault = pickle.loads(_run(folder, "python", "-c", _READ, given=pickle.dumps((list(topics), config, count))))
    return found, fault


def register(folder: Path, name: str, servers: str) -> None:
    """`finkctl auth register`."""
    options = ["-survey", "ztf", "-username", name, "-groupid", name, "-servers", servers]
    _run(folder, "finkctl", "auth", "register", *options)


def stream(folder: Path, topics: Sequence[str], count: int) -> list[dict[str, Any]]:
    """What `finkctl stream --save` stores of so many messages of topics that it is subscribed to."""
    for topic in topics:
        _run(folder, "finkctl", "topic", "subscribe", "-survey", "ztf", "-name", topic)
    stored = folder / "stored"
    _run(folder, "finkctl", "stream", "-survey", "ztf", "-limit", str(count), "--save", "-outdir", str(stored), "-start_at", "earliest")
    alerts: list[Any] = []
    for file in stored.glob("*.avro"):
        with file.open("rb") as opened:
            alerts += fastavro.reader(opened)
    return alerts


def transfer(folder: Path, topic: str) -> list[dict[str, Any]]:
    """What `finkctl transfer` stores of a topic."""
    options = ["-survey", "ztf", "-topic", topic, "-outdir", str(folder / topic), "-partitionby", "finkclass"]
    _run(folder, "finkctl", "transfer", *options, "-nconsumers", "2", "-maxtimeout", "5", "--restart_from_beginning")
    found: list[dict[str, Any]] = ds.dataset(folder / topic, partitioning="hive").to_table().to_pylist()
    return found
