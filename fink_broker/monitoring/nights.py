"""The account of one night: every message that belongs to it, and what became of the alerts in it.

A message belongs to the night of its alert; one that was rejected, and not sent through again, to that of its arrival.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fink_broker.connectors import parquet
from fink_broker.connectors.ranges import Range
from fink_broker.monitoring.counts import Books
from fink_broker.monitoring.shelf import PLACE, ids, passing

_PLACE: list[pa.Field[Any]] = [pa.field("topic", pa.string()), pa.field("partition", pa.int32()), pa.field("offset", pa.int64())]
_ROWS = pa.schema([*_PLACE, pa.field("record", pa.int32())])
_REJECTED = pa.schema([*_ROWS, pa.field("reason", pa.string())])
_AGAIN = pa.schema([*_PLACE, pa.field("reason", pa.string()), pa.field("night", pa.string())])


@dataclass(frozen=True)
class Stretch:
    """Where the messages of a night lie in one partition of a topic.

    Parameters
    ----------
    topic, partition : str, int
        Which.
    first, last : int
        Offsets of its first and its last message.
    messages : int
        Messages of the night.
    others : int
        Between those two, messages of other nights.
    missing : int
        Between those two, offsets of which nothing lies in raw, and is neither lost nor to come with a backlog.
    lost : int
        Between those two, messages that Kafka had given up before they were read.
    """

    topic: str
    partition: int
    first: int
    last: int
    messages: int
    others: int = 0
    missing: int = 0
    lost: int = 0


@dataclass(frozen=True)
class Account:
    """What came, what became of it, and what does not add up.

    Parameters
    ----------
    stretches : list of Stretch
        The producer's offsets.
    messages : int
        Messages of the night.
    further : int
        Alerts that came in one message with others, beside the first.
    sound : int
        Alerts that were taken in.
    rejected : dict
        Reason to number.
    repeats, distinct : int
        Of the sound ones, those whose id had come before, and ids.
    cut, science, waiting : int
        Of the ids, those that do not pass the cuts, alerts in science, and ids that raw2science has not read.
    faults : list of str
        One line each.
    """

    stretches: list[Stretch]
    messages: int
    further: int
    sound: int
    rejected: dict[str, int]
    repeats: int
    distinct: int
    cut: int
    science: int
    waiting: int
    faults: list[str] = field(default_factory=list)


def account(books: Books) -> Account:
    """The account of the night that the books are of."""
    again = _joined(_AGAIN, books.sent_again(_AGAIN.names))
    rejected, reasons = _rejected(books, again)
    rows = _joined(_ROWS, [*books.sound.values(), rejected])
    stretches = _stretches(books, rows, anywhere=again.num_rows > 0 or bool(books.beside))
    messages, missing = sum(one.messages for one in stretches), sum(one.missing for one in stretches)
    records = rows.group_by(_ROWS.names).aggregate([]).num_rows
    # Records of one container that were sent through again, each alone, have the same number.
    twice = max(0, rows.num_rows - records - again.num_rows)
    faults = [f"{missing:,} messages between those of the night lie nowhere in raw"] if missing else []
    faults += [f"{twice:,} alerts lie in raw twice, from the same place in Kafka"] if twice else []
    sound = rows.num_rows - rejected.num_rows
    return Account(stretches, messages, rows.num_rows - twice - messages, sound, reasons, *_science(books, sound, faults), faults)


def _joined(schema: pa.Schema, tables: Iterable[pa.Table]) -> pa.Table:
    """The tables in one, which is there also if there are none."""
    return pa.concat_tables([schema.empty_table(), *(table.select(schema.names) for table in tables)], promote_options="default")


def _rejected(books: Books, again: pa.Table) -> tuple[pa.Table, dict[str, int]]:
    """What was rejected and not sent through again; and how many by reason."""
    rows = _joined(_REJECTED, books.rejected.values())
    key = operator.itemgetter(*PLACE, "reason")
    gone = Counter(key(row) for row in again.to_pylist() if row["night"] == books.night)
    if gone:
        kept = []
        for number, row in enumerate(rows.to_pylist()):
            gone[key(row)] -= 1
            if gone[key(row)] < 0:
                kept.append(number)
        rows = rows.take(pa.array(kept, pa.int64()))
    return rows, dict(Counter(str(reason) for reason in rows["reason"].to_pylist()))


def _stretches(books: Books, rows: pa.Table, *, anywhere: bool) -> list[Stretch]:
    """Where the rows came from, and what else came between them.

    Parameters
    ----------
    books : Books
        Of the night.
    rows : Table
        Rows of the night, with `PLACE`.
    anywhere : bool
        Whether messages that came between them may lie in other batches.
    """
    found = rows.group_by(["topic", "partition"]).aggregate([("offset", "min"), ("offset", "max"), ("offset", "count_distinct")])
    keys = found.sort_by([("topic", "ascending"), ("partition", "ascending")]).to_pylist()
    stretches = [
        Stretch(key["topic"], key["partition"], key["offset_min"], key["offset_max"], key["offset_count_distinct"]) for key in keys
    ]
    if all(one.last - one.first < one.messages for one in stretches):
        return stretches
    batches = [file.batch for file in (*books.sound, *books.rejected)]
    near = [file for file in books.raw_files if anywhere or min(batches) <= file.batch <= max(batches)]
    others = [file for file in near if file.partition["night"] != books.night]
    # What was rejected and sent through again is of another night now, or comes once more.
    tables = [*books.sound.values(), *books.rejected.values(), *parquet.read(others, PLACE)]
    places = _joined(pa.schema(_PLACE), tables)
    known = [(gap.place, gap.kind == "lost") for gap in books.gaps if gap.kind != "gone"] + [(place, False) for place in books.to_come]
    return [_with_gaps(one, places, known) for one in stretches]


def _with_gaps(one: Stretch, places: pa.Table, known: Iterable[tuple[Range, bool]]) -> Stretch:
    between = (pc.field("offset") >= one.first) & (pc.field("offset") <= one.last)
    offsets = places.filter((pc.field("topic") == one.topic) & (pc.field("partition") == one.partition) & between)["offset"]
    there = pc.count_distinct(offsets).as_py()
    absent = Counter[bool]()
    for place, lost in known:
        if place[:2] == (one.topic, one.partition):
            absent[lost] += max(0, min(place.until, one.last + 1) - max(place.start, one.first))
    return replace(one, others=there - one.messages, missing=one.last - one.first + 1 - there - absent.total(), lost=absent[True])


def _science(books: Books, sound: int, faults: list[str]) -> tuple[int, int, int, int, int]:
    """Repeats, ids, those that are cut, alerts in science, and ids that wait for raw2science; what is wrong is added to the faults."""
    tables = [books.sound[file] for file in books.read]
    all_of_them, read, passed = np.unique(ids(books.sound.values())), np.unique(ids(tables)), np.unique(passing(tables))
    made = ids(books.science.values())
    found = np.unique(made)
    wrong = {
        "passed the cuts and are not in science": len(np.setdiff1d(passed, found)) - len(books.elsewhere),
        "are in science and have not passed the cuts": len(np.setdiff1d(found, passed)),
        "are in science twice": len(made) - len(found),
    }
    faults += [f"{number:,} alerts {what}" for what, number in wrong.items() if number]
    # An alert that came with two nights is kept once, in the first that it came with: here it is a repeat.
    distinct = len(all_of_them) - len(books.elsewhere)
    return sound - distinct, distinct, len(read) - len(passed), len(made), len(all_of_them) - len(read)
