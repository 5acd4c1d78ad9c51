"""A digest by mail: what has come since the last one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from fink_broker.outlets import Alert, Mail, Section

MAIL = True
# How long alerts are gathered, if the outlet does not say.
DIGEST_MINUTES = 60.0
_LISTED = 500
_Address = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]


class Options(Section):
    """Who gets it, and from whom."""

    to: Annotated[list[_Address], Field(min_length=1)]
    sender: _Address


def summary(alerts: Sequence[Alert], options: Options) -> Mail:
    """One mail: how many of which topic, then a line each."""
    topics = Counter(one.topic for one in alerts).most_common()
    lines = [f"{count:>7,}  {topic}" for topic, count in topics]
    listed = [
        "{time}  {name:<14} {band} {brightness:<14} {ra:>10} {dec:>10}  {topic}  {link}".format_map(one.texts) for one in alerts[:_LISTED]
    ]
    more = [f"... and {len(alerts) - _LISTED:,} more"] if len(alerts) > _LISTED else []
    subject = f"Fink: {len(alerts):,} {'alert' if len(alerts) == 1 else 'alerts'}, {', '.join(topic for topic, _ in topics[:3])}"
    return Mail(options.sender, options.to, subject, "\n".join([*lines, "", *listed, *more, ""]))
