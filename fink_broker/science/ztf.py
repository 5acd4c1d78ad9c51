"""The broker's own science modules for ZTF."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from fink_broker.science import outputs

GCVS_RADIUS = 1.5  # arcsec, as Fink matches the GCVS


@outputs(gcvs="string")
def gcvs(ra: pd.Series, dec: pd.Series) -> pd.Series:
    """Type of the variable star in the General Catalogue of Variable Stars (GCVS 5.1) within 1.5 arcsec.

    Parameters
    ----------
    ra, dec : Series of float
        Position, J2000, degrees.

    Returns
    -------
    Series of str
        Variability type, ``Unknown`` where there is none.
    """
    tree, types = _gcvs()
    # The chord that an angle spans on the unit sphere.
    reach = 2 * np.sin(np.radians(GCVS_RADIUS / 3600) / 2)
    _, nearest = tree.query(_unit_vectors(ra.to_numpy(float), dec.to_numpy(float)), distance_upper_bound=reach)
    return pd.Series(types[nearest], index=ra.index)


@functools.cache
def _gcvs() -> tuple[cKDTree, np.ndarray]:
    """Read once in each worker. A query without match answers with an index one past the end: that is ``Unknown``."""
    table = pd.read_parquet(Path(__file__).parent / "catalogs" / "gcvs.parquet")
    types = np.append(table["VarType"].str.strip().to_numpy(object), "Unknown")
    return cKDTree(_unit_vectors(table["ra"].to_numpy(float), table["dec"].to_numpy(float))), types


def _unit_vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    ra, dec = np.radians(ra), np.radians(dec)
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


@outputs(nalerthist="int")
def nalerthist(cmagpsf: pd.Series) -> pd.Series:
    """Detections in the alert: history and current one; upper limits do not count.

    Parameters
    ----------
    cmagpsf : Series of arrays of float
        PSF magnitudes, missing for an upper limit.
    """
    return cmagpsf.map(lambda magnitudes: int(np.count_nonzero(~np.isnan(magnitudes))))


@outputs(jd_first_real_det="double", jdstarthist_dt="double")
def first_detection(cjd: pd.Series, cmagpsf: pd.Series, jdstarthist: pd.Series) -> pd.DataFrame:
    """First detection at 5 sigma in the alert's history, and how long after the first at 3 sigma.

    Parameters
    ----------
    cjd : Series of arrays of float
        Times, Julian dates in days.
    cmagpsf : Series of arrays of float
        PSF magnitudes, missing for an upper limit.
    jdstarthist : Series of float
        Earliest time at 3 sigma, Julian date in days.

    Returns
    -------
    DataFrame
        `jd_first_real_det` (Julian date, days) and `jdstarthist_dt` (days): above 30 days, the real first detection at
        5 sigma is probably older than the history.
    """
    first = [
        np.nanmin(np.where(np.isnan(magnitudes), np.nan, times)) if not np.isnan(magnitudes).all() else np.nan
        for times, magnitudes in zip(cjd, cmagpsf, strict=True)
    ]
    detected = pd.Series(first, index=cjd.index, dtype=float)
    return pd.DataFrame({"jd_first_real_det": detected, "jdstarthist_dt": detected - jdstarthist})
