"""Regions as astronomers have them: MOC files, and sky maps of probability in HEALPix, flat or of several orders."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fink_broker.catalogues.coverage import ORDER, SKY_DEG2, Coverage
from fink_broker.catalogues.index import Floats, Rows
from fink_broker.errors import UsageError

_FORMATS = {"fits": "fits", "fit": "fits", "json": "json", "txt": "ascii", "moc": "ascii"}
_DENSITY, _PROBABILITY = ("PROBDENSITY", "PROB_DENSITY"), ("PROB", "PROBABILITY", "PROBABILTY")  # the third: old maps of BAYESTAR
_STERADIANS = SKY_DEG2 / (4 * np.pi)  # square degrees
# How far from one the probabilities of a map may add up: single precision, and cells that were left out.
_LEEWAY = 0.02


def moc(path: Path) -> Coverage:
    """Read a MOC (IVOA, Multi-Order Coverage map): FITS, JSON or ASCII, as the end of its name says.

    Returns
    -------
    Coverage
        Its stretches, each of value 1.

    Raises
    ------
    UsageError
        It is missing, of another format, damaged or empty.
    """
    # Two seconds, astropy among it, that only those who have regions pay.
    from mocpy import MOC

    kind = _FORMATS.get(path.suffix.lower().removeprefix("."))
    if kind is None:
        raise UsageError(f"{path}: a MOC is a {', '.join(f'.{end}' for end in _FORMATS)} file")
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    try:
        stretches = MOC.load(path, format=kind).to_depth29_ranges.astype(np.int64)
    # Whatever mocpy says of a file, the user needs to know of which one.
    except Exception as error:
        raise UsageError(f"cannot read {path} as a MOC: {' '.join(str(error).split())[:200]}") from error
    if not len(stretches):
        raise UsageError(f"{path} is an empty MOC: no alert would ever be in it")
    return Coverage(stretches[:, 0].copy(), stretches[:, 1].copy(), np.ones(len(stretches)))


def skymap(file: Path | BinaryIO, name: str = "") -> Coverage:
    """Read a sky map of probability: HEALPix in FITS, flat (nested or ring) or multi-order, compressed by gzip or not.

    Parameters
    ----------
    file : Path or binary file
        The map. Multi-order maps are those of LVK's user guide, with `UNIQ` and `PROBDENSITY` (1/sr); flat ones have a column `PROB`.
    name : str, optional
        What to call it in messages; the path without.

    Returns
    -------
    Coverage
        Cells, each with its probability by square degree.

    Raises
    ------
    UsageError
        It is missing, damaged, or no map of probability.
    """
    from astropy.io import fits

    name = name or str(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # units and keywords that astropy finds odd
            with fits.open(file) as units:
                table = next(unit for unit in units if isinstance(unit, fits.BinTableHDU))
                columns = {column.upper(): np.ravel(table.data[column]) for column in table.columns.names}
                header = table.header
        begins, ends, density = _cells(columns, str(header.get("ORDERING", "")).upper())
    except (StopIteration, KeyError) as error:
        raise UsageError(f"{name} is no sky map: it has no table with UNIQ and PROBDENSITY, or PROB") from error
    # astropy has errors of its own for each way in which a file can be damaged.
    except Exception as error:
        raise UsageError(f"cannot read {name} as a sky map: {' '.join(str(error).split())[:200]}") from error
    order = np.argsort(begins)
    found = Coverage(begins[order], ends[order], density[order])
    total = float(np.sum(found.values * found.area_deg2))
    if np.any(found.ends[:-1] > found.begins[1:]) or not np.all(found.values >= 0) or not abs(total - 1) <= _LEEWAY:
        raise UsageError(f"{name} is no map of probability: cells overlap, or add up to {total:g} and not to 1")
    return found


def _cells(columns: dict[str, np.ndarray], ordering: str) -> tuple[Rows, Rows, Floats]:
    """First and last pixel and density of each cell."""
    if "UNIQ" in columns:
        # NUNIQ of IVOA's MOC 2.0, section 4.3.1: 4 times 4 to the power of the order, plus the pixel.
        uniq = columns["UNIQ"].astype(np.int64)
        first = np.int64(4) << 2 * np.arange(ORDER + 1)
        orders = np.searchsorted(first, uniq, side="right") - 1
        pixels, density = uniq - first[orders], next(columns[name] for name in _DENSITY if name in columns)
        density = density.astype(float) / _STERADIANS
    else:
        probability = next(columns[name] for name in _PROBABILITY if name in columns).astype(float)
        order = max(0, round(np.log2(len(probability) / 12) / 2))
        if len(probability) != 12 << 2 * order:
            raise ValueError(f"it has {len(probability)} pixels, which no HEALPix map has")
        pixels, orders = np.arange(len(probability)), np.full(len(probability), order)
        if ordering == "RING":
            from cdshealpix import from_ring

            pixels = from_ring(pixels.astype(np.uint64), order).astype(np.int64)
        elif ordering not in ("NESTED", "NEST"):
            raise ValueError(f"its header says ORDERING = '{ordering}', not NESTED or RING")
        density = probability * len(probability) / SKY_DEG2
    shift = 2 * (ORDER - orders)
    return pixels << shift, pixels + 1 << shift, density


def credible(probabilities: Coverage, level: float) -> Coverage:
    """The smallest region that holds an event with so much probability.

    Parameters
    ----------
    probabilities : Coverage
        As `skymap` reads it.
    level : float
        0 to 1.

    Returns
    -------
    Coverage
        The densest cells, up to and with the one by which the level is reached, so that there is always one.
    """
    densest = np.argsort(-probabilities.values, kind="stable")
    held = np.cumsum((probabilities.values * probabilities.area_deg2)[densest])
    # What adds up to a little less than one never reaches a level of one.
    inside = np.sort(densest[: np.searchsorted(held, level * held[-1]) + 1])
    return Coverage(probabilities.begins[inside], probabilities.ends[inside], probabilities.values[inside])
