"""The life of an application of services: start the queries, watch them, end them in good order."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

from pyspark.errors import StreamingQueryException
from pyspark.sql.streaming.query import StreamingQuery

from fink_broker import surveys
from fink_broker.config import Settings
from fink_broker.connectors import parquet
from fink_broker.errors import FinkError
from fink_broker.infra import processes
from fink_broker.plugins import load_module
from fink_broker.services.context import Context, RunOptions
from fink_broker.services.registry import ServiceEntry
from fink_broker.services.waiting import Stop, await_servers
from fink_broker.session import session

log = logging.getLogger(__name__)

_POLL_S = 0.2
_REVIEW_S = 2.0
_RECOVERIES = 100
_AT_WORK_S = 3.0


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
        context = Context(spark, settings, survey, options)
        groups = [[entry] for entry in entries] if options.once else [list(entries)]
        for group in groups:
            watched: list[_Watched] = []
            stack.callback(_finish, watched)
            for entry in group:
                watched += _begun(entry, context, settings.log(entries[0].name))
            if started is not None and group is groups[-1]:
                started(context)
            if not watch(watched, stop, lambda: processes.note(settings, [entry.name for entry in entries], processes.RUNNING)):
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
        self._recoveries, self._begun = 0, time.monotonic()
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

    @property
    def alive(self) -> bool:
        """Whether it has shown that it can work: a batch is done, or well under way, or there is nothing to do."""
        if not self.query.isActive or self.query.lastProgress is not None:
            return True
        doing = self.query.status["message"]
        return doing.startswith("Waiting") or (doing.startswith("Processing") and time.monotonic() > self._begun + _AT_WORK_S)

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


def watch(watched: Sequence[_Watched], stop: Stop, alive: Callable[[], None] = lambda: None) -> bool:
    """Watch queries until all have ended by themselves or the end is asked for; then finish what runs.

    Parameters
    ----------
    watched : sequence
        Queries.
    stop : Stop
        Says when to end.
    alive : callable
        Called once, when each of them has found its sources, and waits or has done a batch.

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
        told = False
        while [one for one in watched if not one.ended()]:
            if not told and all(one.alive for one in watched):
                told = True
                alive()
            if stop.wait(_POLL_S):
                return False
        return True
    finally:
        _finish(watched)
