"""Cutouts: where they lie is in HBase, by the object; they themselves are in the Parquet files of the alert's night, once."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fink_broker.connectors import archive
from fink_broker.connectors.hbase_read import Stretch
from fink_broker.errors import UsageError
from fink_broker.query.archive import fresh
from fink_broker.query.named import alert as row_of
from fink_broker.query.tables import Tables
from fink_broker.query.times import night

_FOLDER = "d:hdfs_path"
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Alert:
    """An alert whose cutouts are looked for.

    Parameters
    ----------
    id : int
        Of the alert.
    time : float
        Of the exposure, as the survey counts it.
    folder : Path, optional
        Folder of its night in the archive, if a table names it.
    position : tuple of float
        Degrees; empty if it is not known. The archive is sorted by position, so its statistics say which few row groups can have the alert.
    """

    id: int
    time: float
    folder: Path | None
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
    for files in _places(tables, alert):
        found = read(files, column, condition(tables, alert))
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
    begin = Stretch.times(known.cutouts.begin(name), time, time)
    beside = tables.stretches(known.cutouts.table, [begin]).to_pylist()
    folder = next((Path(one[_FOLDER]) for one in beside if one.get(known.alert) == alert[known.alert]), None)
    position = tuple(alert[one] for one in known.position if alert.get(one) is not None)
    return Alert(alert[known.alert], time, folder, position)


def condition(tables: Tables, alert: Alert) -> pc.Expression:
    """By which an alert is found in the files."""
    survey = tables.survey
    wanted: pc.Expression = _field(survey.alert_id) == alert.id
    for column, value in zip(survey.position, alert.position, strict=False):
        wanted = (_field(column) == value) & wanted
    return wanted


def read(files: Sequence[Path], column: str, wanted: pc.Expression) -> bytes | None:
    """One image out of some files, of which only the row groups are read that can have it by their statistics; None if none has it."""
    if not files:
        return None
    # Not at the top: other queries do not pay for it.
    import pyarrow.dataset as ds

    dataset = ds.dataset([str(file) for file in files])
    image = _field(f"{column}.stampData") if pa.types.is_struct(dataset.schema.field(column).type) else _field(column)
    [*found] = dataset.to_table({"image": image}, filter=wanted)["image"].to_pylist()
    return found[-1] if found else None


def _field(name: str) -> Any:
    return pc.field(*name.split("."))


def _places(tables: Tables, alert: Alert) -> list[list[Path]]:
    """Where an alert may be, the likeliest first: its folder of the archive, then files that are not merged."""
    settings, zero = tables.settings, tables.zero
    # The date of UTC, or where nights have the date of their evening, the day before.
    nights = [night(alert.time, zero, shift) for shift in (0, -1)]
    folders = [alert.folder] if alert.folder else [archive.folder(settings, "science", one) for one in nights]
    places = [sorted(folder.glob("*.parquet")) for folder in folders]
    return [*places, *[fresh(settings, one, one) for one in nights]]
