"""Regions and sky maps, compared with cdshealpix and mocpy."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import Latitude, Longitude
from astropy.io import fits
from astropy.table import Table
from cdshealpix import nested, to_ring
from mocpy import MOC

from fink_broker.catalogues import coverage, regions
from fink_broker.catalogues.coverage import SKY_DEG2, Coverage
from fink_broker.errors import ConfigError, UsageError

ORDER = 5
CENTRE = (266.4, -29.0)


def sphere(number: int, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    ra, dec = draw.uniform(0, 360, number), np.degrees(np.arcsin(draw.uniform(-1, 1, number)))
    # The poles, and where the belts meet.
    dec[:200], dec[200:400], dec[400:600] = (
        90 - ra[:200] * 1e-6,
        -90 + ra[200:400] * 1e-9,
        np.degrees(np.arcsin(2 / 3)) + draw.normal(0, 1e-9, 200),
    )
    return ra, dec


def cone(radius: float = 3.0) -> MOC:
    ra, dec = CENTRE
    return MOC.from_cone(lon=Longitude(ra, u.deg), lat=Latitude(dec, u.deg), radius=radius * u.deg, max_depth=11)


def probabilities() -> np.ndarray:
    """A blob around the centre, in the nested scheme."""
    lon, lat = nested.healpix_to_lonlat(np.arange(12 * 4**ORDER, dtype=np.uint64), ORDER)
    away = np.hypot((lon.deg - CENTRE[0]) * np.cos(np.radians(CENTRE[1])), lat.deg - CENTRE[1])
    blob = np.exp(-((away / 6) ** 2))
    return blob / blob.sum()


def multi_order(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The same map; far from the centre, four cells are one."""
    of_four = probabilities().reshape(-1, 4)
    coarse = of_four.max(axis=1) < 1e-6
    pixels = np.arange(12 * 4**ORDER).reshape(-1, 4)
    uniq = np.concatenate([4 * 4**ORDER + pixels[~coarse].ravel(), 4 * 4 ** (ORDER - 1) + np.flatnonzero(coarse)])
    held = np.concatenate([of_four[~coarse].ravel(), of_four[coarse].sum(axis=1)])
    area = 4 * np.pi / (12 * 4.0 ** np.concatenate([np.full((~coarse).sum() * 4, ORDER), np.full(coarse.sum(), ORDER - 1)]))
    shuffled = np.random.default_rng(3).permutation(len(uniq))
    table = Table({"UNIQ": uniq[shuffled].astype(np.int64), "PROBDENSITY": (held / area)[shuffled] / u.sr})
    table.meta.update(PIXTYPE="HEALPIX", ORDERING="NUNIQ", COORDSYS="C", MOCORDER=ORDER)
    table.write(path, format="fits", overwrite=True)
    return uniq, held


def flat(path: Path, ordering: str, values: np.ndarray) -> None:
    pixels = np.arange(len(values), dtype=np.uint64)
    stored = values
    if ordering == "RING":
        stored = np.empty_like(values)
        stored[to_ring(pixels, ORDER)] = values
    column = fits.Column(name="PROB", format="1024E", array=stored.reshape(-1, 1024).astype(np.float32))
    unit = fits.BinTableHDU.from_columns([column])
    unit.header.update({"ORDERING": ordering, "NSIDE": 2**ORDER, "PIXTYPE": "HEALPIX"})
    unit.writeto(path, overwrite=True)


def test_pixels_are_those_of_cdshealpix():
    ra, dec = sphere(50_000)
    expected = nested.lonlat_to_healpix(Longitude(ra, u.deg), Latitude(dec, u.deg), coverage.ORDER).astype(np.int64)
    # At a border, rounding may take the pixel of 0.4 mas beside.
    assert np.mean(coverage.pixel(ra, dec) != expected) < 1e-3
    assert (coverage.pixel(ra, dec) >> 8 == expected >> 8).mean() > 0.9999


@pytest.mark.parametrize(("end", "form"), [("fits", "fits"), ("json", "json"), ("txt", "ascii")])
def test_a_moc_of_each_form_holds_what_mocpy_says(tmp_path: Path, end: str, form: str):
    path = tmp_path / f"field.{end}"
    cone().save(path, format=form)
    ra, dec = sphere(1000)
    near = np.random.default_rng(2).normal(0, 3, (2, 5000))
    ra, dec = np.concatenate([ra, CENTRE[0] + near[0]]), np.concatenate([dec, CENTRE[1] + near[1]])
    inside = cone().contains_lonlat(Longitude(ra, u.deg), Latitude(dec, u.deg))
    assert 100 < inside.sum() < len(ra) - 100
    found = regions.moc(path)
    assert np.array_equal(~np.isnan(found.at(ra, dec)), inside)
    coverage.keep(tmp_path / "kept", found)
    kept = coverage.mapped(tmp_path / "kept")
    assert np.array_equal(kept.at(ra, dec), found.at(ra, dec), equal_nan=True)
    assert np.isnan(kept.at([np.nan, CENTRE[0]], [CENTRE[1], np.nan])).all()


