"""Catalogues as astronomers have them: Parquet, CSV, FITS and VOTable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from fink_broker.catalogues.index import Catalogue, Floats, indexed
from fink_broker.errors import UsageError

# What positions in degrees are called: in Gaia's, Pan-STARRS', VizieR's and most people's files.
_RA = ("ra", "ra_icrs", "raj2000", "_raj2000", "ra_deg", "radeg", "alpha_j2000", "ramean")
_DEC = ("dec", "decl", "de_icrs", "dej2000", "_dej2000", "dec_deg", "dedeg", "delta_j2000", "decmean")


def table(path: Path) -> pa.Table:
    """Read a catalogue; the end of its name says its format.

    Raises
    ------
    UsageError
        It is missing, of another format, or damaged.
    """
    reader = next((read for ends, read in _READERS.items() if path.name.lower().endswith(ends)), None)
    if reader is None:
        raise UsageError(f"{path}: a catalogue is a {', '.join(end for ends in _READERS for end in ends)} file")
    try:
        return reader(path)
    # Each library has errors of its own, and astropy many: whatever it says, the user needs to know of which file.
    except Exception as error:
        raise UsageError(f"cannot read {path}: {' '.join(str(error).split())[:200]}") from error


def catalogue(
    rows: pa.Table, ra: str | None = None, dec: str | None = None, radius: str | None = None, columns: Sequence[str] | None = None
) -> tuple[Catalogue, int]:
    """Make a catalogue that can be searched out of a table.

    Parameters
    ----------
    rows : pyarrow.Table
        Positions and what else there is.
    ra, dec : str, optional
        Columns of the position, J2000, degrees; found by their usual names without.
    radius : str, optional
        Column that says how far each row reaches, arcsec.
    columns : sequence of str, optional
        Other columns to keep; all without.

    Returns
    -------
    Catalogue
        Without the rows that have no position.
    int
        How many those were.

    Raises
    ------
    UsageError
        A column is missing or ambiguous, or its values cannot be degrees.
    """
    ra, dec = _named(rows, ra, _RA, "ra"), _named(rows, dec, _DEC, "dec")
    positions = {name: _numbers(rows, name) for name in (ra, dec, *([radius] if radius else []))}
    known = np.all([np.isfinite(values) for values in positions.values()], axis=0)
    rows = rows.filter(pa.array(known))
    positions = {name: values[known] for name, values in positions.items()}
    for name, low, high in ((ra, -360, 360), (dec, -90, 90)):
        values = positions[name]
        if len(values) and not (low <= values.min() and values.max() <= high):
            raise UsageError(f"the column '{name}' goes from {values.min():g} to {values.max():g}: positions are in degrees")
    for name in columns or ():
        _named(rows, name, (), "columns")
    payload = rows.select([name for name in columns or rows.column_names if name not in (ra, dec)]).replace_schema_metadata(None)
    reach = positions[radius] if radius else None
    return indexed(positions[ra], positions[dec], trimmed(payload), reach), int((~known).sum())


def trimmed(rows: pa.Table) -> pa.Table:
    """The table with its texts less the blanks that fixed widths fill up with."""
    for place, field in enumerate(rows.schema):
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
            rows = rows.set_column(place, field.name, pc.utf8_trim_whitespace(rows[field.name]))
    return rows


def _named(rows: pa.Table, given: str | None, usual: Sequence[str], option: str) -> str:
    columns = {name.lower(): name for name in rows.column_names}
    if given is not None and given in rows.column_names:
        return given
    found = None if given is not None else next((columns[name] for name in usual if name in columns), None)
    if found is None:
        what = f"'{given}'" if given is not None else f"that is called {usual[0]}"
        raise UsageError(f"there is no column {what}: say {option}; there are {', '.join(rows.column_names[:40])}")
    return found


def _numbers(rows: pa.Table, name: str) -> Floats:
    try:
        return cast("Floats", rows[name].cast(pa.float64()).to_numpy())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UsageError(f"the column '{name}' is no number: positions are in degrees, radii in arcsec") from error


def _astropy(form: str) -> Callable[[Path], pa.Table]:
    def read(path: Path) -> pa.Table:
        # Half a second that only those who bring in such a file pay.
        from astropy.table import Table

        found = Table.read(path, format=form)
        found.convert_bytestring_to_unicode()
        # A cell that is itself an array has no place in a table of values.
        found = found[[name for name in found.colnames if found[name].ndim == 1]]
        return pa.Table.from_pandas(found.to_pandas(), preserve_index=False)

    return read


_READERS: dict[tuple[str, ...], Callable[[Path], pa.Table]] = {
    (".parquet",): pq.read_table,
    (".csv", ".csv.gz"): pa.csv.read_csv,
    (".fits", ".fits.gz", ".fit"): _astropy("fits"),
    (".vot", ".vot.gz", ".votable", ".xml"): _astropy("votable"),
}
