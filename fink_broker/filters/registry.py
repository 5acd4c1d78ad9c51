"""Which filters are in use: where they come from, and what is wrong with those that cannot be."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path

from fink_broker.config import Settings
from fink_broker.config.own import Plugin
from fink_broker.errors import ConfigError
from fink_broker.filters import Filter, published, sky
from fink_broker.filters.known import Known, reference_to
from fink_broker.surveys import Survey

CONFIGURATION = "the configuration"


@dataclass(frozen=True)
class Source:
    """Where filters come from: looked at for changes, and loaded whole or not at all.

    Parameters
    ----------
    name : str
        What it is called in messages: a file, or the configuration.
    files : tuple of Path
        What is looked at for changes.
    load : callable
        Gives its filters, or raises ConfigError.
    """

    name: str
    files: tuple[Path, ...]
    load: Callable[[], list[Filter]]


@dataclass(frozen=True)
class Gathered:
    """The filters of all sources, and what is wrong with sources, by the sources' names."""

    sources: dict[str, list[Filter]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)

    @property
    def filters(self) -> list[Filter]:
        """All filters."""
        return [one for filters in self.sources.values() for one in filters]


def active(settings: Settings, survey: Survey) -> list[Filter]:
    """The filters in use: those that the configuration names, in its order, those by position, and those of the folder.

    Raises
    ------
    ConfigError
        A name is unknown or there twice, a function does not import, or a filter is neither SQL nor a function.
    """
    found = gather(sources(settings, survey))
    for fault in found.faults.values():
        raise ConfigError(fault)
    return found.filters


def sources(settings: Settings, survey: Survey) -> list[Source]:
    """The configuration, watchlists and regions, then every file of the folder by name."""
    folder = settings.filter_folder
    # Those of everybody, then those that only audiences get.
    names = settings.distribution.filters
    named = [*names, *dict.fromkeys(name for one in settings.audiences for name in one.filters if name not in names)]
    # What an editor is writing, and tests of filters, are no filters.
    own = [file for file in sorted(folder.glob("*")) if re.fullmatch(r"(?!\.|_|test_).*\.(py|toml)", file.name) and file.is_file()]

    @cache
    def known() -> Known:
        shelf = Known(settings, survey)
        names = [*named, *(shelf.published if published.EVERY in named else ())]
        shelf.prepare(names, [reference_to(file) for file in own if file.suffix == ".py"])
        return shelf

    files = tuple(settings.below_checkout(one.file.expanduser()) for one in settings.filters if one.file)
    configuration = Source(CONFIGURATION, files, lambda: configured(known(), named))
    by_position = [Source(str(one), (one.file,), partial(_of_entry, one, settings, survey)) for one in sky.entries(settings)]
    return [configuration, *by_position, *(Source(str(file), (file,), partial(_load, known, file)) for file in own)]


def _of_entry(one: sky.Entry, settings: Settings, survey: Survey) -> list[Filter]:
    return [one.filter(settings, survey)]


def _load(known: Callable[[], Known], file: Path) -> list[Filter]:
    return of_file(known(), file)


def gather(
    found: Sequence[Source],
    good: Mapping[str, list[Filter]] | None = None,
    check: Callable[[list[Filter]], list[Filter]] = list,
) -> Gathered:
    """Load sources; of one that is broken, what was good of it before.

    Parameters
    ----------
    found : sequence of Source
        Sources; a name that an earlier one has is a fault of the later one.
    good : mapping, optional
        Source to its filters when it was last sound.
    check : callable
        Gets a source's filters and gives those that can run, or raises ConfigError.
    """
    gathered = Gathered()
    taken: dict[str, str] = {}
    for source in found:
        try:
            filters = check(source.load())
            for number, one in enumerate(filters):
                if one.name in taken or one.name in {before.name for before in filters[:number]}:
                    raise ConfigError(f"{one}: there is a filter '{one.name}' already, in {taken.get(one.name, source.name)}")
        except (ConfigError, OSError, UnicodeDecodeError) as error:
            gathered.faults[source.name] = str(error)
            filters = [one for one in (good or {}).get(source.name, []) if one.name not in taken]
        gathered.sources[source.name] = filters
        taken |= {one.name: source.name for one in filters}
    return gathered


def configured(known: Known, names: Sequence[str]) -> list[Filter]:
    """The filters of names; for ``fink.*`` all of fink-filters that can run.

    Raises
    ------
    ConfigError
        One is unknown, or cannot be used.
    """
    chosen = []
    for name in names:
        if name != published.EVERY:
            chosen.append(known.filter(name))
            continue
        for one in known.published:
            if one not in names:
                try:
                    chosen.append(replace(known.filter(one), optional=True))
                except ConfigError:  # it lacks a package: fink filter list says which
                    continue
    return chosen


def of_file(known: Known, file: Path) -> list[Filter]:
    """The filters of a file of one's own: a function called as the file is, or in TOML an SQL expression for each name.

    Raises
    ------
    ConfigError
        It has none, or they cannot be used; the message names file and line.
    """
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".py":
        return [known.function(_entry(file.stem, str(file)), reference_to(file))]
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not valid TOML: {error}") from error
    found = []
    for name, sql in values.items():
        line = next((number for number, one in enumerate(text.splitlines(), 1) if re.match(rf"\s*[\"']?{re.escape(name)}\b", one)), 1)
        origin = f"{file}, line {line}"
        if not isinstance(sql, str) or not sql.strip():
            raise ConfigError(f"{origin}: '{name}' is no text of SQL")
        found.append(known.sql(_entry(name, origin).name, sql, origin))
    return found


def _entry(name: str, origin: str) -> Plugin:
    try:
        return Plugin(name=name)
    except ValueError as error:
        raise ConfigError(f"{origin}: '{name}' is no name for a filter: a small letter, then small letters, digits and _") from error
