"""How many alerts each service took in and gave out: from the logs and footers of what is committed, never from progress events.

After a crash between sink and commit log a batch runs again with no rows to report: only what lies there can be counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fink_broker.config import Settings
from fink_broker.connectors import ledger, parquet
from fink_broker.connectors.parquet import File
from fink_broker.connectors.sparklog import entries, newest, offsets
from fink_broker.surveys import Survey

_COMPARE = {"=": pc.equal, "!=": pc.not_equal, "<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal}


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
    """

    taken: int = 0
    given: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    lag: int = 0
    errors: dict[str, int] = field(default_factory=dict)

    def __add__(self, other: Counts) -> Counts:
        dropped, errors = ({**Counter(one) + Counter(two)} for one, two in ((self.dropped, other.dropped), (self.errors, other.errors)))
        # A reason that was looked for and not found is told too.
        dropped = {reason: dropped.get(reason, 0) for reason in {**self.dropped, **other.dropped}}
        return Counts(self.taken + other.taken, self.given + other.given, dropped, self.lag + other.lag, errors)

    @property
    def meets(self) -> bool:
        """Whether what came out and what was dropped is what went in."""
        return self.taken == self.given + sum(self.dropped.values())


def intake(settings: Settings, night: str | None = None) -> Counts:
    """Counts of stream2raw. Of one night, what was taken in is not known from Kafka's offsets, and is what lies there."""
    files = _of_night(parquet.committed(settings.raw), night)
    given = sum(file.rows for file in files if file.partition["status"] == "ok")
    reasons: Counter[str] = Counter()
    for table in parquet.read([file for file in files if file.partition["status"] == "rejected"], ["reason"]):
        reasons.update(str(reason) for reason in table["reason"].to_pylist())
    for (reason, arrival), number in replayed(settings).items():
        reasons[reason] -= number if night in (None, arrival) else 0
    reasons = +reasons
    if night:
        return Counts(given + reasons.total(), given, dict(reasons))
    messages = _messages(settings.checkpoint("stream2raw"), newest(settings.raw / parquet.LOG))
    return Counts(messages + _further(files), given, dict(reasons))


def offered(settings: Settings) -> int:
    """Rejected messages that were offered to stream2raw again."""
    return sum(int(pq.read_metadata(file).num_rows) for file in settings.replay.glob("*.parquet"))


def replayed(settings: Settings) -> Counter[tuple[str, str]]:
    """Of those, the ones that it has taken: why and in which night each had been rejected, to how many."""
    files = [File(0, file) for file in settings.replay.glob("*.parquet")]
    taken = _taken(files, settings.checkpoint("stream2raw"), newest(settings.raw / parquet.LOG), source=1)
    found: Counter[tuple[str, str]] = Counter()
    for table in parquet.read(taken, ["reason", "night"]):
        found.update((row["reason"], row["night"]) for row in table.to_pylist())
    return found


def _further(files: Iterable[File]) -> int:
    """Alerts that came in one message with others, beside the first."""
    several = [file for file in files if file.highest("record") > 0]
    return sum(int(np.count_nonzero(table["record"].to_numpy())) for table in parquet.read(several, ["record"]))


def _messages(checkpoint: Path, batch: int) -> int:
    """Messages between the offsets a query began with and those of a batch."""
    if batch < 0:
        return 0
    first = checkpoint / "sources" / "0" / "0"
    # A zero byte and a version line come before the JSON.
    began: dict[str, dict[str, int]] = json.loads(first.read_text(encoding="utf-8").splitlines()[-1]) if first.exists() else {}
    reached: dict[str, dict[str, int]] = offsets(checkpoint, batch)
    return sum(end - began.get(topic, {}).get(part, 0) for topic, parts in reached.items() for part, end in parts.items())


