"""Objects around a position: those of the HEALPix pixels that the circle touches, then by their exact distance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fink_broker.connectors.hbase_read import Stretch
from fink_broker.errors import UsageError
from fink_broker.query.named import by_time, chosen
from fink_broker.query.tables import Tables
from fink_broker.science.sphere import unit_vectors

SEPARATION = "v:separation_degree"
"""Distance from the middle of the circle, degrees, under the name that Fink's API has for it."""

# A position on the border of a pixel may have been counted to either side: rounding moves it by less, degrees.
_SLACK = 1e-6
# HEALPix's formulae for the circle around a pixel hold up to here.
_WIDEST = 20.0


def cone(
    tables: Tables,
    ra: float,
    dec: float,
    radius: float,
    columns: Sequence[str] | None = None,
    *,
    alerts: bool = False,
    since: float | None = None,
    until: float | None = None,
) -> pa.Table:
    """The objects in a circle, the nearest first.

    Parameters
    ----------
    tables : Tables
        Where to look.
    ra, dec : float
        Middle, J2000, degrees.
    radius : float
        Degrees, up to 20.
    columns : sequence of str, optional
        All of the table without; of the table of alerts with `alerts`.
    alerts : bool
        All alerts of these objects, by time, in place of one row an object.
    since, until : float, optional
        When they were first seen, both included; in days, as the survey counts them.

    Returns
    -------
    pyarrow.Table
        With `v:separation_degree`, of the object's last alert or of each alert.

    Raises
    ------
    UsageError
        That is no position, or the circle is too wide.
    """
    if not (-360 <= ra <= 360 and -90 <= dec <= 90 and 0 < radius <= _WIDEST):
        raise UsageError(f"a cone is ra and dec in degrees and a radius above 0 and up to {_WIDEST:g} degrees")
    known, index = tables.lookups, tables.lookups.cone
    needed = [known.object, known.time, *known.position]
    wanted = None if columns is None or alerts else list(dict.fromkeys([*(tables.columns(index.table, columns) or []), *needed]))
    some = [Stretch.times(f"{pixel}_", since, until) for pixel in pixels(index.nside, ra, dec, radius)]
    # Of the many around the circle no more is read than where they are.
    found = _within(tables, tables.stretches(index.table, some, needed), ra, dec, radius)
    # An object that has wandered across a border is in two pixels: its last alert counts.
    if found.num_rows:
        found = found.sort_by([(known.time, "ascending")])
        last = {str(name): row for row, name in enumerate(found[known.object].to_pylist())}
        found = found.take(list(last.values())).sort_by(SEPARATION)
    if found.num_rows and not alerts and (wanted is None or set(wanted) > set(needed)):
        keys = [str(key) for key in found["rowkey"].to_pylist()]
        found = _within(tables, tables.rows(index.table, keys, wanted), ra, dec, radius).sort_by(SEPARATION)
    if not alerts:
        return chosen(tables, index.table, found, columns, SEPARATION)
    lookup = tables.lookup("object")
    wanted = None if columns is None else list(dict.fromkeys([*(tables.columns(lookup.table, columns) or []), *needed]))
    objects = [str(name) for name in found[known.object].to_pylist()] if found.num_rows else []
    every = tables.stretches(lookup.table, [Stretch.times(lookup.begin(name)) for name in objects], wanted)
    return chosen(tables, lookup.table, by_time(_with_separation(tables, every, ra, dec), known.time), columns, SEPARATION)


def pixels(nside: int, ra: float, dec: float, radius: float) -> list[int]:
    """HEALPix pixels, ring scheme, that a circle touches, and a few more; all in degrees."""
    # Half a second that other queries do not pay.
    import cdshealpix
    from astropy import units
    from astropy.coordinates import Latitude, Longitude

    depth = int(nside).bit_length() - 1
    around, _, _ = cdshealpix.cone_search(
        Longitude(ra % 360, units.deg), Latitude(dec, units.deg), (radius + _SLACK) * units.deg, depth, flat=True
    )
    return [int(pixel) for pixel in np.sort(cdshealpix.to_ring(around, depth))]


def separation(ra: np.ndarray[Any, Any], dec: np.ndarray[Any, Any], ra0: float, dec0: float) -> np.ndarray[Any, Any]:
    """Distances of positions from one, all in degrees: by the chord, which is exact where the cosine is not."""
    chord = np.linalg.norm(unit_vectors(ra, dec) - unit_vectors(np.array([ra0]), np.array([dec0])), axis=1)
    degrees: np.ndarray[Any, Any] = np.degrees(2 * np.arcsin(np.minimum(chord / 2, 1)))
    return degrees


def _within(tables: Tables, rows: pa.Table, ra: float, dec: float, radius: float) -> pa.Table:
    rows = _with_separation(tables, rows, ra, dec)
    return rows.filter(pa.array(rows[SEPARATION].to_numpy() <= radius))


def _with_separation(tables: Tables, rows: pa.Table, ra: float, dec: float) -> pa.Table:
    if not rows.num_rows:
        return rows.append_column(SEPARATION, pa.array([], pa.float64()))
    right, declination = (rows[name].to_numpy().astype(float) for name in tables.lookups.position)
    return rows.append_column(SEPARATION, pa.array(separation(right, declination, ra, dec)))
