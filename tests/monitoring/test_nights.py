"""The account of a night, on folders written by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fink_broker.config import Settings
from fink_broker.connectors import archive, ledger
from fink_broker.errors import ConfigError
from fink_broker.monitoring.counts import Books
from fink_broker.monitoring.nights import Account, Stretch, account
from fink_broker.surveys import get
from tests.monitoring.books import Home, Row

ZTF = get("ztf")
A, B = "20260321", "20260322"
RAW = pa.schema(
    [
        ("candid", pa.int64()),
        ("candidate", pa.struct([("nbad", pa.int32()), ("rb", pa.float32()), ("fid", pa.int32())])),
        ("topic", pa.string()),
        # As Spark writes what it knows is never null.
        pa.field("partition", pa.int32(), nullable=False),
        ("offset", pa.int64()),
        pa.field("record", pa.int32(), nullable=False),
        ("reason", pa.string()),
    ]
)
SCIENCE = pa.schema([("candid", pa.int64()), ("science_errors", pa.list_(pa.string()))])


def sound(candid: int, partition: int, offset: int, *, rb: float | None = 0.9, record: int = 0) -> Row:
    where = {"topic": "t", "partition": partition, "offset": offset, "record": record}
    return {"candid": candid, "candidate": {"nbad": 0, "rb": rb, "fid": 1}, **where}


def bad(partition: int, offset: int, reason: str = "empty message", record: int = 0) -> Row:
    return {"topic": "t", "partition": partition, "offset": offset, "record": record, "reason": reason}


def science(*candids: int) -> Sequence[Row]:
    return [{"candid": candid} for candid in candids]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Alerts of two nights that came mixed, with repeats, cut ones, and two messages that are no alerts."""
    made = Home(Settings(home=tmp_path), RAW, SCIENCE)
    made.raw_batch(
        0,
        ("ok", A, [sound(1, 0, 10), sound(2, 0, 12), sound(3, 1, 20, rb=0.1)], 100.0),
        ("ok", B, [sound(5, 0, 11), sound(6, 1, 21)], 100.0),
        ("rejected", B, [bad(0, 13)], 100.0),
    )
    made.raw_batch(
        1,
        ("ok", A, [sound(1, 0, 14), sound(3, 1, 22, rb=0.1)], 105.0),
        ("ok", B, [sound(5, 1, 23), sound(7, 1, 24), sound(8, 0, 15, rb=0.1)], 105.0),
        ("rejected", B, [bad(1, 25, "dec is out of range")], 105.0),
    )
    made.science_batch(0, (A, science(1, 2), 110.0), (B, science(5, 6), 110.0), read=2)
    return made


def of(home: Home, night: str) -> Account:
    return account(Books(home.settings, ZTF, night))


def adds_up(found: Account) -> bool:
    return (
        found.messages + found.further == found.sound + sum(found.rejected.values())
        and found.sound == found.distinct + found.repeats
        and found.distinct == found.cut + found.science + found.waiting
        and found.messages == sum(one.messages for one in found.stretches)
        and all(one.messages + one.others + one.missing == one.last - one.first + 1 for one in found.stretches)
    )


def test_two_nights_that_came_mixed(home: Home) -> None:
    first, second = of(home, A), of(home, B)
    assert first == Account(
        stretches=[Stretch("t", 0, 10, 14, messages=3, others=2), Stretch("t", 1, 20, 22, messages=2, others=1)],
        messages=5,
        further=0,
        sound=5,
        rejected={},
        repeats=2,
        distinct=3,
        cut=1,
        science=2,
        waiting=0,
    )
    assert second == Account(
        stretches=[Stretch("t", 0, 11, 15, messages=3, others=2), Stretch("t", 1, 21, 25, messages=4, others=1)],
        messages=7,
        further=0,
        sound=5,
        rejected={"empty message": 1, "dec is out of range": 1},
        repeats=1,
        distinct=4,
        cut=0,
        science=2,
        waiting=2,
    )
    assert adds_up(first)
    assert adds_up(second)
    # What waits has come through: the repeat does not come again.
    home.science_batch(1, (B, science(7), 112.0), read=2)
    last = of(home, B)
    assert (last.cut, last.science, last.waiting, last.faults) == (1, 3, 0, [])
    assert adds_up(last)
    assert of(home, A) == first


def test_a_night_without_anything(home: Home) -> None:
    assert of(home, "20260101") == Account([], 0, 0, 0, {}, 0, 0, 0, 0, 0)


def test_cuts_are_those_of_spark(home: Home) -> None:
    """See tests/transforms/test_quality.py; 0.55 as a float is a little more than 0.55."""
    values = (0.55, 0.5499, None, float("nan"))
    home.raw_batch(2, ("ok", A, [sound(50 + number, 0, 16 + number, rb=rb) for number, rb in enumerate(values)], 115.0))
    home.science_batch(1, (A, science(50, 53), 116.0), read=3)
    assert (of(home, A).cut, of(home, A).faults) == (3, [])


