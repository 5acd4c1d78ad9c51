"""Blazars that are monitored for CTAO: fluxes by the median of their band, and whether one is in a low state."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pandas as pd

from fink_broker.science import outputs
from fink_broker.science.ztf.photometry import Floats, source_flux

_LIST = Path(__file__).parent / "data" / "blazars.parquet"
_MILLIJANSKY = 3_631_000  # of magnitude 0
_MONTH = 30  # days
_UNKNOWN = -1.0
_STATES = ("instantness_low", "robustness_low", "instantness_high", "robustness_high", "cdf_quantile")


@outputs(cstd_flux="array<double>", csigma_std_flux="array<double>")
def standardized_flux(
    objectId: pd.Series,
    cmagpsf: pd.Series,
    csigmapsf: pd.Series,
    cmagnr: pd.Series,
    csigmagnr: pd.Series,
    cisdiffpos: pd.Series,
    cfid: pd.Series,
) -> pd.DataFrame:
    """Fluxes of a monitored blazar, by their median in the same band (fink-science, ``standardized_flux``).

    Parameters
    ----------
    objectId : Series of str
        ZTF's name.
    cmagpsf, csigmapsf, cmagnr, csigmagnr, cisdiffpos : Series of arrays
        What `photometry.source_flux` takes.
    cfid : Series of arrays of int
        Filters: 1 is g, 2 is r.

    Returns
    -------
    DataFrame
        `cstd_flux` and `csigma_std_flux`, without unit: a value a point, missing for upper limits and in i; empty for other objects.
    """
    fluxes = _standardized(objectId, cmagpsf, csigmapsf, cmagnr, csigmagnr, cisdiffpos, cfid)
    columns = {}
    for place, name in enumerate(("cstd_flux", "csigma_std_flux")):
        column = np.full(len(objectId), None, dtype=object)
        for alert in range(len(objectId)):
            column[alert] = fluxes[alert][place] if alert in fluxes else np.array([])
        columns[name] = column
    return pd.DataFrame(columns, index=objectId.index)


@outputs(blazar_stats=f"struct<{', '.join(f'{name}: float' for name in _STATES)}>")
def blazar(
    objectId: pd.Series,
    cjd: pd.Series,
    cmagpsf: pd.Series,
    csigmapsf: pd.Series,
    cmagnr: pd.Series,
    csigmagnr: pd.Series,
    cisdiffpos: pd.Series,
    cfid: pd.Series,
) -> pd.Series:
    """How far a monitored blazar is below the flux at which its low state begins (fink-science, ``blazar_low_state``).

    Parameters
    ----------
    objectId : Series of str
        ZTF's name.
    cjd : Series of arrays of float
        Times, Julian dates in days.
    cmagpsf, csigmapsf, cmagnr, csigmagnr, cisdiffpos, cfid : Series of arrays
        As for `standardized_flux`.

    Returns
    -------
    Series of dict
        By the threshold of the low state: `instantness_low`, the current standardised flux, and `robustness_low`, its mean over the 30 days
        before; -1 for other objects, and where the alert has less than two fluxes. The high state and the quantile, whose thresholds
        are not public, are always -1.
    """
    fluxes = _standardized(objectId, cmagpsf, csigmapsf, cmagnr, csigmagnr, cisdiffpos, cfid)
    thresholds = _monitored()["low_threshold"]
    states = np.full(len(objectId), dict.fromkeys(_STATES, _UNKNOWN), dtype=object)
    for alert, (flux, _) in fluxes.items():
        threshold = thresholds[objectId.iloc[alert]]
        mean = _mean_of_month(np.asarray(cjd.iloc[alert], float), flux)
        low = {"instantness_low": flux[-1] / threshold, "robustness_low": _UNKNOWN if np.isnan(mean) else mean / threshold}
        states[alert] = dict.fromkeys(_STATES, _UNKNOWN) | low
    return pd.Series(states, index=objectId.index)


def _mean_of_month(times: Floats, flux: Floats) -> float:
    """Mean over time of the last 30 days, by trapezia; NaN with less than two fluxes."""
    recent = (times >= times[-1] - _MONTH) & ~np.isnan(flux)
    times, flux = times[recent], flux[recent]
    if len(times) < 2 or times[-1] <= times[0]:
        return np.nan
    return float(np.sum(np.diff(times) * (flux[1:] + flux[:-1]) / 2) / (times[-1] - times[0]))


def _standardized(object_id: pd.Series, *columns: pd.Series) -> dict[int, tuple[Floats, Floats]]:
    """Place in the batch, for the few alerts that are of monitored blazars, to their fluxes and errors."""
    monitored = _monitored()
    places = np.flatnonzero(object_id.isin(monitored.index))
    fluxes = {}
    for alert in places:
        *photometry, isdiffpos, fid = (column.iloc[alert] for column in columns)
        magpsf, sigmapsf, magnr, sigmagnr = (np.asarray(values, float) for values in photometry)
        flux, error = source_flux(magpsf, sigmapsf, magnr, sigmagnr, np.asarray(isdiffpos, object))
        medians = monitored.loc[object_id.iloc[alert], ["median_g", "median_r"]].to_numpy(float)
        band = np.asarray(fid, int)
        median = np.append(medians, np.nan)[np.minimum(band, 3) - 1]
        fluxes[int(alert)] = (_MILLIJANSKY * flux / median, _MILLIJANSKY * error / median)
    return fluxes


@functools.cache
def _monitored() -> pd.DataFrame:
    return pd.read_parquet(_LIST).set_index("objectId")
