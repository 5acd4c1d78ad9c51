"""Candidates or sources with their photometry, and follow-up requests, for SkyPortal (https://skyportal.io/docs/api.html).

``POST /api/candidates`` takes `id`, `ra`, `dec`, `filter_ids` and `passed_at`; ``POST /api/sources`` takes `group_ids` in place of the last
two. ``PUT /api/photometry`` takes a flux with its zero point, and resolves what it has already.
``POST /api/followup_request`` takes `obj_id`, `allocation_id`, `payload`, `target_group_ids`, constraints; the object must be a source.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from fink_broker.outlets import Alert, Request, Section

AUTHORIZATION = "token {secret}"
# Its database refuses the same candidate again in these words.
_KNOWN = "duplicate key"


class Followup(Section):
    """A request for follow-up.

    Attributes
    ----------
    allocation_id : int
        Whose time of which instrument.
    payload : dict
        What the instrument's form asks for.
    target_group_ids : list of int
        Who sees what comes of it.
    """

    allocation_id: int
    payload: dict[str, Any] = Field(default={})
    target_group_ids: list[int] = Field(default=[])


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
    followup : Followup, optional
        A request for follow-up; without, none. It is made once for an object and an allocation, and the object becomes a source.
    """

    filter_ids: list[int] = Field(default=[])
    group_ids: list[int] = Field(default=[])
    instrument_id: int
    followup: Followup | None = None

    @model_validator(mode="after")
    def _somebody_sees_it(self) -> Self:
        if not self.filter_ids and not self.group_ids:
            raise ValueError("give filter_ids (candidates) or group_ids (sources)")
        if self.followup is not None and not self.group_ids:
            raise ValueError("followup asks for group_ids: only sources are followed up")
        return self


def single(alert: Alert, options: Options) -> list[Request]:
    """The object, then this detection of it, then the request for follow-up."""
    place = {"id": alert.name, "ra": alert.ra, "dec": alert.dec}
    groups = {"group_ids": options.group_ids} if options.group_ids else {}
    if options.filter_ids:
        passed = {"filter_ids": options.filter_ids, "passed_at": alert.published.isoformat()}
        requests = [Request({**place, **passed}, "/api/candidates", known=_KNOWN)]
    else:
        requests = []
    if not options.filter_ids or options.followup is not None:
        requests.append(Request({**place, **groups}, "/api/sources"))
    return [*requests, *_photometry(alert, options, groups), *_followup(alert, options)]


def _photometry(alert: Alert, options: Options, groups: Mapping[str, Any]) -> list[Request]:
    if alert.flux is None or alert.flux_error is None or alert.mjd is None or alert.passband is None:
        return []
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
    return [Request(photometry, "/api/photometry", method="PUT")]


def _followup(alert: Alert, options: Options) -> list[Request]:
    """An object alerts again and again: that a request is there already is looked at over there."""
    if options.followup is None:
        return []
    return [Request({"obj_id": alert.name, **options.followup.model_dump(), "not_if_duplicates": True}, "/api/followup_request")]
