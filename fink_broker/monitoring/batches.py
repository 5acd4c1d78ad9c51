"""Which batches a query has committed lately, when each began and ended: the times at which Spark wrote its plan and its commit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fink_broker.connectors.sparklog import newest

_MOST = 100  # Spark keeps as many


@dataclass(frozen=True)
class Span:
    """A batch: its number, and when it began and ended (Unix time in seconds)."""

    number: int
    begun: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return round(self.ended - self.begun, 3)


def spans(checkpoint: Path, started: float = 0.0) -> list[Span]:
    """The newest batches of a query, oldest first.

    Parameters
    ----------
    checkpoint : Path
        Of the query.
    started : float
        When its process started: a batch that was planned before has run again since.
    """
    found: list[Span] = []
    last = newest(checkpoint / "commits")
    for number in range(max(last - _MOST + 1, 0), last + 1):
        try:
            begun, ended = ((checkpoint / kind / str(number)).stat().st_mtime for kind in ("offsets", "commits"))
        except FileNotFoundError:  # cleared away
            continue
        # With a backlog a batch is planned while the one before it is not committed yet.
        begun = max(begun, started, found[-1].ended if found else 0.0)
        found.append(Span(number, min(begun, ended), ended))
    return found
