"""Neighbours on the sphere, by zones of declination.

The rows of a catalogue are sorted by one number: the zone of declination, and within it the right ascension. What lies within a
radius of a position is then, in each zone that the circle touches, one stretch of rows (two across right ascension 0), found by bisection.
That needs three plain arrays that can be mapped from a file, so all workers share one copy, and it is as fast for one position as for many.

The zone algorithm is that of Gray, Nieto-Santisteban and Szalay 2006, "The Zones Algorithm for Finding Points-Near-a-Point or
Cross-Matching Spatial Datasets" (MSR-TR-2006-52).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

ARCSEC = 1 / 3600  # degrees
# What rounding may move a position by: in degrees, and in units of the key, a whole turn.
_SLACK_DEG = 1e-8
_SLACK_KEY = 1e-10
# Stretches or rows that are looked at in one go: some 100 MB.
_AT_ONCE = 1_000_000


@dataclass(frozen=True, eq=False)
class Catalogue:
    """A catalogue, its rows sorted by `keys`.

    Parameters
    ----------
    zones : int
        Number of zones of declination between the poles, all of one height.
    keys : array of float
        Zone plus right ascension as a fraction of the turn, ascending.
    ra, dec : array of float
        Positions, J2000, degrees; ``0 <= ra < 360``.
    payload : pyarrow.Table
        The other columns, in the same order.
    radius : array of float, optional
        How far a row reaches, arcsec; without, as far as is asked.
    reach : float
        The largest of them.
    """

    zones: int
    keys: Floats
    ra: Floats
    dec: Floats
    payload: pa.Table
    radius: Floats | None = None
    reach: float = np.inf

    def __len__(self) -> int:
        return len(self.keys)

    def nearest(self, ra: ArrayLike, dec: ArrayLike, radius: ArrayLike = np.inf) -> tuple[Rows, Floats]:
        """The nearest row that is closer than a radius.

        Parameters
        ----------
        ra, dec : array of float
            Positions, J2000, degrees.
        radius : float or array of float
            Largest separation, arcsec, one for all or one a position; the nearest row wherever it is without.

        Returns
        -------
        rows : array of int
            Row, -1 where there is none.
        separation : array of float
            How far it is, arcsec, infinite where there is none.
        """
        ra, dec, limit = _positions(ra, dec, radius)
        rows, separations = np.full(len(ra), -1), np.full(len(ra), np.inf)
        left = np.flatnonzero(np.isfinite(ra + dec))
        limit = np.minimum(limit, self.reach)
        # What is near is found in a small circle; only where nothing was found it grows.
        circle = 3600 * 180 / self.zones
        while len(left):
            within = np.minimum(limit[left], circle)
            for queries, found, separation in self._pairs(ra[left], dec[left], within):
                order = np.lexsort((separation, queries))
                first = order[np.flatnonzero(np.diff(queries[order], prepend=-1))]
                # The neighbours of one position may come in several pieces.
                first = first[separation[first] < separations[left[queries[first]]]]
                rows[left[queries[first]]] = found[first]
                separations[left[queries[first]]] = separation[first]
            left = left[(rows[left] < 0) & (limit[left] > circle) & (circle < 2 * 180 * 3600)]
            circle *= 3
        return rows, separations

    def within(self, ra: ArrayLike, dec: ArrayLike, radius: ArrayLike) -> tuple[Rows, Rows, Floats]:
        """All rows that are closer than a radius.

        Parameters
        ----------
        ra, dec : array of float
            Positions, J2000, degrees.
        radius : float or array of float
            Largest separation, arcsec, one for all or one a position.

        Returns
        -------
        queries, rows : array of int
            Pairs of a position and a row, by position, the nearest first.
        separation : array of float
            How far they are apart, arcsec.
        """
        ra, dec, limit = _positions(ra, dec, radius)
        sound = np.flatnonzero(np.isfinite(ra + dec))
        parts = list(self._pairs(ra[sound], dec[sound], np.minimum(limit[sound], self.reach)))
        queries, rows, separation = (np.concatenate(part) for part in zip(*parts, strict=True)) if parts else (np.array([], int),) * 3
        order = np.lexsort((separation, queries))
        return sound[queries[order]], rows[order], separation[order]

    def column(self, name: str, rows: Rows, missing: Any) -> NDArray[np.object_]:
        """Values of a column of the payload for rows as `nearest` returns them.

        Parameters
        ----------
        name : str
            Name of the column.
        rows : array of int
            Rows; -1 is none.
        missing : object
            Value where there is no row.
        """
        values = np.full(len(rows), missing, dtype=object)
        matched = rows >= 0
        values[matched] = self.payload[name].take(rows[matched]).to_pylist()
        return values

    def _pairs(self, ra: Floats, dec: Floats, radius: Floats) -> Iterator[tuple[Rows, Rows, Floats]]:
        """Pairs of a position and a row closer than its radius, so many at once as memory bears."""
        height = 180 / self.zones
        degrees = np.minimum(radius * ARCSEC, 180) + _SLACK_DEG
        zone = [np.clip((dec + side + 90) / height, 0, self.zones - 1).astype(int) for side in (-degrees, degrees)]
        touched = zone[1] - zone[0] + 1
        for part in _portions(touched):
            queries, zones = _counted(zone[0][part], touched[part])
            begin, end, owner = self._stretches(ra[part][queries], dec[part][queries], degrees[part][queries], zones)
            queries = queries[owner]
            some = np.flatnonzero(end > begin)
            for piece in _portions((end - begin)[some]):
                stretch = some[piece]
                which, rows = _counted(begin[stretch], (end - begin)[stretch])
                query = queries[stretch][which] + part.start
                separation = separation_arcsec(ra[query], dec[query], self.ra[rows], self.dec[rows])
                near = separation < radius[query]
                if self.radius is not None:
                    near &= separation < self.radius[rows]
                yield query[near], rows[near], separation[near]

    def _stretches(self, ra: Floats, dec: Floats, radius: Floats, zones: Rows) -> tuple[Rows, Rows, Rows]:
        """Begin and end of the stretch of rows in each zone that may hold neighbours, and which position it is for."""
        # The circle's easternmost and westernmost points; over a pole it has none, and takes the whole turn.
        with np.errstate(invalid="ignore", divide="ignore"):
            wide = np.degrees(np.arcsin(np.sin(np.radians(radius)) / np.cos(np.radians(dec))))
        whole = (np.abs(dec) + radius >= 90) | ~(wide < 180)
        low, high = np.where(whole, 0, ra - wide), np.where(whole, 360, ra + wide)
        over, under = np.flatnonzero(high > 360), np.flatnonzero(low < 0)
        owner = np.concatenate([np.arange(len(zones)), over, under])
        low = np.concatenate([np.maximum(low, 0), np.zeros(len(over)), low[under] + 360]) / 360
        high = np.concatenate([np.minimum(high, 360), high[over] - 360, np.full(len(under), 360)]) / 360
        zone = zones[owner]
        begin = np.searchsorted(self.keys, zone + np.maximum(low - _SLACK_KEY, 0))
        end = np.searchsorted(self.keys, np.where(high >= 1 - _SLACK_KEY, zone + 1, zone + high + _SLACK_KEY))
        return begin, end, owner


def indexed(ra: ArrayLike, dec: ArrayLike, payload: pa.Table, radius: ArrayLike | None = None) -> Catalogue:
    """Sort a catalogue so that it can be searched.

    Parameters
    ----------
    ra, dec : array of float
        Positions, J2000, degrees.
    payload : pyarrow.Table
        The other columns, a row a position.
    radius : array of float, optional
        How far each row reaches, arcsec.
    """
    ra, dec = np.asarray(ra, float) % 360, np.asarray(dec, float)
    # About one row in a square as high as a zone: fewer zones to visit where rows are few, fewer rows to look at where they are many.
    zones = max(1, round(np.pi * np.sqrt(len(ra) / (4 * np.pi))))
    keys = np.minimum((dec + 90) / 180 * zones, zones - 1).astype(int) + np.minimum(ra / 360, 1 - 2**-36)
    order = np.argsort(keys, kind="stable")
    reaches = None if radius is None else np.asarray(radius, float)[order]
    reach = np.inf if reaches is None else float(reaches.max())
    return Catalogue(zones, keys[order], ra[order], dec[order], payload.take(order).combine_chunks(), reaches, reach)


def separation_arcsec(ra: Floats, dec: Floats, other_ra: Floats, other_dec: Floats) -> Floats:
    """Angles between positions in degrees, arcsec; by the haversine formula, which is exact for small ones too."""
    ra, dec, other_ra, other_dec = (np.radians(angle) for angle in (ra, dec, other_ra, other_dec))
    haversine = np.sin((dec - other_dec) / 2) ** 2 + np.cos(dec) * np.cos(other_dec) * np.sin((ra - other_ra) / 2) ** 2
    angle: Floats = np.degrees(2 * np.arcsin(np.sqrt(np.minimum(haversine, 1)))) / ARCSEC
    return angle


def _positions(ra: ArrayLike, dec: ArrayLike, radius: ArrayLike) -> tuple[Floats, Floats, Floats]:
    ra, dec = np.asarray(ra, float) % 360, np.asarray(dec, float)
    return ra, dec, np.broadcast_to(np.asarray(radius, float), ra.shape)


def _counted(start: Rows, count: Rows) -> tuple[Rows, Rows]:
    """For each start so many whole numbers from it on: which start they are from, and they themselves."""
    which = np.repeat(np.arange(len(count)), count)
    return which, start[which] + np.arange(len(which)) - (np.cumsum(count) - count)[which]


def _portions(count: Rows) -> Iterator[slice]:
    """Slices, each of as many as together have about `_AT_ONCE`."""
    total = np.cumsum(count)
    begin = 0
    while begin < len(count):
        before = total[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(total, before + _AT_ONCE, side="right")))
        yield slice(begin, end)
        begin = end
