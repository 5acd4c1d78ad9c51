"""The broker's own filters for ZTF."""

from __future__ import annotations

import pandas as pd

SQL = {
    "bright": "candidate.magpsf < 16",
    "known_variables": "gcvs != 'Unknown'",
    # ssdistnr is -999 without a known object of the solar system nearby.
    "solar_system": "candidate.ssdistnr >= 0 and candidate.ssdistnr < 5",
}

FUNCTIONS = ("new_transients",)


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
