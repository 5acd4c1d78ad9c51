"""How many alerts each service took in and gave out: from the logs and footers of what is committed, never from progress events.

After a crash between sink and commit log a batch runs again with no rows to report: only what lies there can be counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fink_broker.config import Settings
from fink_broker.connectors import backlog, ledger, parquet
from fink_broker.connectors.parquet import File
from fink_broker.connectors.sparklog import newest
from fink_broker.errors import ConfigError
from fink_broker.monitoring import gaps, reach, rules
from fink_broker.monitoring.gaps import Gap
from fink_broker.surveys import Survey, with_cuts

_NOT_YET = 2**62  # where in a log a file is that has not been read
_NO_IDS = np.empty(0, np.int64)
# Where a message came from.
PLACE = ("topic", "partition", "offset")


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


class Books:
    """What lies in raw and science at one moment, and what each service has taken of it. A file is opened once, whoever counts it.

    Parameters
    ----------
    settings : Settings
        Folders and checkpoints.
    survey : Survey
        Ids and cuts.
    night : str, optional
        Count the alerts of this night (``YYYYMMDD``) only.
    """

    def __init__(self, settings: Settings, survey: Survey, night: str | None = None) -> None:
        self.settings, self.survey, self.night = settings, with_cuts(survey, settings.raw2science.cuts), night
        self._place = PLACE if night else ()
        self._rules = rules.load(settings) or [rules.Rule(self.survey.cuts)]
        # Science first: all that it was made from lies in raw by then.
        self._science_batch, self.science_files = parquet.snapshot(settings.science)
        # Two folders of raw: that of a backlog, whose batches are numbered on their own, and the live query's.
        batch, self.beside = parquet.snapshot(settings.raw_backlog)
        self._raw_batch, live = parquet.snapshot(settings.raw)
        self._sources = (live, self.beside)
        self._beside = frozenset(self.beside)
        self.raw_files = [*self.beside, *live]
        # Left to the backlog's query and not in its folder yet; how far the live query has come that left it.
        self.to_come = reach.left(settings, batch)
        self._taken_batch = backlog.taken(settings.backlog, self._raw_batch)

    def of_night(self, files: Iterable[File]) -> list[File]:
        """Those of the night that is counted."""
        return [file for file in files if self.night in (None, file.partition["night"])]

    def _raw(self, status: str) -> list[File]:
        return [file for file in self.of_night(self.raw_files) if file.partition["status"] == status]

    @cached_property
    def sound(self) -> dict[File, pa.Table]:
        """By file, the sound alerts of raw: `record`, `id`, the first `cut` not met; and `PLACE` if a night is counted."""
        files, kept = self._raw("ok"), ["record", *self._place]
        cuts = [name for survey in self._surveys for cut in survey.quality.values() for name in cut.columns]
        tables = zip(files, parquet.read(files, [*kept, self.survey.alert_id, *cuts]), strict=True)
        return {file: self._with_id(table, kept).append_column("cut", _first_cut(table, self._by(file))) for file, table in tables}

    @cached_property
    def _surveys(self) -> list[Survey]:
        """The survey with the cuts that were in force, one after the other; see `rules`."""
        return [with_cuts(self.survey, rule.cuts) for rule in self._rules]

    def _by(self, file: File) -> Survey:
        """With the cuts that raw2science has read a file with."""
        if len(self._rules) == 1:
            return self._surveys[0]
        source = int(file in self._beside)
        rule = rules.in_force(self._rules, self._entered[source].get(file.path, _NOT_YET), source)
        return self._surveys[self._rules.index(rule)]

    @cached_property
    def rejected(self) -> dict[File, pa.Table]:
        """By file, what was rejected: `record`, `reason`; and `PLACE` if a night is counted."""
        files = self._raw("rejected")
        return dict(zip(files, parquet.read(files, ["record", "reason", *self._place]), strict=True))

    @cached_property
    def science(self) -> dict[File, pa.Table]:
        """By file, the science alerts: `science_errors`, `science_cost`; and `id` if a night is counted."""
        files, kept = self.of_night(self.science_files), ["science_errors", "science_cost"]
        tables = parquet.read(files, [*kept, *([self.survey.alert_id] if self.night else [])])
        return {file: self._with_id(table, kept) if self.night else table for file, table in zip(files, tables, strict=True)}

    def _with_id(self, table: pa.Table, kept: list[str]) -> pa.Table:
        try:
            identity = parquet.column(table, self.survey.alert_id)
        except KeyError:
            raise ConfigError(f"{self.settings.root} holds alerts of another survey than {self.survey.name}: set survey") from None
        return table.select([name for name in kept if name in table.column_names]).append_column("id", identity)

    @cached_property
    def read(self) -> list[File]:
        """Files of sound raw alerts that raw2science has read."""
        sources, checkpoint = range(len(self._sources)), self.settings.checkpoint("raw2science")
        return [file for source in sources for file in reach.taken(list(self.sound), checkpoint, self._science_batch, source)]

    @cached_property
    def elsewhere(self) -> np.ndarray:
        """Ids that should be in science of the night that is counted, and are in that of another, with which they came first."""
        absent = np.setdiff1d(passing(self.sound[file] for file in self.read), ids(self.science.values())) if self.night else _NO_IDS
        if not len(absent):
            return absent
        name, files = self.survey.alert_id, [file for file in self.science_files if file.partition["night"] != self.night]
        others = [parquet.column(table, name).to_numpy() for table in parquet.read(files, [name])]
        return np.intersect1d(absent, np.concatenate([_NO_IDS, *others]))

    def read_in(self, batch: int) -> list[File]:
        """Those that it read in one of its batches, of any night; none if Spark has cleared away what it knew of that batch."""
        checkpoint, found = self.settings.checkpoint("raw2science"), list[File]()
        for source, (files, entered) in enumerate(zip(self._sources, self._entered, strict=True)):
            try:
                start, end = (reach.position(checkpoint, number, source) for number in (batch - 1, batch))
            except FileNotFoundError:
                return []
            found += [file for file in files if file.partition["status"] == "ok" and start < entered.get(file.path, -1) <= end]
        return found

    @cached_property
    def _entered(self) -> list[dict[Path, int]]:
        """Where in the logs of what raw2science reads each file is."""
        return [reach.positions(self.settings.checkpoint("raw2science"), source) for source in range(len(self._sources))]

    @cached_property
    def gaps(self) -> list[Gap]:
        """What is known of offsets that gave no message."""
        return gaps.noted(self.settings)

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
    return sum(int(np.count_nonzero(table["record"].to_numpy())) for table in tables)


def passing(tables: Iterable[pa.Table]) -> np.ndarray:
    """Ids of the alerts that pass the cuts, repeats too."""
    return ids(table.select(["id"]).filter(pc.is_null(table["cut"])) for table in tables)


def ids(tables: Iterable[pa.Table]) -> np.ndarray:
    """Ids of alerts, repeats too."""
    return np.concatenate([_NO_IDS, *(table["id"].to_numpy() for table in tables)])


def _first_cut(table: pa.Table, survey: Survey) -> Any:
    """Of each alert the name of the first quality cut that it does not meet; null if it meets all."""
    found: Any = pa.nulls(table.num_rows, pa.string())
    for name, cut in reversed(list(survey.quality.items())):
        found = pc.if_else(cut.holds(table), found, pa.scalar(name))
    return found
