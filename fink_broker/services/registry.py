"""What can be started, by name: the broker's services and servers, and services of one's own."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fink_broker.config import Settings
from fink_broker.errors import UsageError
from fink_broker.plugins import Reference, load_module

Need = Literal["kafka-input", "kafka-output", "kafka-mirror", "hbase"]


@dataclass(frozen=True)
class ServiceEntry:
    """Something that can be started.

    Parameters
    ----------
    name, description : str
        Name on the command line, and one line for the help.
    kind : {"stream", "client", "task", "server"}
        A query that runs for ever, what runs for ever without Spark, what ends by itself, or a server that detaches by itself.
    source : str
        Module, or file of one's own; it has `start(context)` (a stream), `run(settings, options, stop)` (a client) or
        `run(settings, night)` (a task).
    needs : tuple of str
        Servers that must answer before it starts.
    counted : bool
        Whether what goes in and comes out of it is counted (`fink status`).
    """

    name: str
    description: str
    kind: Literal["stream", "client", "task", "server"]
    source: str = ""
    needs: tuple[Need, ...] = ()
    counted: bool = True

    def module(self) -> Any:
        """The module that holds it.

        Raises
        ------
        ConfigError
            It does not import, or lacks the function by which it is started.
        """
        Reference(self.source, "run" if self.kind in ("client", "task") else "start").load()
        return load_module(self.source)


def _stream(name: str, description: str, *needs: Need, counted: bool = True) -> ServiceEntry:
    return ServiceEntry(name, description, "stream", f"fink_broker.services.{name}", needs, counted)


# In the order of the pipeline.
BUILTIN = (
    ServiceEntry("kafka", "Kafka on this machine, for those who have no cluster", "server", "fink_broker.infra.kafka"),
    ServiceEntry("hbase", "HBase on this machine, for those who have no cluster", "server", "fink_broker.infra.hbase"),
    ServiceEntry("registry", "a schema registry on this machine, for alerts that come without", "server", "fink_broker.infra.registry"),
    ServiceEntry("simulator", "sends a night made from real alerts to the local Kafka", "task", "fink_broker.services.simulator"),
    _stream("stream2raw", "alerts from the telescope's Kafka to Parquet raw", "kafka-input"),
    _stream("raw2science", "quality cuts, repeats dropped, science modules; to Parquet science"),
    _stream("distribution", "filters; one Kafka topic each for their users", "kafka-output"),
    _stream("multimessenger", "alerts where and after other observatories saw something; one Kafka topic each kind", "kafka-output"),
    _stream("archive", "science alerts into the HBase tables", "hbase"),
    _stream("aggregation", "counts by night, class, field, band and filter"),
    ServiceEntry(
        "notify", "alerts of topics to chats, mailboxes and other platforms", "client", "fink_broker.services.notify", ("kafka-output",)
    ),
    _stream("mirror", "the telescope's messages on to another Kafka, as they came", "kafka-input", "kafka-mirror"),
    _stream("checkstream", "how much comes in from Kafka, how fast, how large; decodes nothing", "kafka-input", counted=False),
)


def known(settings: Settings) -> dict[str, ServiceEntry]:
    """All that can be started, by name, in the order of the pipeline; one's own come last."""
    own = [
        ServiceEntry(one.name, one.description or f"own service in {one.file.name}", "stream", str(settings.below_checkout(one.file)))
        for one in settings.services
    ]
    return {entry.name: entry for entry in (*BUILTIN, *own)}


def find(names: Sequence[str], settings: Settings) -> list[ServiceEntry]:
    """Entries by name, in the order of the pipeline.

    Raises
    ------
    UsageError
        A name is unknown.
    """
    entries = known(settings)
    for name in names:
        if name not in entries:
            near = difflib.get_close_matches(name, entries, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise UsageError(f"unknown service '{name}'; {hint}known: {', '.join(entries)}")
    return [entry for entry in entries.values() if entry.name in names]
