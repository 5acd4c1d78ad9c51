"""What is known of topics that could not be written to, or not with all messages: a note on disk, and how far each is behind."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fink_broker.config import Settings
from fink_broker.connectors.sparklog import newest
from fink_broker.monitoring import reach
from fink_broker.monitoring.counts import Books

SERVICE = "distribution"


@dataclass(frozen=True)
class Held:
    """A topic that is not written to for now.

    Parameters
    ----------
    reason, since : str
        Why, and since when (UTC, ISO 8601).
    after : int
        Up to where in the log of its source distribution has looked through the science alerts for it; -1 for nothing.
    """

    reason: str
    since: str
    after: int


@dataclass(frozen=True)
class Dropped:
    """Messages that were larger than their topic takes.

    Parameters
    ----------
    before, now : int
        How many, before the piece of work that found the newest ones, and in that: it may be done again after a crash.
    work : str
        Which piece that was.
    ids : list of str
        Ids of the newest ones.
    """

    before: int = 0
    now: int = 0
    work: str = ""
    ids: list[str] = field(default_factory=list)

    def more(self, work: str, count: int, ids: list[str]) -> Dropped:
        """With what a piece of work has found, once."""
        return Dropped(self.before + (self.now if work != self.work else 0), count, work, ids)


@dataclass(frozen=True)
class Note:
    """All topics with something to tell of, by name."""

    held: dict[str, Held] = field(default_factory=dict)
    dropped: dict[str, Dropped] = field(default_factory=dict)


def load(settings: Settings) -> Note:
    """The note; an empty one if there is none."""
    try:
        values = json.loads(settings.delivery.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Note()
    return Note(
        {name: Held(**one) for name, one in values["held"].items()},
        {name: Dropped(**one) for name, one in values["dropped"].items()},
    )


def save(settings: Settings, note: Note) -> None:
    """Write the note, whole or not at all."""
    path: Path = settings.delivery
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(asdict(note)), encoding="utf-8")
    new.replace(path)


def state(books: Books) -> dict[str, Any]:
    """For `fink status`.

    Returns
    -------
    dict
        ``held``: topic to reason, since, and lag: of the alerts that distribution has taken, those that it has not looked through for this
        topic; ``too_large``: topic to the number of messages that it did not take, and the newest alerts among them.
    """
    note, settings = load(books.settings), books.settings
    held = {}
    if note.held:
        checkpoint = settings.checkpoint(SERVICE)
        reached = reach.position(checkpoint, newest(checkpoint / "commits"))
        places = reach.positions(checkpoint)
        for name, one in note.held.items():
            missed = (table.num_rows for file, table in books.science.items() if one.after < places.get(file.path, -1) <= reached)
            held[name] = {"reason": one.reason, "since": one.since, "lag": sum(missed)}
    too_large = {name: {"messages": one.before + one.now, "newest": one.ids} for name, one in note.dropped.items()}
    return {"held": held, "too_large": too_large}
