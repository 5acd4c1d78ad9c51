"""Candidates or sources with their photometry, for SkyPortal (https://skyportal.io/docs/api.html).

``POST /api/candidates`` takes `id`, `ra`, `dec`, `filter_ids` and `passed_at`; ``POST /api/sources`` takes `group_ids` in place of the last
two. ``PUT /api/photometry`` takes a flux with its zero point, and resolves what it has already.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from fink_broker.outlets import Alert, Request, Section

AUTHORIZATION = "token {secret}"
# Its database refuses the same candidate again in these words.
_KNOWN = "duplicate key"


class Options(Section):
    """What it is called over there.

    Attributes
    ----------
    filter_ids : list of int
        Of the filters that candidates passed; without, alerts become sources.
    group_ids : list of int
        Who sees sources and photometry.
    instrument_id : int
        Of the telescope's camera.
    """

    filter_ids: list[int] = Field(default=[])
    group_ids: list[int] = Field(default=[])
    instrument_id: int

    @model_validator(mode="after")
    def _somebody_sees_it(self) -> Self:
        if not self.filter_ids and not self.group_ids:
            raise ValueError("give filter_ids (candidates) or group_ids (sources)")
        return self


def single(alert: Alert, options: Options) -> list[Request]:
    """The object, then this detection of it."""
    place = {"id": alert.name, "ra": alert.ra, "dec": alert.dec}
    groups = {"group_ids": options.group_ids} if options.group_ids else {}
    if options.filter_ids:
        passed = {"filter_ids": options.filter_ids, "passed_at": alert.published.isoformat()}
        requests = [Request({**place, **passed}, "/api/candidates", known=_KNOWN)]
    else:
        requests = [Request({**place, **groups}, "/api/sources")]
    if alert.flux is None or alert.flux_error is None or alert.mjd is None or alert.passband is None:
        return requests
    photometry = {
        "obj_id": alert.name,
        "instrument_id": options.instrument_id,
        "mjd": alert.mjd,
        "filter": alert.passband,
        "flux": alert.flux,
        "fluxerr": alert.flux_error,
        "zp": alert.zero_point,
        "magsys": "ab",
        "ra": alert.ra,
        "dec": alert.dec,
        "origin": "fink",
        **groups,
    }
    return [*requests, Request(photometry, "/api/photometry", method="PUT")]
