"""What a notice says: who saw what when and where; read from GCN's JSON, LVK's JSON and VOEvent."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from fink_broker.catalogues import regions
from fink_broker.catalogues.coverage import Coverage

RETRACTION = "retraction"
GW = "LVK"
# What Fink's messages call those whose names are written otherwise in GCN's (fink-mm, `observatory`).
_NAMES = {
    "fermi": "Fermi",
    "swift": "SWIFT",
    "integral": "INTEGRAL",
    "icecube": "ICECUBE",
    "svom": "SVOM",
    "einstein_probe": "EinsteinProbe",
}
# Radius of the error, degrees, in GCN's unified schema: its name now, and in versions before; of an ellipse the first is the long axis.
_ERRORS = ("ra_dec_error", "position_a_error", "ra_uncertainty", "semi_major")
_REAL = ("current", "archival", None)
# An error of 0 is one that was not said (fink-mm: an arcminute).
_LEAST_ARCMIN = 1.0
AREA_LEVEL = 0.9


class Unusable(Exception):
    """A notice that is well, but of no use here: a test, or one without a position. The message says which."""


@dataclass(frozen=True, eq=False)
class Notice:
    """A notice.

    Parameters
    ----------
    observatory, instrument, event, trigger, status : str
        Who saw it, by what; ``gw`` for gravitational waves, else empty; the trigger's id; ``initial``, ``update``, ``retraction`` and such.
    jd : float
        Time of the trigger, Julian date (UTC), days.
    ra, dec : float
        Position, of a sky map that of its densest cell, J2000, degrees.
    error : float
        Radius of the error, arcmin; of a sky map the area of its 90 % region, arcmin² (as Fink publishes it).
    skymap : Coverage, optional
        Probability by square degree, where the position is a sky map.
    received : str
        When it came here, UTC.
    """

    observatory: str
    instrument: str
    event: str
    trigger: str
    status: str
    jd: float = np.nan
    ra: float = np.nan
    dec: float = np.nan
    error: float = np.nan
    skymap: Coverage | None = None
    received: str = ""

    @property
    def time_utc(self) -> str:
        """Time of the trigger as text, to the millisecond."""
        return f"{pd.to_datetime(self.jd, unit='D', origin='julian').round('ms'):%Y-%m-%d %H:%M:%S.%f}"[:-3]


def parse(value: bytes) -> Notice:
    """Read a notice.

    Raises
    ------
    Unusable
        It is none that could have counterparts.
    ValueError
        It cannot be read; the message says why.
    """
    text = value.lstrip()
    try:
        if text.startswith(b"<"):
            from fink_broker.notices import voevent

            return voevent.read(text)
        notice = json.loads(text)
        return lvk(notice) if "superevent_id" in notice else unified(notice)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def unified(notice: Mapping[str, Any]) -> Notice:
    """Read a notice in GCN's unified schema (https://gcn.nasa.gov/docs/notices/schema, versions 1 to 6)."""
    mission = re.search(r"notices/(\w+)/", notice.get("$schema", ""))
    observatory = named(mission[1] if mission else notice["mission"])
    status = str(notice.get("alert_type") or "initial").lower()
    if notice.get("alert_tense") not in _REAL or status == "test":
        raise Unusable("a test")
    identifier = notice["id"][0] if isinstance(notice["id"], list) else notice["id"]
    about = Notice(observatory, str(notice.get("instrument", "")), "", str(identifier), status)
    if status == RETRACTION:
        return about
    about = replace(about, jd=julian(notice["trigger_time"]))
    if notice.get("healpix_file"):
        return _mapped(about, notice["healpix_file"])
    error = next((notice[name] for name in _ERRORS if notice.get(name) is not None), None)
    if notice.get("ra") is None or error is None:
        raise Unusable("without a position")
    return placed(about, notice["ra"], notice["dec"], np.ravel(error)[0])


def lvk(notice: Mapping[str, Any]) -> Notice:
    """Read an alert of LIGO, Virgo and KAGRA (https://emfollow.docs.ligo.org/userguide/content.html)."""
    trigger, event, status = notice["superevent_id"], notice.get("event"), notice["alert_type"].lower()
    # M is a mock event, T a test: S is a superevent.
    if not trigger.startswith("S"):
        raise Unusable("a test")
    if status == RETRACTION or event is None:
        return Notice(GW, "", "gw", trigger, RETRACTION)
    if not event.get("skymap"):
        raise Unusable("without a position")
    return _mapped(Notice(GW, "_".join(event["instruments"]), "gw", trigger, status, julian(event["time"])), event["skymap"])


def named(mission: str) -> str:
    """The name of an observatory in Fink's messages."""
    return _NAMES.get(mission.lower().replace(" ", "_"), mission)


def placed(about: Notice, ra: Any, dec: Any, error_deg: Any) -> Notice:
    """The notice with a position and the radius of its error, degrees.

    Raises
    ------
    ValueError
        They are none.
    """
    ra, dec, arcmin = float(ra), float(dec), float(error_deg) * 60
    if not (-360 <= ra <= 360 and -90 <= dec <= 90 and 0 <= arcmin <= 180 * 60):
        raise ValueError(f"ra {ra}, dec {dec}, error {error_deg} degrees is no position")
    return replace(about, ra=ra % 360, dec=dec, error=arcmin or _LEAST_ARCMIN)


def julian(time: str) -> float:
    """Julian date, days, of a time as text (ISO 8601, UTC if it does not say).

    Raises
    ------
    ValueError
        It is none.
    """
    return float(pd.to_datetime(time, utc=True).to_julian_date())


def _mapped(about: Notice, encoded: str) -> Notice:
    """The notice with a sky map in base64."""
    from cdshealpix.nested import healpix_to_lonlat

    skymap = regions.skymap(io.BytesIO(base64.b64decode(encoded)), f"the sky map of {about.trigger}")
    densest = int(np.argmax(skymap.values))
    begin, end = skymap.begins[densest], skymap.ends[densest]
    # Three quarters into a cell are those whose lower corner is its middle.
    lon, lat = healpix_to_lonlat(np.array([begin + 3 * (end - begin) // 4], dtype=np.uint64), np.uint8(29))
    area = 3600 * float(np.sum(regions.credible(skymap, AREA_LEVEL).area_deg2))
    return replace(about, ra=float(lon.deg[0]), dec=float(lat.deg[0]), error=area, skymap=skymap)
