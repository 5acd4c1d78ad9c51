"""Whether the servers that the services need answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from confluent_kafka import KafkaException

from fink_broker.config import Settings
from fink_broker.config.sections import KafkaEnd
from fink_broker.connectors import hbase, kafka
from fink_broker.errors import FinkError
from fink_broker.infra import hbase as hbase_server
from fink_broker.infra import kafka as kafka_server
from fink_broker.infra import ports, processes

_ANSWER_S = 3.0


class Finding(NamedTuple):
    """What was looked at, whether it is well (None: not, but nothing has to be done), and what there is to say or do."""

    what: str
    ok: bool | None
    text: str


def tried(what: str, ask: Callable[[], object], text: str = "") -> Finding:
    """Well if nothing is raised that is meant for the user; without a text the answer says it."""
    try:
        answer = ask()
    except (FinkError, KafkaException) as error:
        return Finding(what, ok=False, text=str(error))
    return Finding(what, ok=True, text=text or str(answer))


def servers(settings: Settings) -> Iterator[Finding]:
    """Whether Kafka and HBase answer, or are to be started here."""
    embedded = {"kafka": (settings.kafka.embedded.port, "[kafka.embedded] port"), "hbase": (settings.hbase.port, "[hbase] port")}
    for name, (port, key) in embedded.items():
        if processes.find(settings, name) is None and port and not ports.is_free(port):
            yield Finding(f"port {port}", ok=None, text=f"taken by somebody else: fink start {name} needs it, or set {key}")
    ends = {"Kafka in": settings.kafka.input, "Kafka out": settings.kafka.output}
    for what, end in ends.items():
        if end.servers == "local" and processes.find(settings, kafka_server.NAME) is None:
            yield Finding(what, ok=None, text="that of this machine, which does not run: fink start kafka")
            continue
        yield tried(what, partial(_ask_kafka, settings, end), f"{end.servers} answers")
    if settings.hbase.thrift == "local" and processes.find(settings, hbase_server.THRIFT) is None:
        yield Finding("HBase", ok=None, text="that of this machine, which does not run: fink start hbase")
        return
    yield tried("HBase", lambda: hbase.wait_for(*hbase_server.address(settings), _ANSWER_S), f"{settings.hbase.thrift} answers")


def _ask_kafka(settings: Settings, end: KafkaEnd) -> None:
    kafka.wait_for(kafka_server.connection(settings, end), _ANSWER_S, "Kafka")
