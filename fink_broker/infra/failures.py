"""Which services of this HOME have ended otherwise than they were asked to, when, and why."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from fink_broker.config import Settings
from fink_broker.files import write_whole


@dataclass(frozen=True)
class Failure:
    """When a service was seen to have failed (Unix time, seconds), and what there is to say of it."""

    when: float
    reason: str


def note(settings: Settings, name: str, reason: str) -> None:
    """Keep that a service has failed, until it starts again or is stopped."""
    write_whole(_file(settings, name), json.dumps(asdict(Failure(time.time(), " ".join(reason.split())))))


def find(settings: Settings, name: str) -> Failure | None:
    """How a service has failed; None if it runs, was stopped, or ended by itself."""
    try:
        return Failure(**json.loads(_file(settings, name).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def clear(settings: Settings, name: str) -> None:
    """Forget it."""
    _file(settings, name).unlink(missing_ok=True)


def _file(settings: Settings, name: str) -> Path:
    return settings.run / f"{name}.failed"
