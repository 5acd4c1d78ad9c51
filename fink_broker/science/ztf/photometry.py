"""ZTF's photometry: from the difference to the reference image back to the source itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# A magnitude is 2.5 / ln 10 times a relative flux; rounded as ZTF has it.
_MAGNITUDE = 1.0857


def source_flux(magpsf: Floats, sigmapsf: Floats, magnr: Floats, sigmagnr: Floats, isdiffpos: NDArray[Any]) -> tuple[Floats, Floats]:
    """Flux of the source: what the reference image has, plus or less the difference.

    ZTF Science Data System Explanatory Supplement, "Alert photometry" (page 107 of the edition that Fink cites).

    Parameters
    ----------
    magpsf, sigmapsf : array of float
        Magnitude of the difference and its 1-sigma error.
    magnr, sigmagnr : array of float
        Magnitude of the nearest source in the reference image and its error; a negative magnitude is none.
    isdiffpos : array of str
        ``t`` or ``1`` where the source was brighter than in the reference image.

    Returns
    -------
    flux, error : array of float
        Relative to that of magnitude 0; NaN where a magnitude is missing.
    """
    difference = 10 ** (-0.4 * magpsf)
    reference = 10 ** (-0.4 * np.where(magnr < 0, np.nan, magnr))
    sign = np.where((isdiffpos == "t") | (isdiffpos == "1"), 1, -1)
    error = np.hypot(sigmapsf / _MAGNITUDE * difference, sigmagnr / _MAGNITUDE * reference)
    return reference + sign * difference, error


def source_magnitude(magpsf: Floats, sigmapsf: Floats, magnr: Floats, sigmagnr: Floats, isdiffpos: NDArray[Any]) -> tuple[Floats, Floats]:
    """Magnitude of the source, from what `source_flux` takes.

    Returns
    -------
    magnitude, error : array of float
        NaN where a magnitude is missing or the flux is not positive.
    """
    flux, error = source_flux(magpsf, sigmapsf, magnr, sigmagnr, isdiffpos)
    flux = np.where(flux > 0, flux, np.nan)
    return -2.5 * np.log10(flux), _MAGNITUDE * error / flux
