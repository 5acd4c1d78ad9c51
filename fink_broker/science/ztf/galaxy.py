"""Where an alert is in the Milky Way."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fink_broker.science import outputs

# The north pole of galactic coordinates (Blaauw et al. 1960) in ICRS, degrees, by astropy.
_POLE_RA, _POLE_DEC = np.radians(192.85947789477606), np.radians(27.128252414968028)


@outputs(galactic_latitude="double")
def galactic_latitude(ra: pd.Series, dec: pd.Series) -> pd.Series:
    """Angle to the plane of the Milky Way, degrees, positive to the north.

    Parameters
    ----------
    ra, dec : Series of float
        Position, J2000 (ICRS), degrees.
    """
    turn, up = np.radians(ra) - _POLE_RA, np.radians(dec)
    # Both as cosines of the angle to the pole and across it: exact near the poles too.
    north = np.sin(_POLE_DEC) * np.sin(up) + np.cos(_POLE_DEC) * np.cos(up) * np.cos(turn)
    across = np.hypot(np.cos(up) * np.sin(turn), np.cos(_POLE_DEC) * np.sin(up) - np.sin(_POLE_DEC) * np.cos(up) * np.cos(turn))
    return pd.Series(np.degrees(np.arctan2(north, across)), index=ra.index)
