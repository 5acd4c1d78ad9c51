"""How many alerts each service took in and gave out: from the logs and footers of what is committed, never from progress events.

After a crash between sink and commit log a batch runs again with no rows to report: only what lies there can be counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from fink_broker.connectors import ledger
from fink_broker.connectors.sparklog import newest
from fink_broker.monitoring import gaps, reach
from fink_broker.monitoring.shelf import Shelf, numbers, passing


@dataclass(frozen=True)
class Counts:
    """What a service took in, gave out and dropped, over its committed batches.

    Parameters
    ----------
    taken, given : int
        Alerts in and out. Where a service's output cannot be counted without a server, `given` is what it has worked off.
    dropped : dict
        Why, to how many: reasons of rejected alerts, ``cut``, ``duplicate``.
    lag : int
        Alerts that the service before has given out and this one has not taken in; 0 for the first service, whose lag only Kafka knows.
    errors : dict
        Errors that cost a value and no alert, to how many: science modules that raised.
    cuts : dict
        Quality cuts, to the alerts of which each is the first that they do not meet.
    lost : int
        Messages among those taken in that Kafka had given up before they were read.
    """

    taken: int = 0
    given: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    lag: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    cuts: dict[str, int] = field(default_factory=dict)
    lost: int = 0

    def __add__(self, other: Counts) -> Counts:
        pairs = ((self.dropped, other.dropped), (self.errors, other.errors), (self.cuts, other.cuts))
        dropped, errors, cuts = ({**Counter(one) + Counter(two)} for one, two in pairs)
        # A reason that was looked for and not found is told too.
        dropped = {reason: dropped.get(reason, 0) for reason in {**self.dropped, **other.dropped}}
        numbers = (self.taken + other.taken, self.given + other.given)
        return Counts(*numbers, dropped, self.lag + other.lag, errors, cuts, self.lost + other.lost)

    @property
    def meets(self) -> bool:
        """Whether what came out, what was dropped and what was lost is what went in."""
        return self.taken == self.given + sum(self.dropped.values()) + self.lost


class Books(Shelf):
    """The counts of each service, of what lies on the shelf and of what has left it."""

    def of(self, service: str) -> Counts:
        """Counts of any streaming service by its name: what lies there, and what has left the logs."""
        before = self._left(service)
        if service == "stream2raw":
            # Its messages are counted by their offsets, since ever: but not the further alerts of a message that held several.
            before = replace(before, taken=before.given if self.night else before.given - before.taken)
        return self.present(service) + before

    def _left(self, service: str) -> Counts:
        """Counts of what has left the logs; `taken` of stream2raw are messages."""
        nights = ledger.load(self.settings.raw.parent).counts.items()
        return sum((Counts(**one[service]) for night, one in nights if self.night in (None, night) and service in one), Counts())

    def left(self, service: str) -> Counts:
        """What is to be remembered of the night if it leaves the logs now, with what had left before."""
        counts = self.present(service)
        if service == "stream2raw":  # rejected ones stay in the log
            counts = Counts(counts.given - _further(self.sound.values()), counts.given)
        return counts + self._left(service)

    def present(self, service: str) -> Counts:
        """Counts of a service, of what the logs hold."""
        if service == "stream2raw":
            return self._intake()
        if service == "mirror":
            return self._mirror()
        return self._raw2science() if service == "raw2science" else self._reader(service)

    def sent_again(self, columns: Sequence[str]) -> Iterable[pa.Table]:
        """Rejected messages that were offered again and that stream2raw has taken, see `replayed`."""
        return reach.sent_again(self.settings, columns, self._raw_batch)

    def _intake(self) -> Counts:
        """Of one night, what was taken in is not known from Kafka's offsets, and is what lies there; see `nights`."""
        given = sum(table.num_rows for table in self.sound.values())
        reasons = Counter(str(reason) for table in self.rejected.values() for reason in table["reason"].to_pylist())
        for table in self.sent_again(["reason", "night"]):
            reasons.subtract(row["reason"] for row in table.to_pylist() if self.night in (None, row["night"]))
        reasons = +reasons
        if self.night:
            return Counts(given + reasons.total(), given, dict(reasons))
        further = _further([*self.sound.values(), *self.rejected.values()])
        messages = reach.messages(self.settings.checkpoint("stream2raw"), self._taken_batch, self.gaps)
        messages -= sum(one.size for one in self.to_come)
        return Counts(messages + further, given, dict(reasons), lost=gaps.total(self.gaps, "lost"))

    def _raw2science(self) -> Counts:
        """What was cut and what was a repeat is worked out anew, from the raw alerts that it has read."""
        tables = [self.sound[file] for file in self.read]
        total = sum(table.num_rows for table in tables)
        passed = passing(tables)
        dropped = {"cut": total - len(passed), "duplicate": len(passed) - len(np.unique(passed)) + len(self.elsewhere)}
        errors: Counter[str] = Counter()
        for table in self.science.values():
            errors.update(text.partition(":")[0] for texts in table["science_errors"].drop_null().to_pylist() for text in texts or ())
        cuts: Counter[str] = Counter()
        for table in tables:
            cuts.update(map(str, table["cut"].drop_null().to_pylist()))
        lag = sum(table.num_rows for table in self.sound.values()) - total
        return Counts(total, sum(table.num_rows for table in self.science.values()), dropped, lag, dict(errors), dict(cuts))

    def _mirror(self) -> Counts:
        """A batch is committed when all its messages were acknowledged. How far it is behind only Kafka knows."""
        checkpoint = self.settings.checkpoint("mirror")
        taken = reach.messages(checkpoint, newest(checkpoint / "commits"))
        return Counts(taken, taken)

    def _reader(self, service: str) -> Counts:
        """Of a service that reads science alerts and writes to a server: distribution, archive, one's own; none if it reads else."""
        checkpoint = self.settings.checkpoint(service)
        rows = {file: table.num_rows for file, table in self.science.items()}
        taken = sum(rows[file] for file in reach.taken(list(rows), checkpoint, newest(checkpoint / "commits")))
        return Counts(taken, taken, lag=sum(rows.values()) - taken)


def _further(tables: Iterable[pa.Table]) -> int:
    """Alerts that came in one message with others, beside the first."""
    return int(np.count_nonzero(numbers((table["record"] for table in tables), pa.int32())))
