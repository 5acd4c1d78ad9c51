"""Rates of magnitudes against samples, as Fink draws them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fink_broker.science.ztf import magnitude_rate

COLUMNS = ("cjd", "cfid", "cmagpsf", "csigmapsf", "cdiffmaglim")
SAMPLES = 400_000


def rate(*alerts: list[tuple[float, int, float, float, float]]) -> pd.DataFrame:
    """Rates of alerts, each a list of points: time, filter, magnitude, error, limit; the current one last."""
    light = {
        name: pd.Series([np.array(part, float) for part in zip(*alert, strict=True)][k] for alert in alerts)
        for k, name in enumerate(COLUMNS)
    }
    now = {name: light[f"c{name}"].str[-1] for name in ("jd", "fid", "magpsf", "sigmapsf")}
    return magnitude_rate(**now, **light)


def sampled(rng: np.random.Generator, magnitude: float, error: float) -> np.ndarray:
    """Magnitudes of fluxes that are normally distributed, without those below none."""
    flux = rng.normal(1, error * np.log(10) / 2.5, SAMPLES)
    return magnitude - 2.5 * np.log10(flux[flux > 0])


@pytest.mark.parametrize(("now", "before"), [((18, 0.05), (18.4, 0.19)), ((19.5, 0.2), (17, 0.01)), ((20, 0.6), (20, 0.5))])
def test_between_two_detections(now, before):
    found = rate([(10, 1, *before, 20.5), (12, 1, *now, 20.5)]).iloc[0]
    rng = np.random.default_rng(1)
    new, old = sampled(rng, *now), sampled(rng, *before)
    size = min(len(new), len(old))
    check(found, (new[:size] - old[:size]) / 2, 2)
    assert not found["from_upper"]


@pytest.mark.parametrize(("now", "limit"), [((18, 0.05), 20.2), ((20, 0.2), 19.5), ((20, 0.7), 20.5)])
def test_from_an_upper_limit(now, limit):
    found = rate([(10, 2, np.nan, np.nan, limit), (10.5, 2, *now, 20.5)]).iloc[0]
    rng = np.random.default_rng(2)
    new = sampled(rng, *now)
    # Any flux between none and that of the limit.
    check(found, (new - (limit - 2.5 * np.log10(1 - rng.random(len(new))))) / 0.5, 0.5)
    assert found["from_upper"]


def check(found: pd.Series, samples: np.ndarray, days: float) -> None:
    # Four times the error of the mean of so many samples, and of their percentiles.
    close = 4 * samples.std() / np.sqrt(len(samples))
    assert found["mag_rate"] == pytest.approx(samples.mean(), abs=close)
    assert found["sigma_rate"] == pytest.approx(samples.std(), rel=0.01)
    assert found["lower_rate"] == pytest.approx(np.percentile(samples, 5), abs=5 * close)
    assert found["upper_rate"] == pytest.approx(np.percentile(samples, 95), abs=5 * close)
    assert found["delta_time"] == days


def test_the_last_point_of_the_same_band_counts():
    now = (20, 1, 18.0, 0.1, 20.5)
    g, g_limit, r, i = (10, 1, 19.0, 0.1, 20.5), (15, 1, np.nan, np.nan, 20.5), (16, 2, 18.5, 0.1, 20.5), (17, 3, 18.5, 0.1, 20.5)
    found = rate([g, g_limit, r, now], [g, r, now], [g, i, now], [i, g, r, now], [r, now], [now])
    assert [None if np.isnan(value) else value for value in found["delta_time"]] == [5, 10, None, 10, None, None]
    assert found["from_upper"].tolist() == [True, False, False, False, False, False]
    assert found["mag_rate"].isna().tolist() == [False, False, True, False, True, True]
    # Errors are alike, so what they do to the mean is nothing.
    assert found["mag_rate"][1] == pytest.approx(-0.1)


def test_a_point_without_limit_says_when_but_not_how_fast():
    found = rate([(10, 1, np.nan, np.nan, np.nan), (11, 1, 18, 0.1, 20)]).iloc[0]
    assert (found["delta_time"], found["from_upper"]) == (1, False)
    assert np.isnan(found["mag_rate"])


def test_an_alert_has_one_rate_whatever_else_is_in_its_batch():
    one = [(10, 1, 19.0, 0.1, 20.5), (12, 1, 18.0, 0.1, 20.5)]
    faint = [(10, 1, np.nan, np.nan, 20.5), (12, 1, 21.0, 0.4, 20.5)]
    pd.testing.assert_series_equal(rate(one).iloc[0], rate(faint, one).iloc[1], check_names=False)
