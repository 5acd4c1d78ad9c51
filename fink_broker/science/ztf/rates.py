"""How fast an alert's source brightens or fades, to find fast transients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr

from fink_broker.science import outputs
from fink_broker.science.lightcurves import LightCurves

Floats = NDArray[np.float64]

# A magnitude in units of the natural logarithm of the flux: 2.5 / ln 10.
_MAGNITUDE = 2.5 / np.log(10)
# Where the fluxes' distributions are evaluated: Gauss-Legendre between so many sigma.
_REACH = 8.0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)
_HALVINGS = 40


@outputs(mag_rate="double", sigma_rate="double", lower_rate="double", upper_rate="double", delta_time="double", from_upper="boolean")
def magnitude_rate(
    magpsf: pd.Series,
    sigmapsf: pd.Series,
    jd: pd.Series,
    fid: pd.Series,
    cjd: pd.Series,
    cfid: pd.Series,
    cmagpsf: pd.Series,
    csigmapsf: pd.Series,
    cdiffmaglim: pd.Series,
) -> pd.DataFrame:
    """Rate of the magnitude since the last point of the same band, detection or upper limit.

    The rate is that of two fluxes, each normally distributed around what was measured, or uniformly between none and the upper limit.
    Fink draws 10,000 samples of them (fink-science, ``fast_transient_rate``); here the distribution of the rate is integrated, so that an
    alert has one rate. Fluxes below none, which cannot be, are left out; Fink moves the samples of the whole batch by the
    smallest among them instead.

    Parameters
    ----------
    magpsf, sigmapsf : Series of float
        PSF magnitude of the current detection and its 1-sigma error.
    jd : Series of float
        Its time, Julian date in days.
    fid : Series of int
        Its filter: 1 is g, 2 is r, 3 is i.
    cjd, cfid, cmagpsf, csigmapsf : Series of arrays
        The same with the history before.
    cdiffmaglim : Series of arrays of float
        Magnitudes of the upper limits.

    Returns
    -------
    DataFrame
        `mag_rate`, mean, and `sigma_rate`, standard deviation, of the rate, magnitudes per day, negative when it brightens;
        `lower_rate` and `upper_rate`, its percentiles 5 and 95; `delta_time` (days); `from_upper`, whether the last point is an upper
        limit. Missing where there is no such point, or a point in i lies between.
    """
    curves = LightCurves(cjd=cjd, cfid=cfid, cmagpsf=cmagpsf, csigmapsf=csigmapsf, cdiffmaglim=cdiffmaglim)
    last = _last_of_band(curves, fid.to_numpy(float))
    before, before_error, limit, then = (
        np.where(last >= 0, curves[name][last], np.nan) for name in ("cmagpsf", "csigmapsf", "cdiffmaglim", "cjd")
    )
    pause = jd.to_numpy(float) - then
    now, now_error = magpsf.to_numpy(float), sigmapsf.to_numpy(float)
    detection, upper = np.isfinite(before), np.isnan(before) & np.isfinite(limit)
    change = np.full((4, len(jd)), np.nan)
    change[:, detection] = _from_detection(*(values[detection] for values in (now, now_error, before, before_error)))
    change[:, upper] = _from_limit(*(values[upper] for values in (now, now_error, limit)))
    rates = dict(zip(("mag_rate", "sigma_rate", "lower_rate", "upper_rate"), change / pause, strict=True))
    return pd.DataFrame({**rates, "delta_time": pause, "from_upper": upper}, index=jd.index)


def _last_of_band(curves: LightCurves, fid: Floats) -> NDArray[np.int64]:
    """For each alert the last point before the current one that is of its band; -1 where there is none, or one in i comes after it."""
    current = np.cumsum(curves.lengths) - 1
    places = np.arange(len(curves.alert))
    same = (curves["cfid"] == fid[curves.alert]) & (places != current[curves.alert])
    other = (curves["cfid"] > 2) & (places != current[curves.alert])
    last, barrier = np.full(len(curves), -1), np.full(len(curves), -1)
    np.maximum.at(last, curves.alert[same], places[same])
    np.maximum.at(barrier, curves.alert[other], places[other])
    return np.where(last > barrier, last, -1)


def _from_detection(now: Floats, now_error: Floats, before: Floats, before_error: Floats) -> Floats:
    """Mean, deviation and percentiles of the change between two measured fluxes, magnitudes."""
    new, new_weight = _log_flux(now_error)
    old, old_weight = _log_flux(before_error)
    mean_new, mean_old = (new * new_weight).sum(1), (old * old_weight).sum(1)
    variance = (new**2 * new_weight).sum(1) - mean_new**2 + (old**2 * old_weight).sum(1) - mean_old**2

    def cumulative(change: Floats) -> Floats:
        # Where the old flux is known, the change is below `change` if the new flux is above this.
        flux = np.exp(old - change[:, None] / _MAGNITUDE) * 10 ** (0.4 * (now - before))[:, None]
        below: Floats = (old_weight * _above(flux, now_error)).sum(1)
        return below

    middle = now - before - _MAGNITUDE * (mean_new - mean_old)
    return _summary(middle, _MAGNITUDE * np.sqrt(variance), cumulative)


def _from_limit(now: Floats, now_error: Floats, limit: Floats) -> Floats:
    """The same for a flux that was measured after one that is anything below a limit."""
    new, weight = _log_flux(now_error)
    mean = (new * weight).sum(1)
    variance = (new**2 * weight).sum(1) - mean**2

    def cumulative(change: Floats) -> Floats:
        # The share of the limit at which the change would be `change`: below it the old flux makes it a smaller one.
        share = np.exp(new + change[:, None] / _MAGNITUDE) * 10 ** (0.4 * (limit - now))[:, None]
        below: Floats = (weight * np.minimum(share, 1)).sum(1)
        return below

    # The logarithm of a number between 0 and 1 is -1 on average, with variance 1.
    return _summary(now - limit - _MAGNITUDE * (mean + 1), _MAGNITUDE * np.sqrt(variance + 1), cumulative)


def _log_flux(error: Floats) -> tuple[Floats, Floats]:
    """Logarithms of a flux, relative to the measured one, and the weights of each: of the normal distribution above none."""
    relative = error / _MAGNITUDE
    low = np.maximum(-1 / relative, -_REACH)
    half = (_REACH - low) / 2
    sigmas = low[:, None] + half[:, None] * (_NODES + 1)
    weights = half[:, None] * _WEIGHTS * np.exp(-(sigmas**2) / 2)
    return np.log1p(relative[:, None] * sigmas), weights / weights.sum(1, keepdims=True)


def _above(flux: Floats, error: Floats) -> Floats:
    """Probability that a flux, relative to the measured one, is above one, given that it is above none."""
    inverse = (_MAGNITUDE / error)[:, None]
    above: Floats = ndtr((1 - flux) * inverse) / ndtr(inverse)
    return above


def _summary(mean: Floats, deviation: Floats, cumulative: Callable[[Floats], Floats]) -> Floats:
    return np.stack([mean, deviation, *(_percentile(mean, deviation, cumulative, share) for share in (0.05, 0.95))])


def _percentile(mean: Floats, deviation: Floats, cumulative: Callable[[Floats], Floats], share: float) -> Floats:
    """By bisection, between bounds that hold 99 % of any distribution (Chebyshev's inequality)."""
    low, high = mean - 10 * deviation, mean + 10 * deviation
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        below = cumulative(middle) < share
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2
