"""A JSON notice of a transient, for platforms such as Astro-COLIBRI.

The fields are those that Astro-COLIBRI takes from telescopes that send it transients, as the pipeline of the LAST telescope posts them to
``/add_last_transient``: `timestamp`, `trigger_id`, `source_name`, `ra`, `dec` (degrees), `type`, `observatory`, and if known
`transient_flux`, `transient_flux_units`, `err` (degrees), `photometry`.
"""

from __future__ import annotations

from typing import Any

from fink_broker.outlets import Alert, Request, Section

_TIME = "%Y-%m-%d %H:%M:%S"


class Options(Section):
    """What the platform calls such alerts.

    Attributes
    ----------
    type : str
        ``ot_sn``, ``ot_other``, ``star``.
    observatory : str
        Who reports.
    error_arcsec : float
        Of the position.
    """

    type: str = "ot_other"
    observatory: str = "fink"
    error_arcsec: float = 1.0


def single(alert: Alert, options: Options) -> list[Request]:
    """The notice of one alert."""
    time = f"{alert.time or alert.published:{_TIME}}"
    notice: dict[str, Any] = {
        "timestamp": time,
        "trigger_id": f"{options.observatory}_{alert.id}",
        "source_name": alert.name,
        "ra": alert.ra,
        "dec": alert.dec,
        "type": options.type,
        "observatory": options.observatory,
        "err": options.error_arcsec / 3600,
        "topic": alert.topic,
        "url": alert.link,
    }
    if alert.mag is not None and alert.passband is not None:
        last = {"time": time, "filter": alert.passband, "mag": alert.mag, "mag_err": alert.mag_error}
        notice |= {"transient_flux": alert.mag, "transient_flux_units": "mag", "photometry": {alert.passband: {"last": last}}}
    return [Request(notice)]
