"""Targets, for observing programmes that run on the TOM Toolkit, and observations of them.

``POST /api/targets/`` takes `name`, `type`, `ra`, `dec`, `groups` and `targetextra_set` (`tom_targets.serializers.TargetSerializer`);
``POST /api/observations/`` takes `target_id`, `facility`, `observation_type` and `observing_parameters`
(`tom_observations.api_views.ObservationRecordViewSet`).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any
from urllib.parse import urlencode

from pydantic import Field

from fink_broker.outlets import Alert, Request, Section

AUTHORIZATION = "Token {secret}"
# An object that alerts again; in the words of Django REST Framework's check that names are unique.
_KNOWN = "already exists|must be unique"


class Followup(Section):
    """An observation that is asked for.

    Attributes
    ----------
    facility : str
        Name of the facility, as the TOM has it.
    observation_type : str
        One of those that the facility has a form for.
    observing_parameters : dict
        The fields of that form.
    """

    facility: str
    observation_type: str
    observing_parameters: dict[str, Any] = Field(default={})


class Options(Section):
    """Who sees the targets, and what is asked for.

    Attributes
    ----------
    groups : list of int
        Ids; without, only the user whose token it is.
    followup : Followup, optional
        An observation; without, none.
    """

    groups: list[int] = Field(default=[])
    followup: Followup | None = None


def single(alert: Alert, options: Options) -> Generator[Request, Any, None]:
    """The target of an alert; and an observation of it, unless that facility has one of this target already."""
    extras = {"fink_topic": alert.topic, "fink_id": alert.id, "fink_link": alert.link}
    target = {
        "name": alert.name,
        "type": "SIDEREAL",
        "ra": alert.ra,
        "dec": alert.dec,
        "epoch": 2000.0,
        "groups": [{"id": group} for group in options.groups],
        "targetextra_set": [{"key": key, "value": value} for key, value in extras.items() if value],
    }
    made = yield Request(target, "/api/targets/", known=_KNOWN)
    wanted = options.followup
    if wanted is None:
        return
    if not made.get("id"):
        # It was there already. The filter is for a part of the name, or of another name.
        found = yield Request(path=f"/api/targets/?{urlencode({'name': alert.name})}", method="GET")
        made = next((one for one in found.get("results", []) if one["name"] == alert.name), {})
    number = made.get("id", "(the target's id)")
    there = yield Request(path=f"/api/observations/?{urlencode({'target_id': number, 'facility': wanted.facility})}", method="GET")
    if not there.get("count"):
        yield Request({"target_id": number, **wanted.model_dump()}, "/api/observations/")
