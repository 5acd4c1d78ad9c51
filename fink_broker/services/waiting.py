"""Waiting of an application of services: for servers that are not there yet, and for its end to be asked for."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from fink_broker.config import Settings
from fink_broker.connectors import hbase, kafka
from fink_broker.errors import ServerUnavailable
from fink_broker.infra import hbase as hbase_server
from fink_broker.infra import kafka as kafka_server
from fink_broker.infra import processes
from fink_broker.infra.retry import patiently
from fink_broker.services.context import RunOptions
from fink_broker.services.registry import Need, ServiceEntry

log = logging.getLogger(__name__)


class _AskedToEnd(BaseException):
    """The end was asked for while nothing ran yet that would have to be finished; like KeyboardInterrupt it is no error."""


class Stop:
    """Says when to end: on SIGTERM, Ctrl-C, or when time is up."""

    def __init__(self, seconds: float | None = None) -> None:
        self._event = threading.Event()
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._at_once = False

    def set(self, signal_number: int = 0, _frame: FrameType | None = None) -> None:
        """Ask to end; can be a signal handler."""
        self._event.set()
        if signal_number and self._at_once:
            raise _AskedToEnd

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside, a signal interrupts whatever is being waited for."""
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def wait(self, seconds: float) -> bool:
        """Wait a while; whether to end."""
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return True
        return self._event.wait(seconds)

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM."""
        before = {number: signal.signal(number, self.set) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def await_servers(entries: Sequence[ServiceEntry], settings: Settings, options: RunOptions, stop: Stop) -> bool:
    """Wait until the servers answer that services need; False if the end was asked for meanwhile.

    Raises
    ------
    ServerUnavailable
        One did not answer in time.
    """
    names = [entry.name for entry in entries]
    try:
        with stop.at_once():
            for need in dict.fromkeys(need for entry in entries for need in entry.needs):
                processes.note(settings, names, f"waits for {need.partition('-')[0]}")
                wait_for(need, settings, options)
    except _AskedToEnd:
        log.info("asked to end while waiting for a server")
        return False
    processes.note(settings, names, processes.STARTING)
    return True


def wait_for(need: Need, settings: Settings, options: RunOptions) -> None:
    """Wait until a server answers, as long as the configuration says.

    Raises
    ------
    ServerUnavailable
        It did not answer in time.
    """
    seconds = settings.wait.seconds
    if need == "hbase":
        host, port = patiently(
            lambda: hbase_server.address(settings), (ServerUnavailable,), seconds, "the embedded HBase (fink start hbase)"
        )
        hbase.wait_for(host, port, seconds)
        return
    source = settings.kafka.simulated if options.simulator else settings.kafka.input
    end = {"kafka-input": source, "kafka-output": settings.kafka.output, "kafka-mirror": settings.mirror}[need]
    connection = patiently(
        lambda: kafka_server.connection(settings, end), (ServerUnavailable,), seconds, "the embedded Kafka (fink start kafka)"
    )
    kafka.wait_for(connection, seconds, "Kafka")
