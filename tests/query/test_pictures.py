"""Cutouts as pictures."""

import gzip
import io
import struct
import zlib

import numpy as np
import pytest
from astropy.io import fits

from fink_broker.query.pictures import Look, png


def pixels(picture: bytes) -> np.ndarray:
    """What a PNG of 8 bit grey holds; fails if a checksum does not meet."""
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = {}, 8
    while at < len(picture):
        [size] = struct.unpack(">I", picture[at : at + 4])
        kind, content = picture[at + 4 : at + 8], picture[at + 8 : at + 8 + size]
        assert struct.unpack(">I", picture[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + content)
        chunks[kind], at = content, at + 12 + size
    width, height, *form = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert form == [8, 0, 0, 0, 0]
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert not lines[:, 0].any()
    return lines[:, 1:]


def image(values: np.ndarray) -> bytes:
    out = io.BytesIO()
    fits.PrimaryHDU(values.astype(np.float32)).writeto(out)
    return out.getvalue()


def test_the_brightest_is_white_where_it_is_and_the_first_row_is_at_the_bottom():
    values = np.random.default_rng(1).normal(100, 1, (63, 63))
    values[5, 40] = 5_000
    values[6, 40] = np.nan
    grey = pixels(png(image(values), 189))
    assert grey.shape == (189, 189)
    small = grey[::3, ::3]
    assert (small == grey[1::3, 2::3]).all(), "a pixel is a square"
    assert np.argwhere(small == 255).tolist() == [[57, 40]]
    assert small[56, 40] == 0
    assert 10 < np.median(small) < 120, "the sky is dark, not black"


def test_images_without_contrast_or_values():
    for values in (np.zeros((9, 9)), np.full((9, 9), np.nan)):
        assert pixels(png(image(values), 9)).max() == 0


def test_a_real_cutout(templates):
    grey = pixels(png(gzip.decompress(templates[0]["cutoutScience"]["stampData"])))
    assert min(grey.shape) > 300
    row, column = np.argwhere(grey == 255)[0] / grey.shape
    assert abs(row - 0.5) < 0.05, "the alert is in the middle"
    assert abs(column - 0.5) < 0.05


@pytest.mark.parametrize("stretch", ["sigmoid", "linear", "sqrt", "power", "log", "asinh"])
def test_looks_as_finks_api_has_them(stretch):
    values = np.arange(64.0**2).reshape(64, 64)
    grey = Look(stretch, pmin=0, pmax=100).of(values)
    assert np.all(np.diff(grey.ravel()) > 0)
    if stretch == "sigmoid":
        deviations = (values - values.mean()) / values.std()
        np.testing.assert_allclose(grey, 1 / (1 + np.exp(-deviations)))
    else:
        assert (grey.min(), grey.max()) == (0, 1)
    assert Look(stretch).of(np.full((3, 3), 7.0)).shape == (3, 3), "without contrast"
    spot = np.zeros((9, 9))
    spot[4, 4] = 1
    for kernel in ("gauss", "box"):
        assert Look("linear", 0, 100, kernel).of(spot)[4, 4] <= 1
