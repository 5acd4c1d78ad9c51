"""Notices in the forms in which GCN sends them."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table

GCN = "https://gcn.nasa.gov/schema/v6.1.0/gcn/notices"
TIME = "2026-03-22T02:00:00.430Z"
JD = 2461121.5833383103
ORDER = 4


def fermi(**other: Any) -> dict[str, Any]:
    """Fermi GBM in the unified schema."""
    return {
        "$schema": f"{GCN}/fermi/gbm/trigger.schema.json",
        "mission": "Fermi",
        "instrument": "GBM",
        "messenger": "EM",
        "alert_tense": "current",
        "alert_type": "update",
        "id": ["745121685", "bn260322083"],
        "trigger_time": TIME,
        "ra": 29.24,
        "dec": -63.62,
        "ra_dec_error": 1.5,
        "containment_probability": 0.68,
    } | other


def skymap(ra_cells: tuple[int, ...] = (100, 101)) -> str:
    """A multi-order map in base64: two cells of order 4 hold nine tenths, the rest of the sky one."""
    number = 12 * 4**ORDER
    held = np.full(number, 0.1 / (number - len(ra_cells)))
    held[list(ra_cells)] = 0.9 / len(ra_cells)
    table = Table({"UNIQ": 4 * 4**ORDER + np.arange(number, dtype=np.int64), "PROBDENSITY": held * number / (4 * np.pi) / u.sr})
    table.meta.update(PIXTYPE="HEALPIX", ORDERING="NUNIQ", COORDSYS="C", MOCORDER=ORDER)
    file = io.BytesIO()
    table.write(file, format="fits")
    return base64.b64encode(file.getvalue()).decode()


def gwalert(**other: Any) -> dict[str, Any]:
    """An alert of LIGO, Virgo and KAGRA."""
    return {
        "alert_type": "PRELIMINARY",
        "time_created": "2026-03-22T02:02:00Z",
        "superevent_id": "S260322a",
        "urls": {"gracedb": "https://gracedb.ligo.org/superevents/S260322a/view/"},
        "event": {
            "time": "2026-03-22T02:00:00.430Z",
            "far": 1e-10,
            "significant": True,
            "instruments": ["H1", "L1"],
            "group": "CBC",
            "pipeline": "gstlal",
            "search": "AllSky",
            "skymap": skymap(),
        },
        "external_coinc": None,
    } | other


def voevent(
    ivorn: str = "ivo://nasa.gsfc.gcn/SWIFT#BAT_GRB_Pos_1118357-103", role: str = "observation", cite: str = "", trigger: str = "TrigID"
) -> bytes:
    """A notice of the classic kind."""
    citation = f'<Citations><EventIVORN cite="{cite}">ivo://x#y</EventIVORN></Citations>' if cite else ""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<voe:VOEvent xmlns:voe="http://www.ivoa.net/xml/VOEvent/v2.0" ivorn="{ivorn}" role="{role}" version="2.0">
  <Who><AuthorIVORN>ivo://nasa.gsfc.tan/gcn</AuthorIVORN></Who>
  <What><Param name="Packet_Type" value="61"/><Param name="{trigger}" value="1118357" ucd="meta.id"/></What>
  <WhereWhen><ObsDataLocation><ObservatoryLocation id="GEOLUN"/><ObservationLocation><AstroCoords coord_system_id="UTC-FK5-GEO">
    <Time unit="s"><TimeInstant><ISOTime>2026-03-22T02:00:00.43</ISOTime></TimeInstant></Time>
    <Position2D unit="deg"><Name1>RA</Name1><Name2>Dec</Name2>
      <Value2><C1>225.0206</C1><C2>-69.4968</C2></Value2><Error2Radius>0.0500</Error2Radius></Position2D>
  </AstroCoords></ObservationLocation></ObsDataLocation></WhereWhen>
  {citation}
</voe:VOEvent>""".encode()


def written(notice: dict[str, Any]) -> bytes:
    """As it comes from Kafka."""
    return json.dumps(notice).encode()
