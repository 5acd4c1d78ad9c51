"""Features of light curves, of many at once: those of Malanchev et al. 2021 (MNRAS 502, 5147), appendix A, that Fink publishes.

Light curves lie end to end in flat arrays. What is a sum over one light curve is a `reduceat` over all; a feature that is not defined
(too few points, all points alike) is NaN. Magnitudes need not be magnitudes, nor times days.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

NAMES = (
    *("mean", "weighted_mean", "standard_deviation", "median", "amplitude", "beyond_1_std", "cusum", "inter_percentile_range_10"),
    *("kurtosis", "linear_trend", "linear_trend_sigma", "linear_trend_noise"),
    *("linear_fit_slope", "linear_fit_slope_sigma", "linear_fit_reduced_chi2"),
    *("magnitude_percentage_ratio_40_5", "magnitude_percentage_ratio_20_10", "maximum_slope", "median_absolute_deviation"),
    *("median_buffer_range_percentage_10", "percent_amplitude", "mean_variance", "anderson_darling_normal", "chi2", "skew", "stetson_K"),
)


def features(times: Floats, magnitudes: Floats, errors: Floats, counts: Counts) -> dict[str, Floats]:
    """All features of each light curve.

    Parameters
    ----------
    times, magnitudes, errors : array of float
        Light curves end to end, each ascending in time; days, magnitudes and their 1-sigma errors.
    counts : array of int
        How many points each has, at least one.

    Returns
    -------
    dict of array
        `NAMES` to values, one a light curve: magnitudes, magnitudes per day (trends and slopes) or without unit.
    """
    if not len(counts):
        return {name: np.array([]) for name in NAMES}
    curves = _Curves(magnitudes, counts)
    with np.errstate(all="ignore"):
        found = {**_moments(curves), **_order(curves), **_weighted(curves, errors), **_in_time(curves, times, errors)}
    return {name: np.where(counts < _NEEDED.get(name, 1), np.nan, found[name]) for name in NAMES}


# Points below which a feature is not defined.
_NEEDED = {
    **dict.fromkeys(("standard_deviation", "beyond_1_std", "cusum", "maximum_slope", "mean_variance", "chi2", "stetson_K"), 2),
    **dict.fromkeys(("skew", "linear_trend", "linear_trend_sigma", "linear_trend_noise"), 3),
    **dict.fromkeys(("linear_fit_slope", "linear_fit_slope_sigma", "linear_fit_reduced_chi2"), 3),
    **dict.fromkeys(("kurtosis", "anderson_darling_normal"), 4),
}


class _Curves:
    """Light curves end to end, and what most features need of them."""

    def __init__(self, magnitudes: Floats, counts: Counts) -> None:
        self.counts, self.magnitudes = counts, magnitudes
        self.starts = np.cumsum(counts) - counts
        self.curve = np.repeat(np.arange(len(counts)), counts)
        self.place = np.arange(len(magnitudes)) - self.starts[self.curve]
        self.mean = self.sum(magnitudes) / counts
        self.ascending = self.sorted(magnitudes)
        self.median = self.middle(self.ascending)
        self.smallest, self.largest = self.ascending[self.starts], self.ascending[self.starts + counts - 1]
        # Where all points are alike, what rounding leaves of their mean is no deviation.
        self.varied = (self.smallest < self.largest)[self.curve]
        self.off = (magnitudes - self.mean[self.curve]) * self.varied
        self.deviation = np.sqrt(self.sum(self.off**2) / np.maximum(counts - 1, 1))

    def sum(self, values: Floats) -> Floats:
        """Sum over each light curve."""
        total: Floats = np.add.reduceat(values, self.starts)
        return total

    def sorted(self, values: Floats) -> Floats:
        """The values of each light curve in ascending order."""
        ordered: Floats = values[np.lexsort((values, self.curve))]
        return ordered

    def middle(self, ascending: Floats) -> Floats:
        """Median of each light curve."""
        middle: Floats = (ascending[self.starts + (self.counts - 1) // 2] + ascending[self.starts + self.counts // 2]) / 2
        return middle

    def quantile(self, fraction: float | np.float32) -> Floats:
        """Quantile of each light curve's magnitudes, interpolated, each point in the middle of its share.

        In single precision, as what Fink publishes was computed.
        """
        share = np.clip(self.counts.astype(np.float32) * np.float32(fraction) - np.float32(0.5), 0, (self.counts - 1).astype(np.float32))
        below = share.astype(int)
        above = np.minimum(below + 1, self.counts - 1)
        low, high = self.ascending[self.starts + below], self.ascending[self.starts + above]
        quantile: Floats = low + (share - below.astype(np.float32)).astype(float) * (high - low)
        return quantile


def _moments(c: _Curves) -> dict[str, Floats]:
    n = c.counts.astype(float)
    scaled = c.off / c.deviation[c.curve]
    third, fourth = c.sum(scaled**3), c.sum(scaled**4)
    running = np.cumsum(c.off)
    running -= (running - c.off)[c.starts][c.curve]
    range_ = np.maximum.reduceat(running, c.starts) - np.minimum.reduceat(running, c.starts)
    return {
        "mean": c.mean,
        "standard_deviation": c.deviation,
        "beyond_1_std": c.sum((np.abs(c.off) > c.deviation[c.curve]).astype(float)) / n,
        "cusum": range_ / (n * c.deviation),
        "kurtosis": n * (n + 1) / ((n - 1) * (n - 2) * (n - 3)) * fourth - 3 * (n - 1) ** 2 / ((n - 2) * (n - 3)),
        "mean_variance": c.deviation / c.mean,
        "skew": n / ((n - 1) * (n - 2)) * third,
        "anderson_darling_normal": _anderson_darling(c),
    }


def _anderson_darling(c: _Curves) -> Floats:
    """How far the magnitudes are from a normal distribution, corrected for small numbers (Stephens 1974)."""
    n = c.counts.astype(float)
    normal = (c.ascending - c.mean[c.curve]) / c.deviation[c.curve] * c.varied
    mirrored = c.starts[c.curve] + c.counts[c.curve] - 1 - c.place
    terms = (2 * c.place + 1) * (log_ndtr(normal) + log_ndtr(-normal[mirrored]))
    corrected: Floats = (1 + 4 / n - 25 / n**2) * (-n - c.sum(terms) / n)
    return corrected


def _order(c: _Curves) -> dict[str, Floats]:
    amplitude = (c.largest - c.smallest) / 2
    from_median = np.abs(c.magnitudes - c.median[c.curve])

    def width(fraction: float) -> Floats:
        return c.quantile(1 - np.float32(fraction)) - c.quantile(fraction)

    return {
        "median": c.median,
        "amplitude": amplitude,
        "inter_percentile_range_10": width(0.1),
        "magnitude_percentage_ratio_40_5": width(0.4) / width(0.05),
        "magnitude_percentage_ratio_20_10": width(0.2) / width(0.1),
        "median_absolute_deviation": c.middle(c.sorted(from_median)),
        "median_buffer_range_percentage_10": c.sum((from_median < 0.1 * amplitude[c.curve]).astype(float)) / c.counts,
        "percent_amplitude": np.maximum(c.largest - c.median, c.median - c.smallest),
    }


def _weighted(c: _Curves, errors: Floats) -> dict[str, Floats]:
    weights = errors**-2
    mean = c.sum(c.magnitudes * weights) / c.sum(weights)
    scaled = (c.magnitudes - mean[c.curve]) / errors * c.varied
    squares = c.sum(scaled**2)
    return {
        "weighted_mean": mean,
        "chi2": squares / (c.counts - 1),
        "stetson_K": c.sum(np.abs(scaled)) / np.sqrt(c.counts * squares),
    }


def _in_time(c: _Curves, times: Floats, errors: Floats) -> dict[str, Floats]:
    # From the first point on: squares of Julian dates would leave nothing of the differences.
    times = times - times[c.starts][c.curve]
    steps = np.diff(c.magnitudes, prepend=np.nan) / np.diff(times, prepend=np.nan)
    steps[c.starts] = np.nan
    trend, spread, noise = _line(c, times, np.ones_like(times))
    fit, fit_spread, chi2 = _line(c, times, errors**-2)
    return {
        "linear_trend": trend,
        "linear_trend_sigma": np.sqrt(noise / spread),
        "linear_trend_noise": np.sqrt(noise),
        "linear_fit_slope": fit,
        "linear_fit_slope_sigma": fit_spread**-0.5,
        "linear_fit_reduced_chi2": chi2,
        "maximum_slope": np.fmax.reduceat(np.abs(steps), c.starts),
    }


def _line(c: _Curves, times: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Least squares: slope, weighted squares of the times, weighted squares of what is left for each degree of freedom."""
    total = c.sum(weights)
    time = times - (c.sum(weights * times) / total)[c.curve]
    off = c.magnitudes - (c.sum(weights * c.magnitudes) / total)[c.curve]
    spread = c.sum(weights * time**2)
    slope = c.sum(weights * time * off) / spread
    left = c.sum(weights * (off - slope[c.curve] * time) ** 2)
    return slope, spread, left / (c.counts - 2)
