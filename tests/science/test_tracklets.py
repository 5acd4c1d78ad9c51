"""Tracks across one exposure."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time

from fink_broker.science.tracklets import named, tracklets

ARCSEC = 1 / 3600


def track(ra: float, dec: float, angle: float, length: float, count: int, *, seed: int, bend: float = 0) -> tuple[np.ndarray, np.ndarray]:
    """Alerts along a great circle, degrees: scattered by 0.2 arcsec across, and bent by `bend` arcsec in its middle."""
    rng = np.random.default_rng(seed)
    along = np.sort(rng.uniform(0, length, count))
    across = rng.normal(0, 0.2, count) + bend * (1 - (2 * along / length - 1) ** 2)
    start = SkyCoord(ra, dec, unit="deg")
    points = start.directional_offset_by(angle * u.deg, along * u.deg)
    points = points.directional_offset_by((angle + 90) * u.deg, across * u.arcsec)
    return points.ra.deg, points.dec.deg


def test_a_track_among_others():
    rng = np.random.default_rng(1)
    ra, dec = track(359.5, 60, 80, 2, 12, seed=2)
    others = rng.uniform(-1, 2, 40) + 360, rng.uniform(59, 62, 40)
    order = rng.permutation(52)
    found = tracklets(np.append(ra, others[0])[order] % 360, np.append(dec, others[1])[order])
    assert set(found[order < 12]) == {0}
    assert (found[order >= 12] == -1).mean() > 0.9


def test_two_that_cross_and_one_that_bends():
    parts = [track(100, 0, 45, 2, 15, seed=3), track(100, 1.41, 135, 2, 10, seed=4), track(103, -1, 10, 3, 8, seed=5, bend=3)]
    ra, dec = (np.concatenate(part) for part in zip(*parts, strict=True))
    found = tracklets(ra, dec)
    # The longest is the first.
    assert [set(found[:15]), set(found[15:25]), set(found[25:])] == [{0}, {1}, {2}]


def test_what_is_no_track():
    ra, dec = track(10, 20, 30, 1, 4, seed=6)
    assert set(tracklets(ra, dec)) == {-1}
    assert set(tracklets(np.append(ra, 12), np.append(dec, 22))) == {-1}
    # All within 10 arcsec: one bad spot, not a track.
    ra, dec = track(10, 20, 30, 8 * ARCSEC, 9, seed=7)
    assert set(tracklets(ra, dec)) == {-1}
    assert len(tracklets(np.array([]), np.array([]))) == 0
    rng = np.random.default_rng(8)
    assert set(tracklets(rng.uniform(0, 7, 100), rng.uniform(0, 7, 100))) == {-1}


def test_names_say_exposure_and_number():
    ra, dec = (np.concatenate(part) for part in zip(*[track(50 + 3 * k, 5, 60, 1.5, 6 + k, seed=k) for k in range(2)], strict=True))
    # The tests' alerts of fink-broker: 2021-06-04 09:36:09, and an exposure 40 s later.
    times = np.array([2459369.9001042, 2459369.9005672])
    names = named(np.repeat(times, 13), np.tile(ra, 2), np.tile(dec, 2))
    written = Time(times, format="jd").strftime("%Y%m%d_%H%M%S")
    assert names.tolist() == [f"TRCK_{time}_{number:02d}" for time in written for number in [1] * 6 + [0] * 7]
    assert names[6] == "TRCK_20210604_093609_00"


def test_an_exposure_full_of_candidates_is_passed_over(caplog: pytest.LogCaptureFixture):
    ra, dec = track(50, 5, 60, 3, 501, seed=1)
    assert set(named(np.full(501, 2459369.9001042), ra, dec)) == {""}
    assert "no tracks are looked for among the 501 candidates of the exposure of 2021-06-04 09:36:09" in caplog.text
