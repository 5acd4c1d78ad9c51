"""What an alert's history says about its detections."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fink_broker.science import outputs
from fink_broker.science.lightcurves import LightCurves


@outputs(nalerthist="int")
def nalerthist(cmagpsf: pd.Series) -> pd.Series:
    """Detections in the alert: history and current one; upper limits do not count.

    Parameters
    ----------
    cmagpsf : Series of arrays of float
        PSF magnitudes, missing for an upper limit.
    """
    curves = LightCurves(cmagpsf=cmagpsf)
    detected = ~np.isnan(curves["cmagpsf"])
    return pd.Series(np.bincount(curves.alert[detected], minlength=len(curves)), index=cmagpsf.index)


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
    curves = LightCurves(cjd=cjd, cmagpsf=cmagpsf)
    detected = ~np.isnan(curves["cmagpsf"])
    first = np.full(len(curves), np.inf)
    np.minimum.at(first, curves.alert[detected], curves["cjd"][detected])
    real = pd.Series(np.where(np.isinf(first), np.nan, first), index=cjd.index)
    return pd.DataFrame({"jd_first_real_det": real, "jdstarthist_dt": real - jdstarthist})
