"""Targets, for observing programmes that run on the TOM Toolkit (its `tom_targets.serializers.TargetSerializer`).

``POST /api/targets/`` takes `name`, `type`, `ra`, `dec`, `groups` and `targetextra_set`.
"""

from __future__ import annotations

from pydantic import Field

from fink_broker.outlets import Alert, Request, Section

AUTHORIZATION = "Token {secret}"
# An object that alerts again; in the words of Django REST Framework's check that names are unique.
_KNOWN = "already exists|must be unique"


class Options(Section):
    """Who sees the targets: ids of groups; without, only the user whose token it is."""

    groups: list[int] = Field(default=[])


def single(alert: Alert, options: Options) -> list[Request]:
    """The target of an alert."""
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
    return [Request(target, "/api/targets/", known=_KNOWN)]
