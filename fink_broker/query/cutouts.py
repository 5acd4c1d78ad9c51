"""Cutouts: where they lie is in HBase, by the object; they themselves are in the Parquet files of the alert's night, once."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fink_broker.connectors.hbase_read import Stretch
from fink_broker.errors import UsageError
from fink_broker.query.archive import science
from fink_broker.query.named import alert as row_of
from fink_broker.query.tables import Tables
from fink_broker.query.times import night

# Folders of the archive.
_NIGHT = re.compile(r"year=(\d{4})/month=(\d\d)/day=(\d\d)$")
_TRIES = 3
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Alert:
    """An alert whose cutouts are looked for.

    Parameters
    ----------
    id : int
        Of the alert.
    nights : tuple of str
        Where it may be, ``YYYYMMDD``, the likeliest first.
    position : tuple of float
        Degrees; empty if it is not known. The archive is sorted by position, so its statistics say which few row groups can have the alert.
    """

    id: int
    nights: tuple[str, ...]
    position: tuple[float, ...] = ()


def cutout(tables: Tables, name: str, kind: str, alert_id: int | None = None) -> bytes:
    """A cutout as a FITS file.

    Parameters
    ----------
    tables : Tables
        Where to look.
    name : str
        The object.
    kind : {"science", "template", "difference"}
        Which image.
    alert_id : int, optional
        Of which of its alerts; of the last one without.

    Raises
    ------
    UsageError
        There is no such image, object or alert; or it is no longer, or not yet, among the files.
    """
    column = next((one for one in tables.survey.cutouts if one.lower() == f"cutout{kind}"), None)
    if column is None:
        raise UsageError(f"there is no cutout '{kind}'; there are {', '.join(kinds(tables))}")
    alert = find(tables, name, alert_id)
    for one in alert.nights:
        found = read(partial(science, tables.settings, one, one), column, condition(tables, alert))
        if found is not None:
            return gzip.decompress(found) if found.startswith(_GZIP) else found
    raise UsageError(f"the cutouts of alert {alert.id} of {name} are not among the files of its night")


def kinds(tables: Tables) -> list[str]:
    """The kinds of cutouts that there are."""
    return [one.removeprefix("cutout").lower() for one in tables.survey.cutouts]


def find(tables: Tables, name: str, alert_id: int | None = None) -> Alert:
    """An alert by the object and its id; the object's last without. See `cutout`."""
    known = tables.lookups
    alert = row_of(tables, name, alert_id, known.position)
    time = alert[known.time]
    where = known.cutouts
    key = name if where.timed else str(alert[known.alert])
    stretch = Stretch.times(where.begin(key), time, time) if where.timed else Stretch.prefix(where.begin(key))
    beside = tables.stretches(where.table, [stretch]).to_pylist()
    folder = next((one[known.folder] for one in beside if one.get(known.alert) == alert[known.alert]), "")
    position = tuple(alert[one] for one in known.position if alert.get(one) is not None)
    if named := _NIGHT.search(folder):
        return Alert(alert[known.alert], ("".join(named.groups()),), position)
    # No table says it: the date of UTC, or where nights have the date of their evening, the day before.
    return Alert(alert[known.alert], tuple(night(time, tables.zero, shift) for shift in (0, -1)), position)


def condition(tables: Tables, alert: Alert) -> pc.Expression:
    """By which an alert is found in the files."""
    survey = tables.survey
    wanted: pc.Expression = _field(survey.alert_id) == alert.id
    for column, value in zip(survey.position, alert.position, strict=False):
        wanted = (_field(column) == value) & wanted
    return wanted


def read(files: Callable[[], Sequence[Path]], column: str, wanted: pc.Expression) -> bytes | None:
    """One image out of some files, of which only the row groups are read that can have it by their statistics; None if none has it."""
    # Not at the top: other queries do not pay for it.
    import pyarrow.dataset as ds

    for left in reversed(range(_TRIES)):
        try:
            if not (there := files()):
                return None
            dataset = ds.dataset([str(file) for file in there])
            image = _field(f"{column}.stampData") if pa.types.is_struct(dataset.schema.field(column).type) else _field(column)
            [*found] = dataset.to_table({"image": image}, filter=wanted)["image"].to_pylist()
            return found[-1] if found else None
        except FileNotFoundError:
            # A merge has taken them away meanwhile.
            if not left:
                raise
    raise AssertionError


def _field(name: str) -> Any:
    return pc.field(*name.split("."))
