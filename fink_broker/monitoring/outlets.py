"""What outlets have delivered, for `fink status`: from their notes, and what waits from Kafka."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from confluent_kafka import KafkaException

from fink_broker.config import Settings
from fink_broker.connectors import kafka
from fink_broker.connectors.ranges import waiting
from fink_broker.errors import ServerUnavailable
from fink_broker.infra.kafka import connection
from fink_broker.outlets import notes
from fink_broker.outlets.registry import topics
from fink_broker.surveys import Survey


def delivered(settings: Settings, survey: Survey) -> dict[str, dict[str, Any]]:
    """By outlet, but not of dry runs: its `outlets.notes.Notes`, and `waiting`: alerts to come; None if that is not known."""
    found = {}
    # Their secrets are not asked for: whoever looks need not have them.
    for outlet in (one for one in settings.outlets if not one.is_dry_run):
        tally = notes.load(notes.path(settings.outlet_notes, outlet.name))
        counts = {name: value for name, value in asdict(tally).items() if name != "offsets"}
        found[outlet.name] = {**counts, "waiting": _waiting(settings, topics(outlet, survey), tally.offsets) if tally.offsets else None}
    return found


def _waiting(settings: Settings, pattern: str, offsets: dict[str, dict[str, int]]) -> int | None:
    try:
        return sum(waiting(connection(settings, settings.kafka.output), pattern, offsets, kafka.SOON_S).values())
    except (ServerUnavailable, KafkaException):
        return None


def total(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of a service: what all outlets have taken in, given out, and have before them."""
    lags = [one["waiting"] or 0 for one in found.values()]
    sent, failed, lost = (sum(one[name] for one in found.values()) for name in ("sent", "failed", "lost"))
    return {
        "in": sent + failed + lost,
        "out": sent,
        "rejected": {"not taken by the endpoint": failed} if failed else {},
        "lag": sum(lags),
        "lost": lost,
    }


def lines(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each outlet."""
    return [
        f"{name}: sent {one['sent']:,}"
        + (f" ({one['gathered']:,} in messages for many)" if one["gathered"] else "")
        + f", failed {one['failed']:,}, waiting {'?' if one['waiting'] is None else format(one['waiting'], ',')}"
        + (f"; takes nothing now: {one['error']}" if one["error"] else "")
        + (f"; the last that failed: {one['refusal']}" if one["refusal"] else "")
        for name, one in found.items()
    ]
