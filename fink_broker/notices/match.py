"""Alerts that lie where a notice points and began after it: what runs in the workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from fink_broker.catalogues import regions
from fink_broker.catalogues.coverage import SKY_DEG2, Coverage
from fink_broker.catalogues.index import Floats, separation_arcsec
from fink_broker.notices.notice import Notice

# How much farther than its error a notice reaches (fink-mm, `association_proba`).
_REACH = 1.5
# Gamma-ray bursts that are found in a year (fink-mm, `grb_prob`, and the observatories' descriptions there).
_RATES = {"Fermi": 250.0, "SWIFT": 100.0, "INTEGRAL": 60.0, "ICECUBE": 8.0}
_YEAR = 365.25

FIELDS = {
    **dict.fromkeys(("observatory", "instrument", "event", "triggerId", "gcn_status"), "string"),
    **dict.fromkeys(("gcn_ra", "gcn_dec", "gcn_loc_error"), "double"),
    **dict.fromkeys(("triggerTimeUTC", "ackTime"), "string"),
    "p_assoc": "double",
}
"""Columns of a notice in a message, as Fink publishes them, with their Spark SQL types."""


@dataclass(frozen=True)
class Sky:
    """What a survey finds, for the probability that an alert lies in a notice's error by chance.

    Parameters
    ----------
    per_deg2 : float
        Transients that it finds in a night in a square degree.
    a_night : float
        Transients that it finds in a night.
    deg2 : float
        Square degrees that it covers in a night.
    """

    per_deg2: float
    a_night: float
    deg2: float


class Matcher:
    """Compares alerts with notices.

    Parameters
    ----------
    notices : sequence of Notice
        Those that are in force.
    days : float
        How long after a trigger an alert may come.
    level : float
        Which credible region of a sky map is looked at.
    sky : Sky
        What the survey finds.
    """

    def __init__(self, notices: Sequence[Notice], days: float, level: float, sky: Sky) -> None:
        self._days, self._sky = days, sky
        # Workers get the region, not the whole map.
        self._notices: list[tuple[Notice, Coverage | None]] = [
            (replace(notice, skymap=None), None if notice.skymap is None else regions.credible(notice.skymap, level)) for notice in notices
        ]

    def __call__(self, ra: pd.Series, dec: pd.Series, begins: pd.Series, real: pd.Series, jd: pd.Series) -> pd.Series:
        """The notices by alert.

        Parameters
        ----------
        ra, dec : Series of float
            Positions, J2000, degrees.
        begins, real : Series of float
            When the object was first seen, and first well; Julian dates, days.
        jd : Series of float
            Times of the alerts, Julian dates, days.

        Returns
        -------
        Series of lists of dict
            `FIELDS` of each notice after which the object began, not longer than so many days before the alert, and where it lies: in the
            credible region of a sky map, else within 1.5 times the error.
        """
        found: list[list[dict[str, Any]]] = [[] for _ in range(len(ra))]
        place = (ra.to_numpy(float), dec.to_numpy(float))
        for notice, region in self._notices:
            after = (begins > notice.jd) & (jd - notice.jd <= self._days)
            rows = np.flatnonzero(after.to_numpy(bool))
            if not len(rows):
                continue
            where = place[0][rows], place[1][rows]
            if region is None:
                separation = separation_arcsec(*where, np.array(notice.ra), np.array(notice.dec)) / 60
                inside = separation <= _REACH * notice.error
                p = self._by_chance(notice, real.to_numpy(float)[rows] - notice.jd)
            else:
                p = region.at(*where)
                inside = ~np.isnan(p)
            for row, value in zip(rows[inside], p[inside], strict=True):
                found[row].append({**_fields(notice), "p_assoc": None if np.isnan(value) else float(value)})
        return pd.Series(found, index=ra.index, dtype=object)

    def _by_chance(self, notice: Notice, delay: Floats) -> Floats:
        """Probability that at least one burst came within the delay (days), and a transient lies in its error, by chance.

        By fink-mm's `serendipitous_association_proba`, which returns one minus this in its latest version; its filters and its own
        description ("closer to 0 implies higher likelihood") want it so. NaN for who has no published rate.
        """
        rate = _RATES.get(notice.observatory, np.nan) * self._sky.deg2 / SKY_DEG2
        in_error = self._sky.per_deg2 * np.pi * (notice.error / 60) ** 2 / self._sky.a_night
        found: Floats = np.minimum(in_error * -np.expm1(-rate * np.maximum(delay, 0) / _YEAR), 1)
        return found


def _fields(notice: Notice) -> dict[str, Any]:
    return {
        "observatory": notice.observatory,
        "instrument": notice.instrument,
        "event": notice.event,
        "triggerId": notice.trigger,
        "gcn_status": notice.status,
        "gcn_ra": notice.ra,
        "gcn_dec": notice.dec,
        "gcn_loc_error": notice.error,
        "triggerTimeUTC": notice.time_utc,
        "ackTime": notice.received,
    }
