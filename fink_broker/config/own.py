"""The sections of the configuration for what is one's own: services, science modules, filters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from fink_broker.config.sections import Count, FilterName, Seconds, Section


class OwnService(Section):
    """A service of one's own: ``start(context) -> StreamingQuery`` in one file."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
    file: Path
    description: str = ""


class ScienceModule(Section):
    """A science module: a function, what it gets and what it gives. With the name of a known one: what is to be different of it.

    Attributes
    ----------
    function : str
        ``package.module:function``, ``file.py:function``, or only the file where the function is called as the module is.
    columns : list of str, optional
        Columns (or SQL on the alert's columns) in the order of the function's arguments; default: the arguments' names.
    constants : dict
        Further arguments, by name.
    outputs : dict
        Column to Spark SQL type; default: what the function itself declares. A column whose name begins with ``_`` is for other
        modules only.
    pick : dict
        Column to the key of the map, or name of the field, that it is of what the function returns; ``*`` is all of it.
    on : bool
        Whether it runs.
    timeout_seconds : float, optional
        For one batch; default: that of ``[science]``.
    batch : int, optional
        Alerts that one call takes at most.
    isolate : bool
        Run it in a process of its own.
    remote : bool
        It asks a server in the network.
    away : str, optional
        What it returns for an alert while that server is away.
    keep_hours : float
        How long its answer for an object is kept, and the server not asked again.
    catalogues : dict
        Functions in its source that read a whole catalogue and return positions (degrees) and more, to the radius in arcsec within which
        it looks for matches: they are given the stars around the batch's alerts only.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)?$")]
    function: str = ""
    columns: list[str] | None = None
    constants: dict[str, Any] = Field(default={})
    outputs: dict[str, str] = Field(default={})
    pick: dict[str, str] = Field(default={})
    on: bool = True
    timeout_seconds: Seconds | None = None
    batch: Count | None = None
    isolate: bool = False
    remote: bool = False
    away: str | None = None
    keep_hours: Annotated[float, Field(ge=0)] = 0.0
    catalogues: dict[str, Seconds] = Field(default={})


class Science(Section):
    """Science modules, and how they run."""

    environment: Annotated[str, Field(pattern=r"^[a-z0-9_-]*$")] = ""
    offline: bool = False
    timeout_seconds: Seconds = 60.0
    worker_memory_mb: Count = 3_000
    modules: list[ScienceModule] = Field(default=[])


class Plugin(Section):
    """A filter of one's own: a function in a file or package, or one SQL expression.

    Attributes
    ----------
    file : Path, optional
        Where the function is.
    function : str, optional
        Its name in the file, or ``package.module:function``; default: the filter's name.
    sql : str, optional
        A condition on the alert.
    columns : list of str, optional
        Columns (or SQL on the alert's columns) in the order of the function's arguments; default: the arguments' names.
    constants : dict
        Further arguments, by name.
    """

    name: FilterName
    file: Path | None = None
    function: str | None = None
    sql: str | None = None
    columns: list[str] | None = None
    constants: dict[str, Any] = Field(default={})
