"""Counterparts in catalogues on this machine, with the radii and in the form in which Fink publishes them.

Fink takes, of the alerts of a batch that lie around one source, only the nearest one (fink-science, ``cross_match_astropy``); here each
alert gets the nearest source, whatever else is in its batch.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from fink_broker.catalogues.store import opened
from fink_broker.science import catalogue, outputs

# arcsec; fink-broker, `apply_all_xmatch`. A source at exactly that distance is none.
STARS = 1.5
GALAXIES = 60.0

_MANGROVE = ("HyperLEDA_name", "2MASS_name", "lum_dist", "ang_dist")


@outputs(gcvs="string")
@catalogue("gcvs")
def gcvs(ra: pd.Series, dec: pd.Series) -> pd.Series:
    """Type of the variable star in the General Catalogue of Variable Stars (Samus et al. 2017) within 1.5 arcsec.

    Parameters
    ----------
    ra, dec : Series of float
        Position, J2000, degrees.

    Returns
    -------
    Series of str
        Variability type, ``Unknown`` where there is none.
    """
    return _nearest("gcvs", "VarType", ra, dec, STARS)


@outputs(vsx="string")
@catalogue("vsx")
def vsx(ra: pd.Series, dec: pd.Series) -> pd.Series:
    """Type of the variable star in the International Variable Star Index (VSX, Watson et al. 2006) within 1.5 arcsec.

    Parameters
    ----------
    ra, dec : Series of float
        Position, J2000, degrees.

    Returns
    -------
    Series of str
        Variability type, ``Unknown`` where there is none.
    """
    return _nearest("vsx", "VType", ra, dec, STARS)


@outputs(x3hsp="string")
@catalogue("x3hsp")
def x3hsp(ra: pd.Series, dec: pd.Series) -> pd.Series:
    """Name of the blazar in the 3HSP catalogue (Chang et al. 2019, A&A 632, A77) within 1 arcmin.

    Parameters
    ----------
    ra, dec : Series of float
        Position, J2000, degrees.

    Returns
    -------
    Series of str
        Name such as ``3HSPJ000116.4+293534``, ``Unknown`` where there is none.
    """
    return _nearest("x3hsp", "3HSP Source name", ra, dec, GALAXIES)


@outputs(x4lac="string")
@catalogue("x4lac")
def x4lac(ra: pd.Series, dec: pd.Series) -> pd.Series:
    """Name of the active galaxy in the 4LAC-DR3 catalogue (Ajello et al. 2022, ApJS 263, 24) within 1 arcmin.

    Parameters
    ----------
    ra, dec : Series of float
        Position, J2000, degrees.

    Returns
    -------
    Series of str
        Name such as ``4FGL J0001.2+4741``, ``Unknown`` where there is none.
    """
    return _nearest("x4lac", "Source_Name", ra, dec, GALAXIES)


@outputs(mangrove="struct<HyperLEDA_name: string, `2MASS_name`: string, lum_dist: string, ang_dist: string>")
@catalogue("mangrove")
def mangrove(ra: pd.Series, dec: pd.Series) -> pd.Series:
    """The galaxy of the Mangrove catalogue (Ducoin et al. 2020, MNRAS 492, 4768) within 1 arcmin.

    Parameters
    ----------
    ra, dec : Series of float
        Position, J2000, degrees.

    Returns
    -------
    Series of dict
        Names in HyperLEDA and 2MASS, luminosity distance and angular distance in Mpc, all as text; ``None``, the text, where there is none.
    """
    known = opened("mangrove")
    rows, _ = known.nearest(ra, dec, GALAXIES)
    none = dict.fromkeys(_MANGROVE, "None")
    found = np.full(len(rows), none, dtype=object)
    matched = np.flatnonzero(rows >= 0)
    # As Python writes numbers, in full: so does Fink.
    galaxies = known.payload.select(_MANGROVE).take(rows[matched]).to_pylist()
    for place, galaxy in zip(matched, galaxies, strict=True):
        found[place] = {name: str(value) for name, value in galaxy.items()}
    return pd.Series(found, index=ra.index)


def _nearest(name: str, column: str, ra: pd.Series, dec: pd.Series, radius: float) -> pd.Series:
    known = opened(name)
    rows, _ = known.nearest(ra, dec, radius)
    return pd.Series(known.column(column, rows, "Unknown"), index=ra.index)