@pytest.mark.parametrize("form", ["multi-order", "NESTED", "RING", "gzip"])
def test_a_sky_map_of_each_form(tmp_path: Path, form: str):
    path = tmp_path / "map.fits"
    uniq, held = multi_order(path)
    if form == "gzip":
        packed = tmp_path / "map.fits.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        path = packed
    elif form != "multi-order":
        flat(path, form, probabilities())
    found = regions.skymap(path)
    assert np.sum(found.values * found.area_deg2) == pytest.approx(1, abs=1e-5)
    lon, lat = nested.healpix_to_lonlat(np.arange(12 * 4**ORDER, dtype=np.uint64), ORDER)
    ours = found.at(lon.deg, lat.deg) * SKY_DEG2 / (12 * 4**ORDER)
    # Coarse cells have the mean of four.
    assert ours == pytest.approx(probabilities(), rel=1e-3, abs=1e-6)
    for level in (0.5, 0.9):
        region = regions.credible(found, level)
        expected = MOC.from_valued_healpix_cells(uniq.astype(np.uint64), held, max_depth=ORDER, cumul_to=level, strict=False)
        ra, dec = np.random.default_rng(5).normal(CENTRE[0], 10, 3000) % 360, np.random.default_rng(6).normal(CENTRE[1], 10, 3000)
        inside = expected.contains_lonlat(Longitude(ra, u.deg), Latitude(dec, u.deg))
        assert 100 < inside.sum() < 2900
        differ = (~np.isnan(region.at(ra, dec))) != inside
        # Of cells that are alike, which one comes first is not said.
        assert differ.mean() < 0.01


def test_a_credible_region_is_never_empty_and_a_whole_one_is_the_sky():
    cells = Coverage(np.array([0, 1 << 58]), np.array([1 << 58, 2 << 58]), np.array([0.99, 0.01]) / (SKY_DEG2 / 12))
    assert len(regions.credible(cells, 0.5).values) == 1
    assert len(regions.credible(cells, 1.0).values) == 2


def bad_map(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / "map.fits"
    if kind == "sum":
        flat(path, "NESTED", probabilities() * 3)
    elif kind == "negative":
        values = probabilities()
        values[:2] = -0.5, 0.5
        flat(path, "NESTED", values)
    elif kind == "order":
        flat(path, "HILBERT", probabilities())
    elif kind == "columns":
        Table({"flux": [1.0]}).write(path)
    elif kind == "pixels":
        Table({"PROB": [0.5, 0.5]}).write(path)
    elif kind == "garbage":
        path.write_bytes(b"SIMPLE  = but no more")
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("sum", "add up to 3 and not to 1"),
        ("negative", "no map of probability"),
        ("order", "ORDERING = 'HILBERT'"),
        ("columns", "no table with UNIQ and PROBDENSITY, or PROB"),
        ("pixels", "2 pixels, which no HEALPix map has"),
        ("garbage", "cannot read .*map.fits as a sky map"),
        ("missing", "cannot read .*map.fits as a sky map"),
    ],
)
def test_a_bad_sky_map_is_refused(tmp_path: Path, kind: str, message: str):
    with pytest.raises(UsageError, match=message) as raised:
        regions.skymap(bad_map(tmp_path, kind))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("field.json", '{"3": [1, 2', "cannot read .*field.json as a MOC"),
        ("field.json", "{}", "field.json is an empty MOC"),
        ("field.fits", "SIMPLE", "cannot read .*field.fits as a MOC"),
        ("field.reg", "circle", "a MOC is a .fits"),
        ("field.txt", None, "there is no file .*field.txt"),
    ],
)
def test_a_bad_moc_is_refused(tmp_path: Path, name: str, content: str | None, message: str):
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=message) as raised:
        regions.moc(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_what_was_kept_and_is_gone(tmp_path: Path):
    with pytest.raises(ConfigError, match="is damaged"):
        coverage.mapped(tmp_path / "nowhere")
