"""Features of light curves against scipy and numpy, one light curve at a time."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import stats

from fink_broker.science.features import NAMES, features

Curve = tuple[np.ndarray, np.ndarray, np.ndarray]


def curves(seed: int = 1) -> list[Curve]:
    rng = np.random.default_rng(seed)
    lengths = [1, 2, 3, 4, 5, 8, 13, 40, 90] * 3
    return [
        (np.sort(rng.uniform(0, 30, n)) + 2461000, rng.normal(18, 0.3, n).astype(np.float32).astype(float), rng.uniform(0.02, 0.2, n))
        for n in lengths
    ]


def together(some: list[Curve]) -> dict[str, np.ndarray]:
    return features(*(np.concatenate(part) for part in zip(*some, strict=True)), np.array([len(curve[0]) for curve in some]))


def by_the_book(t: np.ndarray, m: np.ndarray, s: np.ndarray) -> dict[str, float]:
    """The same by other libraries, where they have it, or by the definition; for at least five points."""
    n, t = len(m), t - t.mean()
    std, weighted = m.std(ddof=1), np.average(m, weights=s**-2)
    quantile = lambda q: np.quantile(m, q, method="hazen")  # noqa: E731 - each point in the middle of its share
    (slope, offset), residual = np.polyfit(t, m, 1), None
    residual = m - slope * t - offset
    noise = np.sqrt(residual @ residual / (n - 2))
    (fit, fit_offset), covariance = np.polyfit(t, m, 1, w=1 / s, cov="unscaled")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what scipy will name otherwise some day
        anderson = stats.anderson(m).statistic
    return {
        "mean": m.mean(),
        "weighted_mean": weighted,
        "standard_deviation": std,
        "median": np.median(m),
        "amplitude": np.ptp(m) / 2,
        "beyond_1_std": np.mean(np.abs(m - m.mean()) > std),
        "cusum": np.ptp(np.cumsum(m - m.mean())) / n / std,
        "inter_percentile_range_10": quantile(0.9) - quantile(0.1),
        "kurtosis": stats.kurtosis(m, bias=False),
        "linear_trend": slope,
        "linear_trend_sigma": noise / np.sqrt(t @ t),
        "linear_trend_noise": noise,
        "linear_fit_slope": fit,
        "linear_fit_slope_sigma": np.sqrt(covariance[0, 0]),
        "linear_fit_reduced_chi2": np.sum(((m - fit * t - fit_offset) / s) ** 2) / (n - 2),
        "magnitude_percentage_ratio_40_5": (quantile(0.6) - quantile(0.4)) / (quantile(0.95) - quantile(0.05)),
        "magnitude_percentage_ratio_20_10": (quantile(0.8) - quantile(0.2)) / (quantile(0.9) - quantile(0.1)),
        "maximum_slope": np.max(np.abs(np.diff(m) / np.diff(t))),
        "median_absolute_deviation": stats.median_abs_deviation(m),
        "median_buffer_range_percentage_10": np.mean(np.abs(m - np.median(m)) < 0.1 * np.ptp(m) / 2),
        "percent_amplitude": np.max(np.abs(m - np.median(m))),
        "mean_variance": std / m.mean(),
        "anderson_darling_normal": (1 + 4 / n - 25 / n**2) * anderson,
        "chi2": np.sum(((m - weighted) / s) ** 2) / (n - 1),
        "skew": stats.skew(m, bias=False),
        "stetson_K": np.mean(np.abs((m - weighted) / s)) / np.sqrt(np.mean(((m - weighted) / s) ** 2)),
    }


def test_every_feature_by_the_book():
    some = curves()
    found = together(some)
    assert tuple(found) == NAMES
    for place, curve in enumerate(some):
        if len(curve[0]) >= 5:
            expected = by_the_book(*curve)
            # Quantiles are placed in single precision, as in what Fink publishes: 6 digits of 90 points.
            np.testing.assert_allclose([found[name][place] for name in NAMES], [expected[name] for name in NAMES], rtol=2e-5, atol=1e-8)


def test_light_curves_do_not_know_of_each_other():
    some = curves(2)
    found = together(some)
    for place, curve in enumerate(some):
        alone = together([curve])
        for name in NAMES:
            np.testing.assert_allclose(alone[name][0], found[name][place], rtol=1e-9, err_msg=name)


def test_few_points_and_points_all_alike_have_no_value_rather_than_a_wrong_one():
    found = together([(np.arange(n) + 0.5, np.full(n, 18.1), np.full(n, 0.1)) for n in (1, 2, 6)])
    one, two, six = ({name for name in NAMES if np.isnan(found[name][place])} for place in range(3))
    known = {"mean", "weighted_mean", "median", "amplitude", "inter_percentile_range_10", "median_absolute_deviation"}
    known |= {"median_buffer_range_percentage_10", "percent_amplitude"}
    assert set(NAMES) - one == known
    # Without spread there is no shape; what is zero is zero.
    shapes = {"cusum", "magnitude_percentage_ratio_40_5", "magnitude_percentage_ratio_20_10", "stetson_K"}
    shapes |= {"kurtosis", "skew", "anderson_darling_normal"}
    assert six == shapes
    assert two - six == {name for name in NAMES if name.startswith("linear")}
    for name in ("standard_deviation", "amplitude", "linear_trend", "linear_fit_slope", "maximum_slope", "chi2", "beyond_1_std"):
        assert found[name][2] == pytest.approx(0, abs=1e-12)


def test_no_light_curve_at_all():
    found = features(*[np.array([])] * 3, np.array([], int))
    assert {name: len(values) for name, values in found.items()} == dict.fromkeys(NAMES, 0)


def test_against_the_package_that_fink_uses():
    lc = pytest.importorskip("light_curve", reason="light-curve (GPL-3) is not part of the broker")
    kinds = [lc.Mean(), lc.WeightedMean(), lc.StandardDeviation(), lc.Median(), lc.Amplitude(), lc.BeyondNStd(1), lc.Cusum()]
    kinds += [lc.InterPercentileRange(0.1), lc.Kurtosis(), lc.LinearTrend(), lc.LinearFit(), lc.MagnitudePercentageRatio(0.4, 0.05)]
    kinds += [lc.MagnitudePercentageRatio(0.2, 0.1), lc.MaximumSlope(), lc.MedianAbsoluteDeviation(), lc.MedianBufferRangePercentage(0.1)]
    kinds += [lc.PercentAmplitude(), lc.MeanVariance(), lc.AndersonDarlingNormal(), lc.ReducedChi2(), lc.Skew(), lc.StetsonK()]
    extractor = lc.Extractor(*kinds)
    assert tuple(extractor.names) == NAMES
    some = curves(3)
    found = together(some)
    for place, curve in enumerate(some):
        # The package squares Julian dates, which costs 6 digits of slopes that are near zero.
        expected = extractor(*curve, fill_value=np.nan)
        np.testing.assert_allclose([found[name][place] for name in NAMES], expected, rtol=1e-5, atol=1e-8)
