"""Parts of the sky: HEALPix cells of any size, each with a value, searched by bisection.

A cell is a stretch of the pixels of order 29 in the nested scheme (IVOA's MOC 2.0, section 4.2): which cell holds a position is one
search in a sorted array, whatever the cells' sizes. The arrays are mapped from files that all workers share, and need nothing but
numpy where they are searched.
"""

from __future__ import annotations

import functools
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fink_broker.catalogues.index import Floats, Rows
from fink_broker.errors import ConfigError

ORDER = 29
_NSIDE = 1 << ORDER
PIXELS = 12 << 2 * ORDER
SKY_DEG2 = 360**2 / np.pi
_PARTS = ("begins", "ends", "values")
# Steps that put a zero between the bits of a number of 32.
_SPREAD = ((16, 0x0000FFFF0000FFFF), (8, 0x00FF00FF00FF00FF), (4, 0x0F0F0F0F0F0F0F0F), (2, 0x3333333333333333), (1, 0x5555555555555555))


@dataclass(frozen=True, eq=False)
class Coverage:
    """Cells that do not overlap, in the order of their pixels.

    Parameters
    ----------
    begins, ends : array of int
        First pixel of order 29 of each cell, and the one after its last.
    values : array of float
        What each cell has, such as a probability by square degree.
    """

    begins: Rows
    ends: Rows
    values: Floats

    def at(self, ra: ArrayLike, dec: ArrayLike) -> Floats:
        """The value of the cell that a position lies in; NaN where there is none.

        Parameters
        ----------
        ra, dec : array of float
            Positions, J2000, degrees; NaN lies nowhere.
        """
        ra, dec = np.asarray(ra, float), np.asarray(dec, float)
        known = np.isfinite(ra) & np.isfinite(dec)
        place = pixel(np.where(known, ra, 0), np.where(known, dec, 0))
        cell = np.searchsorted(self.begins, place, side="right") - 1
        found: Floats = np.where(known & (cell >= 0) & (place < self.ends[cell]), self.values[cell], np.nan)
        return found

    @property
    def area_deg2(self) -> Floats:
        """Area of each cell, square degrees."""
        return np.asarray((self.ends - self.begins) * (SKY_DEG2 / PIXELS), float)


def pixel(ra: Floats, dec: Floats) -> NDArray[np.int64]:
    """HEALPix pixel of order 29, nested scheme, that a position lies in.

    Parameters
    ----------
    ra, dec : array of float
        Positions, degrees.

    Returns
    -------
    array of int
        By Górski et al. 2005 (ApJ 622, 759), section 5.3: the face of the twelve, and within it the bits of x and y one after the other.
    """
    z, turn = np.sin(np.radians(dec)), (ra % 360) / 90
    belt = np.abs(z) <= 2 / 3
    # Around the equator: pixel borders that fall and rise to the position.
    falling = np.floor(_NSIDE * (0.5 + turn - 0.75 * z)).astype(np.int64)
    rising = np.floor(_NSIDE * (0.5 + turn + 0.75 * z)).astype(np.int64)
    low, high = falling >> ORDER, rising >> ORDER
    face = np.where(low == high, low % 4 + 4, np.where(low < high, low, high + 8))
    x, y = rising & _NSIDE - 1, _NSIDE - 1 - (falling & _NSIDE - 1)
    # In the caps: by the distance from the pole, without the difference of two numbers that are almost one.
    quarter = np.minimum(turn.astype(np.int64), 3)
    within = turn - quarter
    reach = _NSIDE * np.cos(np.radians(dec)) * np.sqrt(3 / (1 + np.abs(z)))
    down = np.clip((within * reach).astype(np.int64), 0, _NSIDE - 1)
    up = np.clip(((1 - within) * reach).astype(np.int64), 0, _NSIDE - 1)
    north = z > 0
    face = np.where(belt, face, np.where(north, quarter, quarter + 8))
    x = np.where(belt, x, np.where(north, _NSIDE - 1 - up, down))
    y = np.where(belt, y, np.where(north, _NSIDE - 1 - down, up))
    return (face << 2 * ORDER) + _spread(x) + (_spread(y) << 1)


def _spread(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    for shift, mask in _SPREAD:
        numbers = (numbers | numbers << shift) & mask
    return numbers


def keep(target: Path, coverage: Coverage) -> None:
    """Keep a coverage in a folder of its own, whole or not at all."""
    new = target.with_name(f".{target.name}.{os.getpid()}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    for part in _PARTS:
        np.save(new / f"{part}.npy", getattr(coverage, part))
    new.rename(target)


@functools.lru_cache(maxsize=256)
def mapped(where: Path) -> Coverage:
    """Map the coverage that `keep` has kept in a folder, once in each process.

    Raises
    ------
    ConfigError
        It is not there, or damaged.
    """
    try:
        return Coverage(*(np.asarray(np.load(where / f"{part}.npy", mmap_mode="r")) for part in _PARTS))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{where} is damaged: {error}") from error
