"""Science modules: what they are, how they are found and put in order, and the broker's own.

A science module is a function on pandas Series. Its arguments are column names (see `fink_broker.transforms.columns`), and
`outputs` names the columns it returns with their Spark SQL types:

    @outputs(brightness="string")
    def brightness(magpsf):
        return magpsf.map(lambda m: "bright" if m < 16 else "faint")

This file is loaded wherever modules run, also in environments that have none of the broker's packages: it imports nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

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
