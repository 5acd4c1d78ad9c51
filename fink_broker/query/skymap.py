"""Objects in the sky map of a gravitational wave, first seen around its time."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from fink_broker.catalogues import regions
from fink_broker.catalogues.coverage import ORDER, Coverage
from fink_broker.connectors.hbase_read import Stretch
from fink_broker.errors import UsageError
from fink_broker.query.named import chosen
from fink_broker.query.tables import Tables
from fink_broker.query.times import days

EVENT = "v:jdstartgw"
"""Time of the event, Julian date, under the name that Fink's API has for it."""

# A map of 12.6 million pixels and four numbers each is 400 MB.
_LARGEST = 450_000_000  # bytes
_MOST_PIXELS = 10_000  # each is a question to HBase of about a millisecond
_MOST_CELLS = 5_000_000
_GZIP = b"\x1f\x8b"
_JD_ZERO = 2_400_000.5


def read(content: bytes) -> tuple[Coverage, float]:
    """A sky map and the time of its event.

    Parameters
    ----------
    content : bytes
        FITS as `regions.skymap` reads it, compressed by gzip or not.

    Returns
    -------
    tuple
        The map, and the MJD (UTC) that its header says (``DATE-OBS``).

    Raises
    ------
    UsageError
        It is none, too large, or does not say when.
    """
    from astropy.io import fits

    if content.startswith(_GZIP):
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            content = unpacker.decompress(content, _LARGEST)
        except zlib.error as error:
            raise UsageError(f"the sky map is not gzip: {error}") from error
        if unpacker.unconsumed_tail:
            raise UsageError(f"the sky map is larger than {_LARGEST // 1_000_000} MB: send the multi-order one")
    found = regions.skymap(io.BytesIO(content), "the sky map")
    with fits.open(io.BytesIO(content)) as units:
        said = next((str(unit.header["DATE-OBS"]) for unit in units if "DATE-OBS" in unit.header), "")
    if not said:
        raise UsageError("the sky map does not say when its event was: its header has no DATE-OBS")
    return found, days(said, 0.0)


def inside(
    tables: Tables,
    probabilities: Coverage,
    event: float,
    level: float,
    columns: Sequence[str] | None = None,
    *,
    before: float = 1.0,
    after: float = 6.0,
) -> pa.Table:
    """Objects in the region that holds the event with some probability, first seen within days of it; by fink-object-api's
    `search_in_skymap`.

    Parameters
    ----------
    tables : Tables
        Where to look.
    probabilities : Coverage
        By square degree.
    event : float
        MJD (UTC).
    level : float
        Probability, 0 to 1.
    columns : sequence of str, optional
        All of the table without.
    before, after : float
        Days.

    Raises
    ------
    UsageError
        The region is too large.
    """
    index, known = tables.lookups.cone, tables.lookups
    region = regions.credible(probabilities, level)
    some = pixels(region, index.nside)
    if len(some) > _MOST_PIXELS:
        area = float(np.sum(region.area_deg2))
        raise UsageError(f"that region has {area:,.0f} square degrees, too many for one question: ask with a lower credible_level")
    since, until = event - before + tables.zero, event + after + tables.zero
    wanted = None if columns is None else list(dict.fromkeys([*columns, known.object, known.time, *known.position]))
    rows = tables.stretches(index.table, [Stretch.times(f"{pixel}_", since, until) for pixel in some], wanted)
    if rows.num_rows:
        ra, dec = (rows[name].to_numpy().astype(float) for name in known.position)
        rows = rows.filter(pa.array(np.isfinite(region.at(ra, dec))))
        # An object that has wandered across a border is in two pixels: its last alert counts.
        rows = rows.sort_by([(known.time, "descending")])
        _, first = np.unique([str(one) for one in rows[known.object].to_pylist()], return_index=True)
        rows = rows.take(np.sort(first))
    return chosen(tables, index.table, rows, columns).append_column(EVENT, pa.array([event + _JD_ZERO] * len(rows), pa.float64()))


def pixels(region: Coverage, nside: int) -> list[int]:
    """HEALPix pixels, ring scheme, that a region touches; a few more than `_MOST_PIXELS` if it touches more."""
    import cdshealpix

    depth = int(nside).bit_length() - 1
    shift = 2 * (ORDER - depth)
    first, last = region.begins >> shift, (region.ends - 1) >> shift
    number = last - first + 1
    if int(number.sum()) > _MOST_CELLS:
        return list(range(_MOST_PIXELS + 1))
    nested = np.unique(np.repeat(first - np.cumsum(number) + number, number) + np.arange(number.sum()))
    return [int(pixel) for pixel in np.sort(cdshealpix.to_ring(nested.astype(np.uint64), depth))]
