"""HBase tables as data: row keys, columns and which rows of the alerts they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ENTRY = "entry"


@dataclass(frozen=True)
class FinkColumn:
    """A column that Fink adds: it always exists in the science database and in the alerts, with a default where its module is off.

    Parameters
    ----------
    type : str
        Spark SQL type (DDL), such as ``string`` or ``double``. A struct that is to be a ``string`` becomes the text
        of the array of its values.
    default : object
        Value where the module is off; None writes no cell.
    source : str, optional
        Where the value lies in the science alerts, such as ``mangrove.lum_dist``; a column of the same name without.
    in_alerts : bool
        Whether the science alerts have it even where its module is off; not what is a record there, and not what is made later.
    """

    type: str
    default: object = None
    source: str | None = None
    in_alerts: bool = True


@dataclass(frozen=True)
class Table:
    """An HBase table: its row key and which rows and columns of the science alerts it holds.

    All expressions are Spark SQL over the science alert; the struct `fink` holds the columns that Fink adds, `night_folder` is the
    folder of the alert's night in the Parquet archive. Every table also has the family ``a`` (annotations).

    Parameters
    ----------
    name : str
        Table name, such as ``ztf.pixel128``.
    key : tuple of str
        Expressions, joined by ``_`` to the row key.
    columns : mapping
        ``family:name`` to an expression, or ``family:*`` to all fields of a struct (``candidate.*``), with a blank after it for a second
        struct; a name that is there already is not taken again, and a field that no version of the alerts has is left out. The first
        column is never null and says whose row is there: the alert's id or, with `each`, what the entry belongs to.
    where : str, optional
        Condition that selects the rows; all of them without.
    needs : tuple of str
        Columns without which the table has no rows: some versions of the alerts lack them.
    each : str, optional
        Expression of an array of records, such as the history: a row for each, which is `entry` in key, columns and condition. A row that
        is there already stays: alert after alert tells the same of the past.
    last : bool
        Whether alerts share a row, and the last of them, by the time of its exposure, has it. Without it an alert has a row of its own, and
        two alerts with one key are a collision.
    streamed : bool
        Whether the archive service writes it; the rows of the others come from elsewhere, and their expressions are names of what is there.
    spread : tuple of str
        Beginnings of keys, each about as frequent as any other: where the regions of a new table are divided.
    """

    name: str
    key: tuple[str, ...]
    columns: Mapping[str, str]
    where: str | None = None
    needs: tuple[str, ...] = ()
    each: str | None = None
    last: bool = False
    streamed: bool = True
    spread: tuple[str, ...] = ()

    @property
    def families(self) -> tuple[str, ...]:
        """Families of the columns, in their order."""
        return tuple(dict.fromkeys(column.partition(":")[0] for column in self.columns))

    @property
    def unique(self) -> bool:
        """Whether each alert has a row of its own."""
        return not self.last and self.each is None

    def splits(self, regions: int) -> list[str]:
        """First keys of all regions but the first; fewer where `spread` names fewer beginnings."""
        begins = sorted(self.spread)
        return sorted({begins[len(begins) * n // regions] for n in range(1, regions)} - {begins[0]}) if begins else []


def numbers(below: int) -> tuple[str, ...]:
    """Where keys that begin with a number below this divide, each number being as frequent as any other."""
    return tuple(str(number) for number in range(0, below, max(1, below // 4_000)))
