"""The broker's own filters for ZTF."""

from __future__ import annotations

import numpy as np
import pandas as pd

SQL = {
    "bright": "candidate.magpsf < 16",
    "known_variables": "gcvs != 'Unknown'",
    # ssdistnr is -999 without a known object of the solar system nearby.
    "solar_system": "candidate.ssdistnr >= 0 and candidate.ssdistnr < 5",
}

FUNCTIONS = ("new_transients", "rising")


def new_transients(jd: pd.Series, jdstarthist: pd.Series, ndethist: pd.Series, ssdistnr: pd.Series) -> pd.Series:
    """Seen for the first time less than two days ago, and no known object of the solar system.

    Parameters
    ----------
    jd, jdstarthist : Series of float
        Time of the alert and of the earliest detection, Julian dates in days.
    ndethist : Series of int
        Detections at this position since the survey began.
    ssdistnr : Series of float
        Distance to the nearest known object of the solar system, arcsec; -999 for none.

    Returns
    -------
    Series of bool
    """
    return (jd - jdstarthist < 2.0) & (ndethist <= 3) & ~ssdistnr.between(0, 5, inclusive="left")


def rising(cmagpsf: pd.Series, cfid: pd.Series) -> pd.Series:
    """Brighter by a tenth of a magnitude, or more, than at the detection before in the same band.

    Parameters
    ----------
    cmagpsf : Series of arrays of float
        PSF magnitudes, history then current, missing for an upper limit.
    cfid : Series of arrays of int
        Bands.

    Returns
    -------
    Series of bool
    """
    return pd.Series([_brighter(*curve) for curve in zip(cmagpsf, cfid, strict=True)], index=cmagpsf.index)


def _brighter(magnitudes: np.ndarray, bands: np.ndarray) -> bool:
    before = magnitudes[:-1][(bands[:-1] == bands[-1]) & ~np.isnan(magnitudes[:-1])]
    return bool(len(before)) and bool(before[-1] - magnitudes[-1] >= 0.1)
