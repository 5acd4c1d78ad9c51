"""Filters by position, as they run in the workers: near a watchlist, inside a region.

What they search was made ready by `fink_broker.filters.sky` and is mapped from files. Constants come as Series, as Spark gives literals.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pandas as pd

from fink_broker.catalogues import coverage, store

_watchlist = functools.lru_cache(maxsize=256)(store.mapped)


def near(ra: pd.Series, dec: pd.Series, folder: pd.Series, radius: pd.Series) -> pd.Series:
    """Closer to a row of a watchlist than it reaches.

    Parameters
    ----------
    ra, dec : Series of float
        Positions, J2000, degrees.
    folder : Series of str
        Folder of the watchlist, the same in all rows.
    radius : Series of float
        How far its rows reach at most, arcsec.

    Returns
    -------
    Series of bool
    """
    rows, _ = _watchlist(Path(folder.iloc[0])).nearest(ra, dec, radius)
    return pd.Series(rows >= 0, index=ra.index)


def inside(ra: pd.Series, dec: pd.Series, folder: pd.Series) -> pd.Series:
    """Inside a region, or in the credible region of a sky map.

    Parameters
    ----------
    ra, dec : Series of float
        Positions, J2000, degrees.
    folder : Series of str
        Folder of the region, the same in all rows.

    Returns
    -------
    Series of bool
    """
    return pd.Series(~np.isnan(coverage.mapped(Path(folder.iloc[0])).at(ra, dec)), index=ra.index)
