"""Filters: the registry and the broker's own.

A filter is one SQL expression, or a function on pandas Series that returns booleans and whose arguments are column names (see
`fink_broker.transforms.columns`). Its name is its topic's.
"""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass

from fink_broker.config import Settings
from fink_broker.errors import ConfigError
from fink_broker.plugins import Reference
from fink_broker.surveys import Survey


@dataclass(frozen=True)
class Filter:
    """A filter: SQL, or a function and its arguments."""

    name: str
    sql: str | None = None
    reference: Reference | None = None
    arguments: tuple[str, ...] = ()

    def topic(self, survey: Survey) -> str:
        """Name of the filter's topic, as fink-client's users subscribe to it."""
        return f"fink_{self.name}_{survey.topic_suffix}"


def active(settings: Settings, survey: Survey) -> list[Filter]:
    """The filters that the configuration names, in its order: those of everybody, then those of audiences.

    Raises
    ------
    ConfigError
        A name is unknown, or a filter has neither SQL nor a function that imports.
    """
    builtin = importlib.import_module(f"{__name__}.{survey.name}")
    known: dict[str, str | Reference] = dict(builtin.SQL)
    known |= {name: Reference(builtin.__name__, name) for name in builtin.FUNCTIONS}
    for own in settings.filters:
        if (own.sql is None) == (own.file is None):
            raise ConfigError(f"the filter '{own.name}' needs either sql or file in [[filters]]")
        known[own.name] = own.sql or Reference(str(settings.below_checkout(own.file)), own.function or own.name)  # type: ignore[arg-type]
    named = [*settings.distribution.filters, *(name for audience in settings.audiences for name in audience.filters)]
    return [_filter(name, known) for name in dict.fromkeys(named)]


def _filter(name: str, known: dict[str, str | Reference]) -> Filter:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        raise ConfigError(f"unknown filter '{name}'" + (f", did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}"))
    what = known[name]
    return Filter(name, sql=what) if isinstance(what, str) else Filter(name, reference=what, arguments=what.arguments())
