"""A table of one's own with the alerts of the archive: each alert with the nearest row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from duckdb import DuckDBPyConnection

from fink_broker.catalogues import read
from fink_broker.catalogues.index import Catalogue
from fink_broker.config import Settings
from fink_broker.query.archive import archived, asked, lookups, named, published
from fink_broker.surveys import get

SEPARATION = "separation_arcsec"
_ARCSEC = 1 / 3600
_RA, _DEC = "_ra", "_dec"
_AT_ONCE = 100_000  # alerts


def crossmatch(
    settings: Settings,
    table: Path,
    radius: float = 1.5,
    columns: Sequence[str] | None = None,
    *,
    ra: str | None = None,
    dec: str | None = None,
    first: str | None = None,
    last: str | None = None,
) -> pa.Table:
    """The archive's alerts around the positions of a table.

    Parameters
    ----------
    settings : Settings
        Where the archive is, and of which survey.
    table : Path
        CSV, Parquet, FITS or VOTable with positions (J2000, degrees).
    radius : float
        Arcsec.
    columns : sequence of str, optional
        Of the alerts, with or without the family; those that say most without.
    ra, dec : str, optional
        The table's columns of the position, if they are not called so.
    first, last : str, optional
        Nights, ``YYYYMMDD``, both included; all without.

    Returns
    -------
    pyarrow.Table
        The alert's columns, those of the nearest row of the table, and `separation_arcsec`.

    Raises
    ------
    UsageError
        The table cannot be read, or there is no such column.
    """
    survey = get(settings.survey)
    catalogue, _ = read.catalogue(read.trimmed(read.table(table).replace_schema_metadata(None)), ra, dec)
    if not len(catalogue):
        return pa.table({})

    def answer(connection: DuckDBPyConnection) -> pa.Table:
        places = published(survey, connection)
        names = [named(places, column) for column in columns] if columns else [name for name in lookups(survey).first if name in places]
        right, declination = (places[name] for name in lookups(survey).position)
        wanted = ", ".join([f"{right} as {_RA}", f"{declination} as {_DEC}", *[f'{places[name]} as "{name}"' for name in names]])
        # The archive is sorted by position: row groups that lie beside all of the table are passed over by their statistics.
        low, high = float(catalogue.dec.min()) - radius * _ARCSEC, float(catalogue.dec.max()) + radius * _ARCSEC
        text = f"select {wanted} from science where {declination} between {low} and {high}"
        parts = [_matched(batch, catalogue, radius) for batch in connection.sql(text).to_arrow_reader(_AT_ONCE)]
        return pa.concat_tables([part for part in parts if part.num_rows] or parts[:1]) if parts else pa.table({})

    return asked(lambda: {"science": archived(settings, "science", first, last)}, answer)


def _matched(batch: pa.RecordBatch, catalogue: Catalogue, radius: float) -> pa.Table:
    """The alerts of a batch that a row is near, with the nearest."""
    rows, separation = catalogue.nearest(batch[_RA].to_numpy(), batch[_DEC].to_numpy(), radius)
    hit = np.flatnonzero(rows >= 0)
    part = pa.Table.from_batches([batch]).drop_columns([_RA, _DEC]).take(hit)
    for name in catalogue.payload.column_names:
        part = part.append_column(name, catalogue.payload[name].take(rows[hit]))
    return part.append_column(SEPARATION, pa.array(separation[hit]))
