"""Neighbours on the sphere: as astropy finds them, at the poles and across right ascension 0 too."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord, search_around_sky
from hypothesis import given
from hypothesis import strategies as st

from fink_broker.catalogues.index import Catalogue, indexed, separation_arcsec


def made(ra, dec, radius=None) -> Catalogue:
    return indexed(ra, dec, pa.table({"row": np.arange(len(ra))}), radius)


def sky(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions all over the sky, and many near the poles, near right ascension 0 and in a dense field."""
    ra, dec = rng.uniform(0, 360, count), np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    quarter = count // 8
    dec[:quarter] = 90 - rng.exponential(0.3, quarter)
    dec[quarter : 2 * quarter] = rng.exponential(0.3, quarter) - 90
    ra[2 * quarter : 3 * quarter] = rng.normal(0, 0.01, quarter) % 360
    ra[3 * quarter : 4 * quarter], dec[3 * quarter : 4 * quarter] = rng.normal(270, 0.5, quarter), rng.normal(-29, 0.5, quarter)
    dec[0], dec[quarter], ra[2 * quarter] = 90, -90, 0
    return ra, dec


@pytest.fixture(scope="module")
def both() -> tuple[Catalogue, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A catalogue, positions, and what astropy says is nearest: row and separation in arcsec."""
    rng = np.random.default_rng(5)
    catalogue = made(*sky(rng, 8_000))
    ra, dec = sky(rng, 4_000)
    # A half of them within arcsec of a source.
    near = rng.integers(0, len(catalogue), 2_000)
    ra[::2], dec[::2] = catalogue.ra[near], np.clip(catalogue.dec[near] + rng.normal(0, 1 / 3600, 2_000), -90, 90)
    rows, separation, _ = SkyCoord(ra, dec, unit="deg").match_to_catalog_sky(SkyCoord(catalogue.ra, catalogue.dec, unit="deg"))
    return catalogue, ra, dec, rows, separation.arcsec


def test_the_nearest_is_that_of_astropy(both):
    catalogue, ra, dec, rows, separation = both
    found, how_far = catalogue.nearest(ra, dec)
    np.testing.assert_allclose(how_far, separation, rtol=1e-9, atol=1e-6)
    # Of two at one distance either is the nearest: then the distance says that it was right.
    tie = np.abs(separation_arcsec(ra, dec, catalogue.ra[found], catalogue.dec[found]) - separation) < 1e-6
    assert ((found == rows) | tie).all()
    assert (found == rows).mean() > 0.999


@pytest.mark.parametrize("radius", [1.5, 60.0, 3600.0])
def test_only_within_the_radius(both, radius):
    catalogue, ra, dec, rows, separation = both
    found, how_far = catalogue.nearest(ra, dec, radius)
    np.testing.assert_array_equal(found >= 0, separation < radius)
    assert (found[found >= 0] == rows[found >= 0]).mean() > 0.999
    assert np.isinf(how_far[found < 0]).all()


def test_the_radius_may_differ_by_position_and_by_row(both):
    catalogue, ra, dec, _, separation = both
    rng = np.random.default_rng(6)
    radius = rng.uniform(0.1, 100, len(ra))
    np.testing.assert_array_equal(catalogue.nearest(ra, dec, radius)[0] >= 0, separation < radius)

    reach = rng.uniform(0.1, 100, len(catalogue))
    some = slice(0, 2_000)
    here, there, apart, _ = search_around_sky(
        SkyCoord(ra[some], dec[some], unit="deg"), SkyCoord(catalogue.ra, catalogue.dec, unit="deg"), 100 * u.arcsec
    )
    order = np.argsort(catalogue.payload["row"].to_numpy())  # that in which it was made
    own = made(catalogue.ra[order], catalogue.dec[order], reach[order])
    expected = {(q, r) for q, r, d in zip(here, there, apart.arcsec, strict=True) if d < min(reach[r], radius[q])}
    queries, found, _ = own.within(ra[some], dec[some], radius[some])
    original = order[own.payload["row"].to_numpy()]
    assert set(zip(queries.tolist(), original[found].tolist(), strict=True)) == expected
    nearest, _ = own.nearest(ra[some], dec[some], radius[some])
    assert set(np.flatnonzero(nearest >= 0)) == {q for q, _ in expected}


def test_all_within_a_radius_nearest_first(both):
    catalogue, ra, dec, *_ = both
    queries, rows, separation = catalogue.within(ra[:1_000], dec[:1_000], 300)
    here, there, apart, _ = search_around_sky(
        SkyCoord(ra[:1_000], dec[:1_000], unit="deg"), SkyCoord(catalogue.ra, catalogue.dec, unit="deg"), 300 * u.arcsec
    )
    assert set(zip(queries.tolist(), rows.tolist(), strict=True)) == set(zip(here.tolist(), there.tolist(), strict=True))
    assert len(queries) == len(here) > 1_000
    assert (np.diff(queries) >= 0).all()
    assert (np.diff(separation)[np.diff(queries) == 0] >= 0).all()
    np.testing.assert_allclose(np.sort(separation), np.sort(apart.arcsec), atol=1e-6)


def test_one_and_many_at_once_find_the_same(both, monkeypatch):
    catalogue, ra, dec, *_ = both
    whole = catalogue.nearest(ra[:500], dec[:500], 3600)
    monkeypatch.setattr("fink_broker.catalogues.index._AT_ONCE", 7)
    np.testing.assert_array_equal(catalogue.nearest(ra[:500], dec[:500], 3600), whole)
    one = [catalogue.nearest(ra[k : k + 1], dec[k : k + 1], 3600)[0][0] for k in range(100)]
    np.testing.assert_array_equal(one, whole[0][:100])


DEGREES = st.floats(-90, 90, allow_nan=False)
TURNS = st.floats(0, 360, exclude_max=True, allow_nan=False)
POSITIONS = st.lists(st.tuples(st.one_of(TURNS, st.sampled_from([0.0, 359.9999999])), st.one_of(DEGREES, st.sampled_from([-90.0, 90.0]))))


@given(POSITIONS.filter(bool), POSITIONS.filter(bool), st.floats(0.001, 700_000))
def test_any_catalogue_and_any_radius(rows, positions, radius):
    catalogue = made(*np.array(rows).T)
    ra, dec = np.array(positions).T
    apart = separation_arcsec(ra[:, None], dec[:, None], catalogue.ra, catalogue.dec)
    found, how_far = catalogue.nearest(ra, dec, radius)
    expected = np.where(apart.min(1) < radius, apart.min(1), np.inf)
    np.testing.assert_array_equal(how_far, expected)
    queries, _, _ = catalogue.within(ra, dec, radius)
    np.testing.assert_array_equal(np.bincount(queries, minlength=len(ra)), (apart < radius).sum(1))
    np.testing.assert_array_equal(found >= 0, np.isfinite(expected))


def test_no_position_has_no_neighbour():
    catalogue = made(np.array([10.0]), np.array([20.0]))
    found, how_far = catalogue.nearest([np.nan, 10, 10], [20, np.nan, 20])
    assert found.tolist() == [-1, -1, 0]
    assert how_far.tolist() == [np.inf, np.inf, 0]
    assert [len(part) for part in catalogue.within([np.nan], [20], 60)] == [0, 0, 0]
    assert [len(part) for part in catalogue.nearest([], [])] == [0, 0]
    assert catalogue.column("row", found, "none").tolist() == ["none", "none", 0]
