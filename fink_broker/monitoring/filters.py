"""Notes of a running distribution on its filters: what they cost, and which are off."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fink_broker.config import Settings
from fink_broker.files import write_whole

_OFF, _COSTS = "off", "filters.json"


def keep(settings: Settings, text: str) -> None:
    """Write down what filters cost, see `costs`."""
    write_whole(settings.filter_notes / _COSTS, text)


def costs(settings: Settings) -> dict[str, Any]:
    """What the service last wrote of its filters: ``since``, ``filters`` (name to counts), ``faults`` (source to text)."""
    try:
        found: dict[str, Any] = json.loads((settings.filter_notes / _COSTS).read_text(encoding="utf-8"))
        return found
    except FileNotFoundError:
        return {"since": None, "filters": {}, "faults": {}}


def switched_off(settings: Settings) -> dict[str, dict[str, str]]:
    """The filters that are off: name to ``since`` and ``reason``."""
    files = sorted((settings.filter_notes / _OFF).glob("[a-z]*.json"))
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}


def disable(settings: Settings, name: str, reason: str) -> None:
    """Note that a filter is off."""
    write_whole(_note(settings, name), json.dumps({"since": now(), "reason": reason}))


def enable(settings: Settings, name: str) -> bool:
    """Take the note away that a filter is off; whether there was one."""
    there = _note(settings, name).exists()
    _note(settings, name).unlink(missing_ok=True)
    return there


def _note(settings: Settings, name: str) -> Path:
    return settings.filter_notes / _OFF / f"{name}.json"


def now() -> str:
    """The time as notes have it: ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def state(settings: Settings) -> dict[str, Any]:
    """For `fink status`: what the service last wrote of the filters that are functions, and which are off."""
    notes, off = costs(settings), switched_off(settings)
    found: Mapping[str, Any] = {
        name: {**one, "cpu_ms": round(one["cpu_ms"] / max(one["alerts"], 1), 4), "off": off.get(name)}
        for name, one in notes["filters"].items()
    }
    return {"filters": {**found, **{name: {"off": note} for name, note in off.items() if name not in found}}, "broken": notes["faults"]}
