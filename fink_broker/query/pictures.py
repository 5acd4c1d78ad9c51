"""A cutout as a picture."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

_SIZE = 400  # pixels, about
_LEAST = 1e-6  # so that nothing is divided by 0

Image = np.ndarray[Any, Any]


def png(fits: bytes, size: int = _SIZE, look: Look | None = None) -> bytes:
    """A picture of a FITS image in grey, north as in the file: the first row is at the bottom.

    Parameters
    ----------
    fits : bytes
        A FITS file with one image; pixels without a value are black.
    size : int
        About so many pixels a side: each of the image's is a square of some.
    look : Look, optional
        Which pixels are how bright. Without, the sky as DS9's zscale shows it, and what is brighter by asinh up to the brightest.
    """
    image = pixels(fits)
    image = image if np.isfinite(image).any() else np.zeros_like(image)
    grey = (_of_sky(image) if look is None else look.of(image)) * 255
    times = max(1, round(size / max(grey.shape)))
    return _encoded(np.flipud(grey.astype(np.uint8)).repeat(times, 0).repeat(times, 1))


@dataclass(frozen=True)
class Look:
    """How bright pixels are shown, as Fink's API has it (fink-object-api, ``apps/utils/plotting.py``).

    Parameters
    ----------
    stretch : {"sigmoid", "linear", "sqrt", "power", "log", "asinh"}
        ``sigmoid`` of the deviations from the mean, in their standard deviation; or a function of astropy's between the limits.
    pmin, pmax : float
        Percentiles of the pixels that are black and white; not for ``sigmoid``.
    kernel : {"gauss", "box"}, optional
        Smoothed by such a kernel.
    """

    stretch: str = "sigmoid"
    pmin: float = 0.5
    pmax: float = 99.5
    kernel: str | None = None

    def of(self, image: Image) -> Image:
        """Brightness from 0 to 1."""
        from astropy import convolution, visualization

        flat = np.nan_to_num(image)
        if self.stretch == "sigmoid":
            shown: Image = 1 / (1 + np.exp(-np.clip((flat - flat.mean()) / (flat.std() or 1), -500, 500)))
        else:
            low, high = np.percentile(flat, [self.pmin, self.pmax])
            scaled = np.clip((flat - low) / max(high - low, _LEAST), 0, 1)
            curves = {"linear": "Linear", "sqrt": "Sqrt", "log": "Log", "asinh": "Asinh"}
            power = visualization.PowerStretch(2)
            curve = power if self.stretch == "power" else getattr(visualization, f"{curves[self.stretch]}Stretch")()
            shown = np.asarray(curve(scaled))
        if self.kernel:
            kernel = convolution.Gaussian2DKernel(1, x_size=5, y_size=5) if self.kernel == "gauss" else convolution.Box2DKernel(1)
            shown = np.asarray(convolution.convolve(shown, kernel, boundary="extend"))
        return np.clip(shown, 0, 1)


def _of_sky(image: Image) -> Image:
    # Half a second that only those who want a picture pay.
    from astropy.visualization import AsinhStretch, ZScaleInterval

    # The sky by zscale, as DS9 shows it, and what is brighter up to the brightest, pressed together by asinh as much as that needs.
    low, sky = ZScaleInterval().get_limits(image)
    high = np.nanmax(image, initial=low + _LEAST, where=np.isfinite(image))
    scaled = np.nan_to_num(np.clip((image - low) / (high - low), 0, 1))
    return np.asarray(AsinhStretch(np.clip((sky - low) / (high - low), _LEAST, 0.1))(scaled))


def pixels(fits: bytes) -> Image:
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
