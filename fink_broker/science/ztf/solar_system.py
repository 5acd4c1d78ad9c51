"""Which alerts are of bodies of the solar system."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fink_broker.science import outputs
from fink_broker.science.lightcurves import LightCurves

_HALF_AN_HOUR = 30 / (24 * 60)  # days


@outputs(roid="int")
def roid(
    cjd: pd.Series, cmagpsf: pd.Series, ndethist: pd.Series, sgscore1: pd.Series, ssdistnr: pd.Series, distpsnr1: pd.Series
) -> pd.Series:
    """Whether the alert is of a body of the solar system, by Fink's published cuts (fink-science, ``roid_catcher``).

    Parameters
    ----------
    cjd : Series of arrays of float
        Times, Julian dates in days.
    cmagpsf : Series of arrays of float
        PSF magnitudes, missing for an upper limit.
    ndethist : Series of int
        Detections within 1.5 arcsec since the survey began.
    sgscore1 : Series of float
        How much the nearest source in PS1 looks like a star, 0 to 1 (Tachibana and Miller 2018).
    ssdistnr : Series of float
        Distance of the nearest known body that the MPC predicts, arcsec; negative or missing where there is none.
    distpsnr1 : Series of float
        Distance of the nearest source in PS1, arcsec; negative or missing where there is none within 30 arcsec.

    Returns
    -------
    Series of int
        3: a known body, `ssnamenr`, is within 5 arcsec, nearer than any source of PS1, and the place has not been seen more than 5 times.
        2: may be an unknown one: not a star, seen once or twice, two times at most 30 minutes apart, no source of PS1 within 5 arcsec.
        1: the place was never seen before. 0: none of these.
    """
    curves = LightCurves(cjd=cjd, cmagpsf=cmagpsf)
    seen = np.bincount(curves.alert[~np.isnan(curves["cmagpsf"])], minlength=len(curves))
    # The two last points in time of the history, detections or not.
    last = np.cumsum(curves.lengths) - 1
    pause = np.where(curves.lengths > 1, curves["cjd"][last] - curves["cjd"][last - 1], np.nan)

    flag = np.where(ndethist == 1, 1, 0)
    flag[(sgscore1 < 0.76) & (ndethist <= 2)] = 2
    flag[(distpsnr1 > 0) & (distpsnr1 < 5)] = 0
    flag[(seen == 2) & (pause > _HALF_AN_HOUR)] = 0
    flag[(ndethist == 2) & (seen == 1)] = 0
    known = (ssdistnr >= 0) & (ssdistnr < 5) & (distpsnr1.abs() > ssdistnr)
    flag[known & (ndethist <= 5) & (seen <= 5)] = 3
    return pd.Series(flag, index=cjd.index)
