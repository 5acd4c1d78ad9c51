"""Where a message to users says what is told of its alert elsewhere: in a chat, a mail, another platform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Facts:
    """Dotted names of fields of a decoded message; of several, the first that has a value counts.

    Parameters
    ----------
    object : tuple of str
        Name of the object; 0 is none.
    ra, dec : tuple of str
        Position, J2000, degrees.
    time : tuple of str
        Time of the exposure, days.
    mjd_zero : float
        What is to be taken from it for a MJD (UTC), days.
    band : tuple of str
        Filter of the telescope.
    bands : mapping
        Its value to its name, where that is another.
    prefix : str
        Before the name of a band, in the names of sncosmo and SkyPortal (``ztfg``, ``lsstg``).
    brightness, error : tuple of str
        Of the difference image: magnitudes, or a flux where there is a zero point.
    limit : tuple of str
        How bright a source had to be to be seen in the same exposure.
    zero_point : float, optional
        AB magnitude of a flux of 1.
    sign, negative : tuple
        Field, and its values that say that the object is fainter than in the reference image, where brightness is a magnitude.
    page : str
        Address of the page of an object, with ``{object}`` in it.
    """

    object: tuple[str, ...]
    ra: tuple[str, ...]
    dec: tuple[str, ...]
    time: tuple[str, ...]
    mjd_zero: float
    band: tuple[str, ...]
    prefix: str
    brightness: tuple[str, ...]
    error: tuple[str, ...]
    page: str
    limit: tuple[str, ...] = ()
    zero_point: float | None = None
    bands: Mapping[Any, str] = field(default_factory=dict)
    sign: tuple[str, ...] = ()
    negative: tuple[Any, ...] = ()
