"""Science modules: the registry and the broker's own.

A science module is a function on pandas Series. Its arguments are column names (see `fink_broker.transforms.columns`), and
`outputs` names the columns it returns with their Spark SQL types:

    @outputs(brightness="string")
    def brightness(magpsf):
        return magpsf.map(lambda m: "bright" if m < 16 else "faint")
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from fink_broker.catalogues import store
from fink_broker.config import Settings
from fink_broker.errors import ConfigError
from fink_broker.plugins import Reference
from fink_broker.surveys import Survey

Function = TypeVar("Function", bound=Callable[..., Any])


def outputs(**types: str) -> Callable[[Function], Function]:
    """Say which columns a science module returns.

    Parameters
    ----------
    **types : str
        Column name to Spark SQL type. With one column the function returns a Series, with several a DataFrame.
    """

    def mark(function: Function) -> Function:
        function.__dict__["fink_outputs"] = types
        return function

    return mark


def catalogue(name: str) -> Callable[[Function], Function]:
    """Say that a science module needs a catalogue of `fink catalogue`: without it no service starts.

    Parameters
    ----------
    name : str
        Name of the catalogue; `fink_broker.catalogues.store.opened` opens it.
    """

    def mark(function: Function) -> Function:
        function.__dict__.setdefault("fink_catalogues", []).append(name)
        return function

    return mark


@dataclass(frozen=True)
class Module:
    """A science module: its name, its function, its columns in and out."""

    name: str
    reference: Reference
    arguments: tuple[str, ...]
    outputs: dict[str, str]


def active(settings: Settings, survey: Survey) -> list[Module]:
    """The modules that the configuration names, in its order.

    Raises
    ------
    ConfigError
        A name is unknown, a file does not import, a function does not say its outputs, or a catalogue that it needs is missing or empty.
    """
    builtin = importlib.import_module(f"{__name__}.{survey.name}")
    known = {name: Reference(builtin.__name__, name) for name, value in vars(builtin).items() if hasattr(value, "fink_outputs")}
    for own in settings.modules:
        if own.file is None:
            raise ConfigError(f"the science module '{own.name}' needs a file in [[modules]]")
        known[own.name] = Reference(str(settings.below_checkout(own.file)), own.function or own.name)
    modules = [_module(name, known) for name in settings.raw2science.modules]
    for module in modules:
        for needed in getattr(module.reference.load(), "fink_catalogues", ()):
            store.note(settings.root, needed)
    return modules


def _module(name: str, known: dict[str, Reference]) -> Module:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        raise ConfigError(f"unknown science module '{name}'" + (f", did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}"))
    reference = known[name]
    declared = getattr(reference.load(), "fink_outputs", None)
    if not declared:
        raise ConfigError(f"the science module '{name}' does not say what it returns: decorate it with @outputs({name}=\"double\")")
    return Module(name, reference, reference.arguments(), dict(declared))
