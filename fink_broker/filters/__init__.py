"""Filters: what they are, how they are found, and the broker's own.

A filter is one SQL expression, or a function on pandas Series that returns booleans and whose arguments are column names (see
`fink_broker.transforms.columns`). Its name is its topic's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fink_broker.plugins import Reference
from fink_broker.science.module import Module
from fink_broker.surveys import Survey


@dataclass(frozen=True)
class Filter:
    """A filter: SQL, or a function and what it gets.

    Parameters
    ----------
    name : str
        Name, from which that of its topic is made.
    sql : str, optional
        A condition on the alert.
    reference : Reference, optional
        Where the function is, if it is no SQL.
    inputs : tuple of str
        Columns in the order of the function's arguments: names, or SQL on the alert's columns.
    constants : mapping
        Further arguments by name: the function gets a Series of each.
    timeout_s : float
        Seconds that the function may take for one batch.
    uses : tuple of Filter
        Filters and building blocks that the SQL names as if they were columns.
    origin : str
        Where it was written down, for messages: a file, with a line if there is one.
    optional : bool
        Whether it is left out, and told so, where a column is missing that it takes.
    """

    name: str
    sql: str | None = None
    reference: Reference | None = None
    inputs: tuple[str, ...] = ()
    constants: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: float = 10.0
    uses: tuple[Filter, ...] = ()
    origin: str = ""
    optional: bool = False

    def topic(self, survey: Survey) -> str:
        """Name of the filter's topic, as fink-client's users subscribe to it."""
        return f"fink_{self.name}_{survey.topic_suffix}"

    def module(self) -> Module:
        """What the workers run of a filter that is a function: a science module with one boolean output."""
        assert self.reference is not None
        return Module(self.name, self.reference, self.inputs, {self.name: "boolean"}, self.constants, timeout_s=self.timeout_s)

    def __str__(self) -> str:
        return f"the filter '{self.name}'" + (f" ({self.origin})" if self.origin else "")
