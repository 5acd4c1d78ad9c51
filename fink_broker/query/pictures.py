"""A cutout as a picture."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from typing import Any, Literal

import numpy as np

Stretch = Literal["asinh", "linear", "log", "sqrt"]

_SIZE = 400  # pixels, about
_LEAST = 1e-6  # so that nothing is divided by 0


def png(fits: bytes, size: int = _SIZE, stretch: Stretch | None = None) -> bytes:
    """A picture of a FITS image in grey, north as in the file: the first row is at the bottom.

    Parameters
    ----------
    fits : bytes
        A FITS file with one image; pixels without a value are black.
    size : int
        About so many pixels a side: each of the image's is a square of some.
    stretch : {"asinh", "linear", "log", "sqrt"}, optional
        How brightness becomes grey; without, by as much asinh as the sky needs.
    """
    # Half a second that only those who want a picture pay.
    from astropy import visualization as shown

    image = pixels(fits)
    image = image if np.isfinite(image).any() else np.zeros_like(image)
    # The sky by zscale, as DS9 shows it, and what is brighter up to the brightest, pressed together by asinh as much as that needs.
    low, sky = shown.ZScaleInterval().get_limits(image)
    high = np.nanmax(image, initial=low + _LEAST, where=np.isfinite(image))
    scaled = np.nan_to_num(np.clip((image - low) / (high - low), 0, 1))
    of_sky = shown.AsinhStretch(np.clip((sky - low) / (high - low), _LEAST, 0.1))
    grey = (getattr(shown, f"{stretch.capitalize()}Stretch")() if stretch else of_sky)(scaled) * 255
    times = max(1, round(size / max(grey.shape)))
    return _encoded(np.flipud(grey.astype(np.uint8)).repeat(times, 0).repeat(times, 1))


def pixels(fits: bytes) -> np.ndarray[Any, Any]:
    """The image of a FITS file, rows by columns; what has no value is not a number."""
    from astropy.io import fits as reader

    with warnings.catch_warnings():
        # ZTF writes the first card of its headers with fewer blanks than the standard has.
        warnings.simplefilter("ignore", reader.verify.VerifyWarning)
        with reader.open(io.BytesIO(fits)) as file:
            return np.asarray(next(part.data for part in file if part.data is not None), float)


def _encoded(pixels: np.ndarray[Any, Any]) -> bytes:
    """Grey pixels as a PNG file (RFC 2083)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = pixels.shape
    # 8 bits, grey, and before each line a 0: it is not filtered.
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    lines = np.pad(pixels, ((0, 0), (1, 0))).tobytes()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
