"""All filters that can be named, made ready when they are asked for: the broker's own, those of the configuration, the published ones."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from fink_broker import filters as own
from fink_broker.config import Settings
from fink_broker.config.sections import Plugin
from fink_broker.errors import ConfigError
from fink_broker.filters import Filter, published
from fink_broker.plugins import Reference
from fink_broker.science.registry import columns_of, describe_apart
from fink_broker.surveys import Survey

# How long files of one's own may take to be imported.
_SECONDS = 30.0

_LITERAL = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
# A word that stands alone: no field of a record, no function.
_WORD = r"(?<![\w.`])[A-Za-z_]\w*(?!\w|\s*[.(])"


class Known:
    """The filters that can be named.

    Parameters
    ----------
    settings : Settings
        `[[filters]]`, and the environment that functions run in.
    survey : Survey
        Survey.

    Raises
    ------
    ConfigError
        An entry of `[[filters]]` is neither SQL nor a function, or is there twice.
    """

    def __init__(self, settings: Settings, survey: Survey) -> None:
        self._settings = settings
        builtin = importlib.import_module(f"{own.__name__}.{survey.name}")
        self._sql: dict[str, str] = dict(builtin.SQL)
        self._functions = {name: (Plugin(name=name), Reference(builtin.__name__, name)) for name in builtin.FUNCTIONS}
        entries = [one.name for one in settings.filters]
        for one in settings.filters:
            if entries.count(one.name) > 1:
                raise ConfigError(f"there are two filters '{one.name}' in [[filters]]")
            self._sql.pop(one.name, None)
            if (one.sql is None) == (one.file is None and ":" not in (one.function or "")):
                raise ConfigError(f"the filter '{one.name}' needs either sql or file in [[filters]]")
            if one.sql is not None:
                self._sql[one.name] = one.sql
            else:
                self._functions[one.name] = one, _reference(settings, one)
        self.published = [f"{published.PREFIX}{name}" for name in published.filters(settings, survey)]
        found = published.filters(settings, survey)
        self._functions |= {f"{published.PREFIX}{name}": (Plugin(name=name), reference) for name, reference in found.items()}
        self.blocks = {name: (Plugin(name=name), reference) for name, reference in published.blocks(settings, survey).items()}

    def __iter__(self) -> Iterator[str]:
        return iter([*self._sql, *self._functions])

    def prepare(self, names: Iterable[str], more: Iterable[Reference] = ()) -> None:
        """Ask functions what they take, all in one process: each for itself would cost a second."""
        references = [*(self._functions[name][1] for name in names if name in self._functions), *more]
        with contextlib.suppress(ConfigError):  # then each is asked for itself
            describe_apart(self._settings, references, _SECONDS)

    def filter(self, name: str) -> Filter:
        """The filter of a name.

        Raises
        ------
        ConfigError
            There is none, or it cannot be used.
        """
        if name in self._sql:
            return self.sql(name, self._sql[name])
        if name in self._functions:
            return self.function(*self._functions[name])
        if name.startswith(published.PREFIX) and not self.published:
            raise ConfigError(f"the filter '{name}': fink-filters is not there (fink science install, then [science] environment)")
        near = difflib.get_close_matches(name, self, n=1)
        names = [one for one in self if one not in self.published]
        raise ConfigError(f"unknown filter '{name}'" + (f", did you mean '{near[0]}'?" if near else f"; known: {', '.join(names)}"))

    def sql(self, name: str, text: str, origin: str = "", above: tuple[str, ...] = ()) -> Filter:
        """A filter that is SQL, with the filters and building blocks that it names.

        Raises
        ------
        ConfigError
            One of those cannot be used, or they name each other.
        """
        above = (*above, name)
        uses = []
        for word in dict.fromkeys(re.findall(_WORD, re.sub(_LITERAL, "''", text))):
            if word in above and word in self:
                raise ConfigError(f"{Filter(name, origin=origin)} names itself: {' -> '.join((*above, word))}")
            function = self.blocks.get(word) or self._functions.get(word) or self._functions.get(f"{published.PREFIX}{word}")
            if word in self._sql:
                uses.append(self.sql(word, self._sql[word], above=above))
            elif function:
                uses.append(self.function(*function))
        return Filter(name, sql=text, uses=tuple(uses), origin=origin)

    def function(self, entry: Plugin, reference: Reference) -> Filter:
        """A filter that is a function, by what that says of itself in the environment that it runs in.

        Raises
        ------
        ConfigError
            It cannot be used.
        """
        origin = reference.source if reference.source.endswith(".py") else ""
        title = str(Filter(entry.name, origin=origin))
        try:
            [found] = describe_apart(self._settings, [reference], _SECONDS)
        except ConfigError as error:
            raise ConfigError(f"{title}: {error}") from error
        if found.fault:
            raise ConfigError(found.fault if origin and origin in found.fault else f"{title}: {found.fault}")
        inputs = columns_of(title, entry.columns, entry.constants, found)
        return Filter(entry.name, None, reference, inputs, entry.constants, self._settings.distribution.timeout_seconds, origin=origin)


def _reference(settings: Settings, one: Plugin) -> Reference:
    """Where the function of an entry of `[[filters]]` is."""
    source, _, function = (one.function or one.name).rpartition(":")
    return Reference(source, function) if one.file is None else reference_to(settings.below_checkout(one.file.expanduser()), function)


def reference_to(file: Path, function: str = "") -> Reference:
    """A function of a file of one's own, called as the file is; with the file's text, which may change while it is in use."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = ""  # whoever loads it says what is wrong
    return Reference(str(file), function or file.stem, text)
