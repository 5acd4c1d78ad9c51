"""Which quality cuts were in force when: written down when raw2science starts with other ones, so that what they cut can be counted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fink_broker.config import Settings
from fink_broker.connectors.sparklog import newest
from fink_broker.files import write_whole
from fink_broker.monitoring import reach

_SOURCES = 2  # of raw2science: new alerts, and those of a backlog
_SERVICE = "raw2science"


@dataclass(frozen=True)
class Rule:
    """Cuts, name to SQL in their order; and of each source, up to where in its log others had been in force."""

    cuts: Mapping[str, str]
    after: Sequence[int] = (-1,) * _SOURCES


def note(settings: Settings, cuts: Mapping[str, str]) -> None:
    """Write down that these cuts are in force from now on; nothing happens if they are already.

    What a batch had planned and not committed when the service ended runs again, with these.
    """
    known = load(settings)
    if known and list(known[-1].cuts.items()) == list(cuts.items()):
        return
    checkpoint = settings.checkpoint(_SERVICE)
    done = newest(checkpoint / "commits")
    # The first are taken to have been in force since ever: nobody wrote down any before.
    after = tuple(reach.position(checkpoint, done, source) for source in range(_SOURCES)) if known and done >= 0 else Rule(cuts).after
    write_whole(_file(settings), json.dumps([asdict(one) for one in (*known, Rule(dict(cuts), after))], indent=1))


def load(settings: Settings) -> list[Rule]:
    """All that were in force, oldest first; empty if raw2science has never started."""
    try:
        return [Rule(**one) for one in json.loads(_file(settings).read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []


def in_force(rules: Sequence[Rule], place: int, source: int) -> Rule:
    """The cuts that were in force for the files at a place in the log of a source."""
    return next((one for one in reversed(rules) if one.after[source] < place), rules[0])


def _file(settings: Settings) -> Path:
    return settings.root / "data" / "metrics" / "cuts.json"
