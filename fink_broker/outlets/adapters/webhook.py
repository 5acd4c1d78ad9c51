"""Messages for a chat: Slack's incoming webhooks, and what takes the same (Mattermost, Rocket.Chat, Zulip).

The form is Slack's (https://api.slack.com/messaging/webhooks): `text`, and the same as a block, which Slack shows in its place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic import field_validator

from fink_broker.outlets import Alert, Request, Section

# What one summary lists; Slack takes 3,000 characters a block.
_LISTED = 15
_LONGEST = 3000
_TEXTS = ("id", "name", "topic", "time", "ra", "dec", "band", "brightness", "link")


class Options(Section):
    """What a message says.

    Attributes
    ----------
    text : str
        With the names of `Alert.texts` in braces, in Slack's mark-up.
    """

    text: str = "<{link}|{name}>: {band} {brightness}, {time}, RA {ra}, Dec {dec} ({topic})"

    @field_validator("text")
    @classmethod
    def _names_are_known(cls, text: str) -> str:
        try:
            text.format_map(dict.fromkeys(_TEXTS, ""))
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise ValueError(f"text: {error} is not one of {', '.join(_TEXTS)}") from error
        return text


def single(alert: Alert, options: Options) -> list[Request]:
    """The message of one alert."""
    return [_message(_line(alert, options))]


def summary(alerts: Sequence[Alert], options: Options) -> Request:
    """One message for many: how many of which topic, and the first of them."""
    by_topic = ", ".join(f"{count:,} in {_plain(topic)}" for topic, count in Counter(one.topic for one in alerts).most_common())
    more = [f"… and {len(alerts) - _LISTED:,} more"] if len(alerts) > _LISTED else []
    return _message("\n".join([f"{len(alerts):,} alerts: {by_topic}", *(_line(one, options) for one in alerts[:_LISTED]), *more]))


def _line(alert: Alert, options: Options) -> str:
    return options.text.format_map({name: _plain(text) for name, text in alert.texts.items()})


def _message(text: str) -> Request:
    text = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    blocks: list[Any] = [{"type": "section", "text": {"type": "mrkdwn", "text": text}}]
    return Request({"text": text, "blocks": blocks})


def _plain(text: str) -> str:
    """Text without mark-up, by Slack's three escapes."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