def science(settings: Settings, survey: Survey, night: str | None = None) -> Counts:
    """Counts of raw2science: what was cut and what was a repeat is worked out anew, from the raw alerts that it has read."""
    made = _of_night(parquet.committed(settings.science), night)
    raw = [file for file in _of_night(parquet.committed(settings.raw), night) if file.partition["status"] == "ok"]
    read = _taken(raw, settings.checkpoint("raw2science"), newest(settings.science / parquet.LOG))
    passed, total = [np.empty(0, np.int64)], 0
    for table in parquet.read(read, [survey.alert_id, *(cut.column for cut in survey.quality.values())]):
        total += table.num_rows
        passed.append(table[survey.alert_id].filter(_passes(table, survey)).to_numpy())
    ids = np.concatenate(passed)
    dropped = {"cut": total - len(ids), "duplicate": len(ids) - len(np.unique(ids))}
    errors: Counter[str] = Counter()
    for table in parquet.read(made, ["science_errors"]):
        errors.update(text.partition(":")[0] for texts in table["science_errors"].to_pylist() for text in texts or ())
    lag = sum(file.rows for file in raw) - total
    return Counts(total, sum(file.rows for file in made), dropped, lag, dict(errors))


def _passes(table: pa.Table, survey: Survey) -> Any:
    met: Any = pa.chunked_array([pa.repeat(True, table.num_rows)])
    for cut in survey.quality.values():
        outer, *inner = cut.column.split(".")
        column = pc.struct_field(table[outer], inner) if inner else table[outer]
        # As doubles, as Spark compares: a float of 0.7 is less than 0.7.
        met = pc.and_(met, _COMPARE[cut.operator](pc.cast(column, pa.float64()), pa.scalar(cut.value, pa.float64())))
    return pc.fill_null(met, pa.scalar(False))


def reader(settings: Settings, service: str, night: str | None = None) -> Counts:
    """Counts of a service that reads science alerts and writes to a server: distribution, archive, one's own; none if it reads else."""
    made = _of_night(parquet.committed(settings.science), night)
    checkpoint = settings.checkpoint(service)
    taken = sum(file.rows for file in _taken(made, checkpoint, newest(checkpoint / "commits")))
    return Counts(taken, taken, lag=sum(file.rows for file in made) - taken)


def mirror(settings: Settings) -> Counts:
    """Counts of the mirror: a batch is committed when all its messages were acknowledged. How far it is behind only Kafka knows."""
    checkpoint = settings.checkpoint("mirror")
    taken = _messages(checkpoint, newest(checkpoint / "commits"))
    return Counts(taken, taken)


def _taken(files: Sequence[File], checkpoint: Path, batch: int, source: int = 0) -> list[File]:
    """Those of the files that a query on a folder (one of its sources) has read up to a batch."""
    if batch < 0:
        return []
    # A service of one's own may read something else than a folder: of that nothing is known here.
    end = offsets(checkpoint, batch, source)
    reached = end.get("logOffset", -1) if isinstance(end, dict) else -1
    names = {parquet.local_path(entry["path"]) for number, entry in entries(checkpoint / "sources" / str(source)) if number <= reached}
    return [file for file in files if file.path in names]


def _of_night(files: Iterable[File], night: str | None) -> list[File]:
    return [file for file in files if night is None or file.partition["night"] == night]


def of(settings: Settings, survey: Survey, service: str, night: str | None = None) -> Counts:
    """Counts of any streaming service by its name: what lies there, and what has left the logs."""
    before = _left(settings, service, night)
    if service == "stream2raw" and night is None:
        # Its messages are counted by their offsets, since ever: but not the further alerts of a message that held several.
        before = replace(before, taken=before.given - before.taken)
    elif service == "stream2raw":
        before = replace(before, taken=before.given)
    return present(settings, survey, service, night) + before


def _left(settings: Settings, service: str, night: str | None) -> Counts:
    """Counts of what has left the logs; `taken` of stream2raw are messages."""
    counts = ledger.load(settings.raw.parent).counts
    return sum((Counts(**services[service]) for one, services in counts.items() if night in (None, one) and service in services), Counts())


def left(settings: Settings, survey: Survey, service: str, night: str) -> Counts:
    """What is to be remembered of a night that leaves the logs now, with what had left before."""
    counts = present(settings, survey, service, night)
    if service == "stream2raw":
        # Rejected ones stay in the log.
        sound = [file for file in _of_night(parquet.committed(settings.raw), night) if file.partition["status"] == "ok"]
        counts = Counts(counts.given - _further(sound), counts.given)
    return counts + _left(settings, service, night)


def present(settings: Settings, survey: Survey, service: str, night: str | None = None) -> Counts:
    """Counts of a service, of what the logs hold."""
    if service == "stream2raw":
        return intake(settings, night)
    if service == "mirror":
        return mirror(settings)
    return science(settings, survey, night) if service == "raw2science" else reader(settings, service, night)
