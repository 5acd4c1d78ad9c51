"""Tracks of bodies and satellites that cross an exposure: alerts along a great circle, by Fink's published algorithm.

fink-broker, ``tracklet_identification`` (Karpov and Peloton 2022, arXiv:2202.05719): every pair of alerts that is not too close spans
a great circle, and 5 alerts or more along one are a candidate; a parabola along the circle then takes in, or leaves out, what is near it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fink_broker.science.sphere import unit_vectors

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_ARCSEC = 1 / 206265  # radians
_APART = 10 * _ARCSEC  # alerts that span a circle
_ALONG = 5 * _ARCSEC  # of a circle
_ON_TRACK = 1 * _ARCSEC  # of the parabola
_FEWEST = 5  # alerts of a track
_MOST = 500  # alerts of an exposure: among more, chance alone makes tracks
_ROUNDS = 10

log = logging.getLogger(__name__)


def named(exposures: Floats, ra: Floats, dec: Floats) -> NDArray[np.object_]:
    """Names of the tracks that alerts belong to.

    Parameters
    ----------
    exposures : array of float
        Times of the exposures, Julian dates in days; alerts of one exposure have one time.
    ra, dec : array of float
        Positions, J2000, degrees.

    Returns
    -------
    array of str
        ``TRCK_20210604_093609_00``: time of the exposure and number of the track in it; empty for alerts of none.
    """
    names = np.full(len(exposures), "", dtype=object)
    for alerts in pd.Series(exposures).groupby(exposures).indices.values():
        # To milliseconds and then cut: so is a time of astropy written in seconds.
        time = pd.Timestamp(round((exposures[alerts[0]] - 2440587.5) * 86_400_000), unit="ms")
        if len(alerts) > _MOST:
            log.warning("no tracks are looked for among the %d candidates of the exposure of %s", len(alerts), time)
            continue
        tracks = tracklets(ra[alerts], dec[alerts])
        for track in range(tracks.max(initial=-1) + 1):
            names[alerts[tracks == track]] = f"TRCK_{time:%Y%m%d_%H%M%S}_{track:02d}"
    return names


def tracklets(ra: Floats, dec: Floats) -> NDArray[np.int64]:
    """Tracks among the alerts of one exposure.

    Parameters
    ----------
    ra, dec : array of float
        Positions, J2000, degrees.

    Returns
    -------
    array of int
        Number of the track that each alert belongs to, -1 for none.
    """
    tracks = np.full(len(ra), -1)
    if len(ra) < _FEWEST:
        return tracks
    points, found = unit_vectors(ra, dec), 0
    for candidate in _along_circles(points):
        # Most of it belongs to a longer one already.
        if np.sum(candidate & (tracks < 0)) < _FEWEST:
            continue
        members = _refined(points, candidate)
        if members.sum() < _FEWEST:
            continue
        shared = tracks[members & (tracks >= 0)]
        # Three alerts in common are the same track; one or two are where two tracks cross.
        number = shared[0] if len(shared) > 2 else found
        found = max(found, number + 1)
        tracks[members] = number
    return tracks


def _along_circles(points: Floats) -> Iterator[Flags]:
    """Sets of alerts along a great circle through two of them, the largest first."""
    sets = []
    for place in range(1, len(points)):
        poles = np.cross(points[place], points[:place])
        apart = np.linalg.norm(poles, axis=1)
        poles, apart = poles[apart > _APART], apart[apart > _APART]
        along = np.abs(poles @ points.T) < _ALONG * apart[:, None]
        sets.append(along[along.sum(axis=1) >= _FEWEST])
    unique = np.unique(np.concatenate(sets), axis=0)
    yield from unique[np.argsort(-unique.sum(axis=1), kind="stable")]


def _refined(points: Floats, members: Flags) -> Flags:
    """The alerts along a parabola through a candidate; none where it does not settle on three."""
    first, second = points[members][:2]
    along = np.cross(first, points) @ np.cross(first, second)
    ends = points[members][np.argsort(along[members])[[0, -1]]]
    pole = np.cross(*ends)
    off = points @ (pole / np.linalg.norm(pole))
    for _ in range(_ROUNDS):
        near: Flags = np.abs(off - np.polyval(np.polyfit(along[members], off[members], 2), along)) < _ON_TRACK
        _without_stray_end(points, along, near)
        if np.array_equal(near, members) or near.sum() < 3:
            return near
        members = near
    return members


def _without_stray_end(points: Floats, along: Floats, members: Flags) -> None:
    """Leave out the first or the last alert where it is 10 times farther from the next one than all the others from end to end."""
    order = np.flatnonzero(members)
    if len(order) < 2:
        return
    order = order[np.argsort(along[order])]
    steps = np.linalg.norm(np.diff(points[order], axis=0), axis=1)
    if steps[0] > 10 / 11 * steps.sum():
        members[order[0]] = False
    elif steps[-1] > 10 / 11 * steps.sum():
        members[order[-1]] = False
