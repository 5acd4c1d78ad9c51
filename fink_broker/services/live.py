"""The filters of a running distribution: what is in use, what has changed, what is off, and what each costs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from pyspark.sql import DataFrame

from fink_broker.errors import ConfigError, ServerUnavailable
from fink_broker.filters import Filter, registry
from fink_broker.monitoring import filters as notes
from fink_broker.services.context import Context
from fink_broker.surveys import Survey
from fink_broker.transforms.filters import with_topics
from fink_broker.worker.tally import Adding, Tally

log = logging.getLogger(__name__)


class Live:
    """The filters in use, of one process of the service.

    Parameters
    ----------
    context : Context
        Settings, survey, session.
    alerts : DataFrame
        Science alerts: their columns are those that filters may name.

    Raises
    ------
    ConfigError
        One of the sources is broken. When that happens later on, its last good version stays in use.
    """

    def __init__(self, context: Context, alerts: DataFrame) -> None:
        self._settings, self._survey = context.settings, context.survey
        self.alerts = alerts
        self.tally = context.spark.sparkContext.accumulator({}, Adding())
        self._since = notes.now()
        self._written = ""
        self._gathered = registry.Gathered()
        self._seen: Any = None
        self.filters: list[Filter] = []
        self.refresh()
        for fault in self._gathered.faults.values():
            raise ConfigError(fault)

    def refresh(self, ready: Callable[[list[Filter]], object] = len) -> bool:
        """Look whether sources or notes have changed, and load them anew if so.

        Parameters
        ----------
        ready : callable
            Makes the topics of filters, before they are in use. If Kafka does not, all stays as it is, and is tried again.

        Returns
        -------
        bool
            Whether other filters are in use now.
        """
        sources = registry.sources(self._settings, self._survey)
        off = notes.switched_off(self._settings)
        seen = ({file: _state(file) for source in sources for file in source.files}, set(off))
        if seen == self._seen:
            return False
        self._seen, before = seen, self._gathered
        self._gathered = registry.gather(sources, before.sources, self._runnable)
        for name, fault in self._gathered.faults.items():
            if before.faults.get(name) != fault:
                log.error("%s%s", fault, "; its last good version stays in use" if before.sources.get(name) else "")
        chosen = [one for one in self._gathered.filters if not _names(one) & set(off)]
        if chosen == self.filters:
            return False
        try:
            ready(chosen)
        except (ServerUnavailable, KafkaException) as error:
            log.warning("the filters stay as they are for now: %s", error)
            self._seen = None
            return False
        log.info("filters in use: %s", ", ".join(one.name for one in chosen) or "none")
        self.filters = chosen
        return True

    def _runnable(self, filters: list[Filter]) -> list[Filter]:
        """Those filters that find their columns; of those that must, the first that does not is an error."""
        return runnable(self.alerts, filters, self._survey)

    def review(self) -> None:
        """Switch off what has failed too often in turn, and write down what filters cost."""
        tally: Tally = self.tally.value
        for name, spent in tally.items():
            if spent.in_turn >= self._settings.distribution.failures:
                reason = f"no answer for {spent.in_turn} batches in turn: {spent.reason}"
                log.error("the filter '%s' is switched off: %s; on again: fink filter enable %s", name, reason, name)
                notes.disable(self._settings, name, reason)
                tally[name] = replace(spent, in_turn=0)
        counts = {name: {key: value for key, value in asdict(spent).items() if key != "never"} for name, spent in tally.items()}
        found = {"since": self._since, "filters": counts, "faults": self._gathered.faults}
        if (text := json.dumps(found)) != self._written:
            notes.keep(self._settings, text)
            self._written = text


def runnable(alerts: DataFrame, filters: list[Filter], survey: Survey) -> list[Filter]:
    """Those filters that find their columns in the alerts.

    Raises
    ------
    ConfigError
        One that is not optional does not.
    """
    with_topics(alerts, [one for one in filters if not one.optional], survey)
    found = []
    for one in filters:
        try:
            if one.optional:
                with_topics(alerts, [one], survey)
            found.append(one)
        except ConfigError as error:
            log.info("%s is left out", error)
    return found


def _names(one: Filter) -> set[str]:
    """The names of a filter and of all that it uses."""
    return {one.name}.union(*map(_names, one.uses))


def _state(file: Path) -> tuple[int, int] | None:
    try:
        state = file.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size
