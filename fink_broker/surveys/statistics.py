"""What is counted of the alerts of a night, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Statistics:
    """The row of a night in a table of statistics, and what its alerts are counted by.

    All expressions are Spark SQL over the science alert, with Fink's columns.

    Parameters
    ----------
    table, key : str
        The table, and the row key with the night in the place of ``{}``.
    counts : mapping
        ``family:name`` to the condition on the alerts that are counted.
    found : mapping
        ``family:name`` to the columns of science modules that name a counterpart: alerts are counted that have one in any of them. Where
        no such module is on there is no such count, rather than 0.
    distinct : mapping
        ``family:name`` to an expression with few values a night (exposures, fields): how many there are.
    by : mapping
        Name to an expression by whose values alerts are counted, such as ``class``.
    columns : mapping
        Family to the name in `by` whose values are columns there: ``class:SN candidate``.
    raw : str, optional
        The column that says how many alerts were taken in, before cuts.
    """

    table: str
    key: str
    counts: Mapping[str, str]
    found: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    distinct: Mapping[str, str] = field(default_factory=dict)
    by: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    raw: str | None = None

    @property
    def families(self) -> tuple[str, ...]:
        """Families of the columns."""
        named = (*([self.raw] if self.raw else []), *self.counts, *self.found, *self.distinct)
        return tuple(dict.fromkeys([*(column.partition(":")[0] for column in named), *self.columns]))
