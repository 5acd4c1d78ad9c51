"""The broker's own science modules for ZTF."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord

from fink_broker.catalogues import read, store
from fink_broker.catalogues.store import _SHIPPED
from fink_broker.science import ztf as own
from fink_broker.science.features import NAMES
from fink_broker.science.ztf.photometry import source_magnitude
from tests.lightcurves import apply

ARCSEC = 1 / 3600


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    """Whatever this machine's HOME has, the catalogues are those that come with the broker."""
    monkeypatch.setenv("FINK__HOME", str(tmp_path))


def catalogue() -> pd.DataFrame:
    return pq.read_table(_SHIPPED / "gcvs.parquet").to_pandas()


def test_gcvs_within_its_radius_only():
    """Stars of the catalogue without a neighbour, matched 1 arcsec off in any direction and not matched 2 arcsec off."""
    stars = catalogue()
    stars = stars[stars["VarType"].str.strip() != ""].iloc[:: len(stars) // 200]
    rng = np.random.default_rng(1)
    angle = rng.uniform(0, 2 * math.pi, len(stars))

    def shifted(arcsec: float) -> pd.Series:
        dec = stars["dec"] + arcsec * ARCSEC * np.sin(angle)
        ra = (stars["ra"] + arcsec * ARCSEC * np.cos(angle) / np.cos(np.radians(stars["dec"]))) % 360
        return own.gcvs(ra, dec)

    expected = list(stars["VarType"].str.strip())
    assert list(shifted(0)) == expected
    assert list(shifted(1.0)) == expected
    assert list(shifted(1.45)) == expected
    apart = shifted(2.0)
    # Few stars have another one so near that they match that one.
    assert (apart == "Unknown").mean() > 0.97
    assert list(apart.index) == list(stars.index)


def test_gcvs_knows_a_famous_star():
    """RR Lyrae (J2000, SIMBAD): 291.36630 +42.78436."""
    found = own.gcvs(pd.Series([291.36630, 10.0]), pd.Series([42.78436, -89.9]))
    assert found[0].startswith("RRAB")
    assert found[1] == "Unknown"


def test_gcvs_over_the_end_of_the_circle():
    stars = catalogue()
    star = stars.loc[stars["ra"].idxmin()]
    before = (star["ra"] - 1.0 * ARCSEC / np.cos(np.radians(star["dec"]))) % 360
    assert own.gcvs(pd.Series([before]), pd.Series([star["dec"]]))[0] == star["VarType"].strip()


LIGHT_CURVES: list[tuple[list[float], list[float], int, float]] = [
    # times, magnitudes, detections, first detection
    ([1.0, 2.0, 3.0], [math.nan, 18.0, 17.0], 2, 2.0),
    ([3.0, 1.0, 2.0], [17.0, 18.0, 18.5], 3, 1.0),
    ([5.0], [17.0], 1, 5.0),
    ([1.0, 2.0], [math.nan, math.nan], 0, math.nan),
]


def test_detections_in_the_light_curve():
    times = pd.Series([np.array(times) for times, *_ in LIGHT_CURVES])
    magnitudes = pd.Series([np.array(mags) for _, mags, *_ in LIGHT_CURVES])
    assert list(own.nalerthist(magnitudes)) == [count for *_, count, _ in LIGHT_CURVES]
    start = pd.Series([0.5, 0.5, 5.0, 0.5])
    found = own.first_detection(times, magnitudes, start)
    expected = pd.Series([first for *_, first in LIGHT_CURVES])
    pd.testing.assert_series_equal(found["jd_first_real_det"], expected, check_names=False)
    pd.testing.assert_series_equal(found["jdstarthist_dt"], expected - start, check_names=False)


@pytest.fixture
def home(tmp_path):
    """A HOME with a catalogue of each kind, a source or two in each."""
    kinds = {"vsx": ["VType"], "x3hsp": ["3HSP Source name"], "x4lac": ["Source_Name"]}
    kinds["mangrove"] = ["HyperLEDA_name", "2MASS_name", "lum_dist", "ang_dist"]
    for name, columns in kinds.items():
        rows = pd.DataFrame({"ra": [0.0, 180.0], "dec": [90.0, -30.0]} | {column: [f"{column} 1", f"{column} 2"] for column in columns})
        if name == "mangrove":
            rows["lum_dist"], rows["ang_dist"] = [112.441993769, 1.0], [106.9547214808656, 0.1 + 0.2]
        rows.to_parquet(tmp_path / "rows.parquet")
        store.write(tmp_path, name, read.catalogue(read.table(tmp_path / "rows.parquet"))[0], "a test")
    return tmp_path


@pytest.mark.parametrize(("name", "radius"), [("vsx", 1.5), ("x3hsp", 60), ("x4lac", 60), ("mangrove", 60)])
def test_counterparts_within_the_published_radius(home, name, radius):
    dec = pd.Series([-30 - 0.99 * radius * ARCSEC, -30 + 1.01 * radius * ARCSEC, 90 - 0.99 * radius * ARCSEC], index=[7, 8, 9])
    found = getattr(own, name)(pd.Series([180.0, 180.0, 45.0], index=[7, 8, 9]), dec)
    assert list(found.index) == [7, 8, 9]
    if name == "mangrove":
        near = {"HyperLEDA_name": "HyperLEDA_name 2", "2MASS_name": "2MASS_name 2", "lum_dist": "1.0", "ang_dist": "0.30000000000000004"}
        none = dict.fromkeys(near, "None")
        assert found.tolist()[:2] == [near, none]
        assert found[9]["lum_dist"] == "112.441993769"
    else:
        column = {"vsx": "VType", "x3hsp": "3HSP Source name", "x4lac": "Source_Name"}[name]
        assert found.tolist() == [f"{column} 2", "Unknown", f"{column} 1"]


# jd of the two last points, detections in the alert, ndethist, sgscore1, ssdistnr, distpsnr1; what it is
BODIES: list[tuple[Any, ...]] = [
    ([1.0], 1, 1, 0.9, -999, 20, 1),  # never seen before, a star near
    ([1.0], 1, 1, 0.5, -999, 20, 2),
    ([1.0], 1, 1, 0.5, -999, -999, 2),  # nothing near
    ([1.0], 1, 1, 0.5, -999, 4.9, 0),  # a source of PS1 at its place
    ([1.0], 1, 1, 0.9, -999, 4.9, 0),
    ([1.0, 1.02], 2, 2, 0.5, -999, 20, 2),
    ([1.0, 1.03], 2, 2, 0.5, -999, 20, 0),  # more than 30 minutes apart
    ([1.0, 1.01], 1, 2, 0.5, -999, 20, 0),  # the first one is older than the history
    ([1.0, 1.01], 2, 3, 0.5, -999, 20, 0),
    ([1.0], 1, 1, 0.9, 4.9, 20, 3),
    ([1.0], 1, 1, 0.9, 5.0, 20, 1),
    ([1.0], 1, 1, 0.9, 0.0, 20, 3),
    ([1.0], 1, 5, 0.9, 1.0, 20, 3),
    ([1.0], 1, 6, 0.9, 1.0, 20, 0),  # seen too often at one place
    ([1.0], 1, 1, 0.9, 4.0, 3.0, 0),  # a source of PS1 is nearer
    ([1.0], 1, 1, 0.9, 4.0, -999, 3),
    ([1.0], 1, 1, math.nan, math.nan, math.nan, 1),
    ([1.0], 1, 1, 0.9, 1.0, math.nan, 1),
]


def test_bodies_of_the_solar_system():
    jd = pd.Series([np.array(times) for times, *_ in BODIES])
    magnitudes = pd.Series([np.array([math.nan] * (len(times) - seen) + [18.0] * seen) for times, seen, *_ in BODIES])
    ndethist, sgscore1, ssdistnr, distpsnr1, expected = (pd.Series(column) for column in list(zip(*BODIES, strict=True))[2:])
    assert own.roid(jd, magnitudes, ndethist, sgscore1, ssdistnr, distpsnr1).tolist() == expected.tolist()


def test_galactic_latitude_as_astropy_has_it():
    rng = np.random.default_rng(1)
    ra, dec = (
        np.append(rng.uniform(0, 360, 2_000), [192.85948, 0, 12.85948]),
        np.append(rng.uniform(-90, 90, 2_000), [27.12825, 90, -27.12825]),
    )
    found = own.galactic_latitude(pd.Series(ra), pd.Series(dec))
    # A thousandth of an arcsec.
    np.testing.assert_allclose(found, SkyCoord(ra, dec, unit=u.deg).galactic.b.deg, atol=1e-3 * ARCSEC)


def test_magnitude_of_the_source_from_that_of_the_difference():
    one = np.array([18.0])
    brighter, error = source_magnitude(one, one * 0 + 0.1, one, one * 0, np.array(["t"], object))
    assert brighter[0] == pytest.approx(18 - 2.5 * math.log10(2))
    assert error[0] == pytest.approx(0.05)
    fluxes = [("1", 17.0), ("f", 17.0), ("0", 18.0), ("f", 19.0), ("t", -999.0), (None, 17.0)]
    found, _ = source_magnitude(
        np.full(6, 18.0), np.full(6, 0.1), np.array([m for _, m in fluxes]), np.zeros(6), np.array([s for s, _ in fluxes], object)
    )
    flux = 10 ** (-0.4 * np.array([17.0, 18.0]))
    expected = [-2.5 * math.log10(flux.sum()), -2.5 * math.log10(flux[0] - flux[1]), math.nan, math.nan, math.nan]
    np.testing.assert_allclose(found[:5], expected)
    assert found[5] == found[1]  # what is not said to be brighter was fainter, as Fink has it


def light_curve(jd: list[float], fid: list[int], magpsf: list[float | None], distnr: float) -> dict[str, Any]:
    """An alert of a source of magnitude 18 in the reference image that is brighter than there; `distnr` is the least distance from it."""
    known = [{"sigmapsf": 0.1, "distnr": 9.0, "magnr": 18.0, "sigmagnr": 0.0, "isdiffpos": "t"} for _ in jd]
    known[1]["distnr"] = distnr
    rows = [
        dict.fromkeys(point) | {"magpsf": None} | {"jd": t, "fid": f} if m is None else point | {"jd": t, "fid": f, "magpsf": m}
        for t, f, m, point in zip(jd, fid, magpsf, known, strict=True)
    ]
    return {"objectId": "ZTF18abvjqkt", "candidate": rows[-1], "prv_candidates": rows[:-1]}


NEAR = light_curve([1.0, 3.0, 2.0, 4.0], [1, 1, 2, 1], [18.0, 17.0, None, 19.0], 1.5)
FAR = light_curve([1.0, 2.0], [1, 1], [18.0, 17.0], 1.6)
TIED = light_curve([1.0, 1.0], [2, 2], [18.0, 17.0], 9.0)


def test_features_of_the_source_or_of_the_difference_by_band():
    found = apply(own.lc_features, [NEAR, FAR, TIED])
    flux = 10 ** (-0.4 * np.array([18.0, 17.0, 19.0])) + 10 ** (-0.4 * 18.0)
    assert found["lc_features_g"][0]["mean"] == pytest.approx(np.mean(-2.5 * np.log10(flux)))
    assert found["lc_features_g"][0]["maximum_slope"] == pytest.approx(-2.5 * np.log10(flux[1] / flux[2]) * -1)
    assert found["lc_features_g"][1]["mean"] == 17.5
    # Only an upper limit in r; no point at all; two at one time.
    assert set(found["lc_features_r"][0]) == set(NAMES)
    assert all(math.isnan(value) for value in found["lc_features_r"][0].values())
    assert found["lc_features_r"][1] is None
    assert found["lc_features_r"][2] is None


def test_standardised_fluxes_of_monitored_blazars_only():
    other = FAR | {"objectId": "ZTF00aaaaaaa"}
    found = apply(own.standardized_flux, [other, NEAR])
    assert [len(flux) for flux in found["cstd_flux"]] == [0, 4]
    median = 0.1967602514581951  # mJy, of this blazar in g
    flux = (10 ** (-0.4 * np.array([18.0, 17.0, math.nan, 19.0])) + 10 ** (-0.4 * 18.0)) * 3631e3
    np.testing.assert_allclose(found["cstd_flux"][1], flux / median)
    np.testing.assert_allclose(found["csigma_std_flux"][1][0], 0.1 / 1.0857 * 10 ** (-0.4 * 18.0) * 3631e3 / median)

    states = apply(own.blazar, [other, NEAR, NEAR | {"prv_candidates": []}])
    assert set(states[0].values()) == {-1.0}
    threshold = 0.6528279801979031
    assert states[1]["instantness_low"] == pytest.approx(flux[3] / median / threshold)
    mean = np.trapezoid(flux[[0, 1, 3]], [1.0, 3.0, 4.0]) / 3
    assert states[1]["robustness_low"] == pytest.approx(mean / median / threshold)
    assert [states[1][name] for name in ("instantness_high", "robustness_high", "cdf_quantile")] == [-1.0] * 3
    assert (states[2]["instantness_low"], states[2]["robustness_low"]) == (states[1]["instantness_low"], -1.0)


def test_a_batch_without_alerts():
    for module in (own.nalerthist, own.first_detection, own.lc_features, own.magnitude_rate, own.roid, own.standardized_flux, own.blazar):
        nothing = [pd.Series([], dtype=object)] * len(inspect.signature(module).parameters)
        assert len(module(*nothing)) == 0
    assert len(own.gcvs(pd.Series([], dtype=float), pd.Series([], dtype=float))) == 0
