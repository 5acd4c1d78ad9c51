"""A science module that is ready to run: what the workers get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fink_broker.plugins import Reference


@dataclass(frozen=True)
class Module:
    """A science module: its name, its function, its columns in and out, and how it runs.

    Parameters
    ----------
    name : str
        Name in the configuration, in counts and in messages.
    reference : Reference
        Where the function is.
    inputs : tuple of str
        Columns in the order of the function's arguments: names, or SQL on the alert's columns.
    outputs : mapping
        Column to Spark SQL type; what begins with ``_`` is for other modules only.
    constants : mapping
        Further arguments by name.
    pick : mapping
        Column to the key of what the function returns that it is; ``*`` is all of it.
    by_row : bool
        Whether the function takes the values of one alert instead of Series.
    timeout_s : float
        Seconds that one batch may take.
    batch : int, optional
        Alerts that one call takes at most.
    isolate : bool
        Whether it runs in a process of its own.
    away : str, optional
        What a module that asks a server returns while the server is away.
    offline : bool
        Whether it is not asked at all: all alerts get `away`.
    keep_hours : float
        How long its answer for an object is kept.
    catalogues : mapping
        Functions that read a catalogue, to the radius (arcsec) within which they are asked for matches.
    version : str
        Version of the package that it comes from; empty for a file.
    """

    name: str
    reference: Reference
    inputs: tuple[str, ...]
    outputs: Mapping[str, str]
    constants: Mapping[str, Any] = field(default_factory=dict)
    pick: Mapping[str, str] = field(default_factory=dict)
    by_row: bool = False
    timeout_s: float = 60.0
    batch: int | None = None
    isolate: bool = False
    away: str | None = None
    offline: bool = False
    keep_hours: float = 0.0
    catalogues: Mapping[str, float] = field(default_factory=dict)
    version: str = ""