def test_several_alerts_in_one_message(home: Home) -> None:
    home.raw_batch(2, ("ok", A, [sound(30, 0, 16), sound(31, 0, 16, record=1)], 115.0), ("rejected", A, [bad(0, 16, record=2)], 115.0))
    found = of(home, A)
    assert (found.messages, found.further, found.sound, found.rejected) == (6, 2, 7, {"empty message": 1})
    assert adds_up(found)


def test_what_was_sent_through_again_is_of_its_own_night(home: Home) -> None:
    home.send_again(2, [{**bad(0, 13), "night": B}, {**bad(1, 25, "dec is out of range"), "night": B}])
    home.raw_batch(2, ("ok", A, [sound(40, 0, 13)], 120.0), ("rejected", "20260323", [bad(1, 25, "still bad")], 120.0))
    first, second, third = of(home, A), of(home, B), of(home, "20260323")
    assert first.stretches[0] == Stretch("t", 0, 10, 14, messages=4, others=1)
    assert (first.sound, first.waiting, second.rejected, second.messages) == (6, 1, {}, 5)
    assert (third.messages, third.rejected) == (1, {"still bad": 1})
    for found in (first, second, third):
        assert adds_up(found)
        assert found.faults == []


def test_an_alert_that_came_with_two_nights_is_a_repeat_in_the_second(home: Home) -> None:
    home.raw_batch(2, ("ok", B, [sound(1, 0, 16)], 115.0))
    home.science_batch(1, (B, science(7), 116.0), read=3)
    found = of(home, B)
    assert (found.sound, found.repeats, found.distinct, found.science, found.faults) == (6, 2, 4, 3, [])
    assert adds_up(found)
    assert of(home, A).faults == []
    # It is one for the service too, counted by night or not.
    for night, duplicates in ((A, 1), (B, 2), (None, 3)):
        counts = Books(home.settings, ZTF, night).of("raw2science")
        assert counts.meets
        assert counts.dropped["duplicate"] == duplicates


# What does not add up, and how it comes about: a further alert of the night, and what is in science then.
WRONG: dict[str, tuple[Row, list[int]]] = {
    "1 messages between those of the night lie nowhere in raw": (sound(50, 0, 17), [50]),
    "1 alerts lie in raw twice, from the same place in Kafka": (sound(2, 0, 12), []),
    "1 alerts passed the cuts and are not in science": (sound(50, 0, 16), []),
    "1 alerts are in science and have not passed the cuts": (sound(50, 0, 16, rb=0.1), [50]),
    "1 alerts are in science twice": (sound(50, 0, 16), [50, 50]),
}


@pytest.mark.parametrize("fault", WRONG)
def test_what_does_not_add_up_is_said(home: Home, fault: str) -> None:
    row, made = WRONG[fault]
    home.science_batch(1, read=2)
    home.raw_batch(2, ("ok", A, [row], 115.0))
    home.science_batch(2, (A, science(*made), 116.0))
    assert of(home, A).faults == [fault]


def test_alerts_of_another_survey(home: Home) -> None:
    with pytest.raises(ConfigError, match="holds alerts of another survey than rubin: set survey"):
        account(Books(home.settings, get("rubin"), A))


def leave(home: Home, night: str, raw: Sequence[int], science: Sequence[int]) -> None:
    """The night is merged, and its files leave the logs."""
    books = Books(home.settings, ZTF, night)
    book = ledger.load(home.settings.raw.parent)
    files = [*books.sound, *books.science]
    until = {book.key(file.path.parent): file.closed for file in files}
    services = {name: asdict(books.left(name)) for name in ("stream2raw", "raw2science")}
    replace(book, until={**book.until, **until}, counts={**book.counts, night: services}).save()
    merged(home, night, raw, science)


def merged(home: Home, night: str, raw: Sequence[int], science: Sequence[int]) -> None:
    for kind, candids in (("raw", raw), ("science", science)):
        folder = archive.folder(home.settings, kind, night)
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"candid": pa.array(candids, pa.int64())}), folder / "part.parquet")


def test_a_night_that_has_left_for_the_archive_is_told_from_there(home: Home) -> None:
    there = of(home, A)
    leave(home, A, [1, 2, 3, 1, 3], [1, 2])
    gone = of(home, A)
    assert gone == replace(there, stretches=[])
    # Late alerts come in, wait, are in science, and are added to the archive.
    home.raw_batch(2, ("ok", A, [sound(40, 0, 16), sound(41, 0, 17, rb=0.1), sound(1, 0, 18)], 120.0))
    late = replace(gone, stretches=[Stretch("t", 0, 16, 18, messages=3)], messages=8, sound=8, repeats=3, distinct=5)
    assert of(home, A) == replace(late, waiting=2)
    home.science_batch(1, read=2)
    home.science_batch(2, (A, science(40), 121.0))
    assert of(home, A) == replace(late, cut=2, science=3)
    merged(home, A, [1, 2, 3, 1, 3, 40, 41, 1], [1, 2, 40])
    assert of(home, A) == replace(late, cut=2, science=3)
    merged(home, A, [1, 2, 3], [1, 2, 2, 40, 99])
    assert of(home, A).faults == [
        "2 raw alerts that are nowhere else are not in the archive",
        "1 alerts are in science and have not passed the cuts",
        "1 alerts are in science twice",
    ]
