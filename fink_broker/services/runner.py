"""The life of an application of services: wait for servers, start the queries, watch them, end them in good order."""

from __future__ import annotations

import logging
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from pyspark.errors import StreamingQueryException
from pyspark.sql.streaming.query import StreamingQuery

from fink_broker import surveys
from fink_broker.config import Settings
from fink_broker.connectors import hbase, kafka, parquet
from fink_broker.errors import FinkError, ServerUnavailable
from fink_broker.infra import hbase as hbase_server
from fink_broker.infra import kafka as kafka_server
from fink_broker.infra import processes
from fink_broker.infra.retry import patiently
from fink_broker.plugins import load_module
from fink_broker.services.context import Context, RunOptions
from fink_broker.services.registry import Need, ServiceEntry
from fink_broker.session import session

log = logging.getLogger(__name__)

_POLL_S = 0.2
_REVIEW_S = 2.0
_RECOVERIES = 100


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
        """Take SIGINT and SIGTERM, also from PySpark, whose own handler would cancel the running batch."""
        before = {number: signal.signal(number, self.set) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run(
    entries: Sequence[ServiceEntry],
    settings: Settings,
    options: RunOptions,
    stop: Stop | None = None,
    started: Callable[[Context], None] | None = None,
) -> None:
    """Run streaming services in one Spark application until they end or are asked to.

    Parameters
    ----------
    entries : sequence of ServiceEntry
        Streaming services, in the order of the pipeline.
    settings : Settings
        Configuration.
    options : RunOptions
        With `once` each runs to its end before the next starts: started together, the later ones would find nothing.
    stop : Stop, optional
        Ends the application, beside the signals.
    started : callable, optional
        Called once the queries of the last (without `once`, the only) group have started.

    Raises
    ------
    FinkError
        A query died, a server does not answer, or a service runs already.
    """
    stop = stop or Stop()
    # A survey that there is not, or not for this service, or a file of one's own that does not import: nothing is started and nobody
    # waited for.
    survey = surveys.get(settings.survey)
    for entry in entries:
        check = getattr(entry.module(), "check", None)
        if check is not None:
            check(survey)
    with ExitStack() as stack:
        stack.enter_context(stop.on_signals())
        for entry in entries:
            processes.register(settings, entry.name)
            stack.callback(processes.unregister, settings, entry.name)
        if not await_servers(entries, settings, options, stop):
            return
        spark = session(settings, entries[0].name)
        stack.callback(spark.stop)
        stack.enter_context(stop.on_signals())  # again: PySpark has set its own
        context = Context(spark, settings, survey, options)
        groups = [[entry] for entry in entries] if options.once else [list(entries)]
        for group in groups:
            watched: list[_Watched] = []
            stack.callback(_finish, watched)
            for entry in group:
                watched += _begun(entry, context, settings.log(entries[0].name))
            if started is not None and group is groups[-1]:
                started(context)
            if not watch(watched, stop):
                break


class _Watched:
    """A service's query, and how to bring it back where the service knows how."""

    def __init__(self, entry: ServiceEntry, module: Any, context: Context, log_file: Path) -> None:
        self.entry = entry
        self._context = context
        self._log_file = log_file
        self._module = module
        self._review = getattr(self._module, "review", None)
        self.query: StreamingQuery = self._module.start(context)
        self._recoveries = 0
        self._looked = time.monotonic()

    def ended(self) -> bool:
        """Whether the query has ended well.

        Raises
        ------
        FinkError
            It died.
        """
        if self.query.isActive:
            self._look()
            return False
        error = self.query.exception()
        if error is None:
            return True
        self._recover(error)
        return False

    def _look(self) -> None:
        """Now and then, ask the service whether another plan would be better."""
        if self._review is None or time.monotonic() < self._looked + _REVIEW_S:
            return
        self._looked = time.monotonic()
        if self._review(self._context, self.query):
            self.finish()
            log.info("%s goes on with a better plan", self.entry.name)
            self.query = self._module.start(self._context)

    def _recover(self, error: StreamingQueryException) -> None:
        # Restarts without a batch in between: one that brings the query on may come as often as it has to.
        self._recoveries = 1 if self.query.lastProgress else self._recoveries + 1
        recover = self._columns if parquet.NEW_COLUMNS in str(error) else getattr(self._module, "recover", None)
        again = recover(self._context, error) if recover and self._recoveries <= _RECOVERIES else None
        if again is None:
            _died(self.entry, self._log_file, error)
        log.info("%s goes on with another plan", self.entry.name)
        self.query = again

    def _columns(self, context: Context, _error: Exception) -> StreamingQuery:
        """Start with the columns that the folder has now: of those that it did not have, nothing has been read yet."""
        query: StreamingQuery = self._module.start(context)
        return query

    def finish(self) -> None:
        """End between two batches: stopping inside of one would throw its work away.

        With a backlog batch follows batch without a pause: one that has just begun has nothing to lose yet.
        """
        batch = self._last_batch()
        while self.query.isActive and self.query.status["isTriggerActive"] and self._last_batch() == batch:
            time.sleep(0.02)
        self.query.stop()

    def settle(self) -> None:
        """Let the service look at what it has done, once it has ended."""
        if hasattr(self._module, "settle"):
            self._module.settle(self._context, self.query)

    def _last_batch(self) -> int:
        progress = self.query.lastProgress
        return progress["batchId"] if progress else -1


def _begun(entry: ServiceEntry, context: Context, log_file: Path) -> Iterator[_Watched]:
    """A service's query, and those that it wants beside it: modules like its own, named in `BESIDE`."""
    module = entry.module()
    yield _Watched(entry, module, context, log_file)
    for beside in map(load_module, getattr(module, "BESIDE", ())):
        if beside.wanted(context):
            yield _Watched(entry, beside, context, log_file)


def _finish(watched: Sequence[_Watched]) -> None:
    for one in watched:
        one.finish()
    for one in watched:
        one.settle()


def _died(entry: ServiceEntry, log_file: Path, error: Exception) -> NoReturn:
    log.error("%s died", entry.name, exc_info=error)
    raise FinkError(f"{entry.name} died: {_cause(str(error))}; details in {log_file}") from error


def _cause(text: str) -> str:
    """The line that tells most: where Python raised, the last one of its trace, else the first."""
    raised = re.findall(
        r"^\s*([A-Za-z_][\w.]*(?:Error|Exception|Unavailable)\b.*)$", text.partition("Traceback (most recent call last)")[2], re.MULTILINE
    )
    first = next((line for line in text.splitlines() if line.strip()), "no message")
    return (raised[-1] if raised else first).strip()[:200]


def watch(watched: Sequence[_Watched], stop: Stop) -> bool:
    """Watch queries until all have ended by themselves or the end is asked for; then finish what runs.

    Returns
    -------
    bool
        Whether all have ended by themselves.

    Raises
    ------
    FinkError
        One of them died; the others have been finished.
    """
    try:
        while [one for one in watched if not one.ended()]:
            if stop.wait(_POLL_S):
                return False
        return True
    finally:
        _finish(watched)


def await_servers(entries: Sequence[ServiceEntry], settings: Settings, options: RunOptions, stop: Stop) -> bool:
    """Wait until the servers answer that services need; False if the end was asked for meanwhile.

    Raises
    ------
    ServerUnavailable
        One did not answer in time.
    """
    try:
        with stop.at_once():
            for need in dict.fromkeys(need for entry in entries for need in entry.needs):
                wait_for(need, settings, options)
    except _AskedToEnd:
        log.info("asked to end while waiting for a server")
        return False
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
