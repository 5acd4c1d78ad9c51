"""How many alerts each service took in and gave out: from the logs and footers of what is committed, never from progress events.

After a crash between sink and commit log a batch runs again with no rows to report: only what lies there can be counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fink_broker.config import Settings
from fink_broker.connectors import ledger, parquet
from fink_broker.connectors.parquet import File
from fink_broker.connectors.sparklog import entries, newest, offsets
from fink_broker.errors import ConfigError
from fink_broker.surveys import Survey, with_cuts

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
    """

    taken: int = 0
    given: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    lag: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    cuts: dict[str, int] = field(default_factory=dict)

    def __add__(self, other: Counts) -> Counts:
        # A reason that was looked for and not found is told too.
        reasons = {name: self.dropped.get(name, 0) + other.dropped.get(name, 0) for name in {**self.dropped, **other.dropped}}
        errors, cuts = (dict(Counter(one) + Counter(two)) for one, two in ((self.errors, other.errors), (self.cuts, other.cuts)))
        return Counts(self.taken + other.taken, self.given + other.given, reasons, self.lag + other.lag, errors, cuts)

    @property
    def meets(self) -> bool:
        """Whether what came out and what was dropped is what went in."""
        return self.taken == self.given + sum(self.dropped.values())


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
        # Science first: all that it was made from lies in raw by then.
        self._science_batch, self.science_files = parquet.snapshot(settings.science)
        self._raw_batch, self.raw_files = parquet.snapshot(settings.raw)

    def of_night(self, files: Iterable[File]) -> list[File]:
        """Those of the night that is counted."""
        return [file for file in files if self.night in (None, file.partition["night"])]

    def _raw(self, status: str) -> list[File]:
        return [file for file in self.of_night(self.raw_files) if file.partition["status"] == status]

    @cached_property
    def sound(self) -> dict[File, pa.Table]:
        """By file, the sound alerts of raw: `record`, `id`, the first `cut` not met; and `PLACE` if a night is counted."""
        files, survey, kept = self._raw("ok"), self.survey, ["record", *self._place]
        cuts = [name for cut in survey.quality.values() for name in cut.columns]
        tables = zip(files, parquet.read(files, [*kept, survey.alert_id, *cuts]), strict=True)
        return {file: self._with_id(table, kept).append_column("cut", _first_cut(table, survey)) for file, table in tables}

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
        return _taken(list(self.sound), self.settings.checkpoint("raw2science"), self._science_batch)

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
        checkpoint = self.settings.checkpoint("raw2science")
        try:
            start, end = (_reached(checkpoint, number) for number in (batch - 1, batch))
        except FileNotFoundError:
            return []
        return [file for file in self.raw_files if file.partition["status"] == "ok" and start < self._entered.get(file.path, -1) <= end]

    @cached_property
    def _entered(self) -> dict[Path, int]:
        """Where in the log of what raw2science reads each file is."""
        return _entries(self.settings.checkpoint("raw2science"))

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
        return _sent_again(self.settings, columns, self._raw_batch)

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
        messages = _messages(self.settings.checkpoint("stream2raw"), self._raw_batch)
        return Counts(messages + further, given, dict(reasons))

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
        taken = _messages(checkpoint, newest(checkpoint / "commits"))
        return Counts(taken, taken)

    def _reader(self, service: str) -> Counts:
        """Of a service that reads science alerts and writes to a server: distribution, archive, one's own; none if it reads else."""
        checkpoint = self.settings.checkpoint(service)
        rows = {file: table.num_rows for file, table in self.science.items()}
        taken = sum(rows[file] for file in _taken(list(rows), checkpoint, newest(checkpoint / "commits")))
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


def offered(settings: Settings) -> int:
    """Rejected messages that were offered to stream2raw again."""
    return sum(File(0, file).rows for file in settings.replay.glob("*.parquet"))


def replayed(settings: Settings) -> int:
    """Of those, the ones that it has taken."""
    return sum(table.num_rows for table in _sent_again(settings, ["reason"], newest(settings.raw / parquet.LOG)))


def _sent_again(settings: Settings, columns: Sequence[str], batch: int) -> Iterator[pa.Table]:
    files = [File(0, file) for file in settings.replay.glob("*.parquet")]
    yield from parquet.read(_taken(files, settings.checkpoint("stream2raw"), batch, source=1), columns)


def _messages(checkpoint: Path, batch: int) -> int:
    """Messages between the offsets a query began with and those of a batch."""
    if batch < 0:
        return 0
    first = checkpoint / "sources" / "0" / "0"
    # A zero byte and a version line come before the JSON.
    began: dict[str, dict[str, int]] = json.loads(first.read_text(encoding="utf-8").splitlines()[-1]) if first.exists() else {}
    reached: dict[str, dict[str, int]] = offsets(checkpoint, batch)
    return sum(end - began.get(topic, {}).get(part, 0) for topic, parts in reached.items() for part, end in parts.items())


def _taken(files: Sequence[File], checkpoint: Path, batch: int, source: int = 0) -> list[File]:
    """Those of the files that a query on a folder (one of its sources) has read up to a batch."""
    reached = _reached(checkpoint, batch, source)
    entered = _entries(checkpoint, source) if reached >= 0 else {}
    return [file for file in files if entered.get(file.path, reached + 1) <= reached]


def _reached(checkpoint: Path, batch: int, source: int = 0) -> int:
    """Up to where in its log a query on a folder has come with a batch; -1 for nothing."""
    # A service of one's own may read something else than a folder: of that nothing is known here.
    end = offsets(checkpoint, batch, source) if batch >= 0 else None
    return int(end.get("logOffset", -1)) if isinstance(end, dict) else -1


def _entries(checkpoint: Path, source: int = 0) -> dict[Path, int]:
    return {parquet.local_path(entry["path"]): number for number, entry in entries(checkpoint / "sources" / str(source))}
