"""Features of the light curves in g and r."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fink_broker.science import outputs
from fink_broker.science.features import NAMES, features
from fink_broker.science.lightcurves import LightCurves
from fink_broker.science.ztf.photometry import source_magnitude

# ZTF's g and r; i has too few points.
_BANDS = (1, 2)
# pixels: a source of the reference image so near is the alert's own (fink-utils, `is_source_behind`).
_OWN_SOURCE = 1.5
_RECORD = f"struct<{', '.join(f'{name}: double' for name in NAMES)}>"


@outputs(lc_features_g=_RECORD, lc_features_r=_RECORD)
def lc_features(
    cmagpsf: pd.Series,
    cjd: pd.Series,
    csigmapsf: pd.Series,
    cfid: pd.Series,
    cdistnr: pd.Series,
    cmagnr: pd.Series,
    csigmagnr: pd.Series,
    cisdiffpos: pd.Series,
) -> pd.DataFrame:
    """The 26 features of `fink_broker.science.features` for the detections in g and in r, as Fink publishes them.

    The magnitudes are those of the source itself where the reference image has one within 1.5 pixels of any detection, else those of
    the difference (fink-science, ``ad_features``).

    Parameters
    ----------
    cmagpsf, csigmapsf : Series of arrays of float
        PSF magnitudes and their errors, missing for an upper limit.
    cjd : Series of arrays of float
        Times, Julian dates in days.
    cfid : Series of arrays of int
        Filters, 1 is g and 2 is r.
    cdistnr : Series of arrays of float
        Distances of the nearest source in the reference image, pixels.
    cmagnr, csigmagnr : Series of arrays of float
        Its magnitudes and their errors.
    cisdiffpos : Series of arrays of str
        ``t`` or ``1`` where the source was brighter than in the reference image.

    Returns
    -------
    DataFrame
        `lc_features_g` and `lc_features_r`: a record of features; NaN where one is not defined; no record where the alert has no point of
        that band, not even an upper limit, or two at one time.
    """
    curves = LightCurves(
        **{"cmagpsf": cmagpsf, "cjd": cjd, "csigmapsf": csigmapsf, "cfid": cfid, "cdistnr": cdistnr},
        **{"cmagnr": cmagnr, "csigmagnr": csigmagnr, "cisdiffpos": cisdiffpos},
    )
    magnitudes, errors = _magnitudes(curves)
    detected = ~np.isnan(magnitudes) & ~np.isnan(errors)
    columns = {}
    for band, name in zip(_BANDS, ("lc_features_g", "lc_features_r"), strict=True):
        of_band = curves["cfid"] == band
        points = np.flatnonzero(of_band & detected)
        points = points[np.lexsort((curves["cjd"][points], curves.alert[points]))]
        alerts, counts = np.unique(curves.alert[points], return_counts=True)
        found = features(curves["cjd"][points], magnitudes[points], errors[points], counts)
        known = np.bincount(curves.alert[of_band], minlength=len(curves)) > 0
        known[curves.alert[points][1:][(np.diff(curves["cjd"][points]) == 0) & (np.diff(curves.alert[points]) == 0)]] = False
        columns[name] = _records(found, alerts, known)
    return pd.DataFrame(columns, index=cmagpsf.index)


def _magnitudes(curves: LightCurves) -> tuple[np.ndarray, np.ndarray]:
    magnitudes, errors = curves["cmagpsf"], curves["csigmapsf"]
    near = (curves["cdistnr"] >= 0) & (curves["cdistnr"] <= _OWN_SOURCE) & ~np.isnan(magnitudes) & ~np.isnan(errors)
    behind = (np.bincount(curves.alert[near], minlength=len(curves)) > 0)[curves.alert]
    source = source_magnitude(magnitudes, errors, curves["cmagnr"], curves["csigmagnr"], curves["cisdiffpos"])
    return np.where(behind, source[0], magnitudes), np.where(behind, source[1], errors)


def _records(found: dict[str, np.ndarray], alerts: np.ndarray, known: np.ndarray) -> np.ndarray:
    values = np.full((len(known), len(NAMES)), np.nan)
    values[alerts] = np.column_stack([found[name] for name in NAMES])
    records = np.full(len(known), None, dtype=object)
    for alert in np.flatnonzero(known):
        records[alert] = dict(zip(NAMES, values[alert].tolist(), strict=True))
    return records
