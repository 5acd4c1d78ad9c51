"""Which notice takes part in which batch."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from fink_broker.monitoring.notices import summary
from fink_broker.notices.book import Book
from tests.notices.samples import fermi, gwalert, voevent, written


class Desk:
    """A folder of notices and the book of them; `end` is where the query has come to."""

    def __init__(self, home: Path) -> None:
        self.folder, self.path, self.clock, self.end = home / "notices", home / "checkpoint" / "notices.json", 1_700_000_000, {}
        self.folder.mkdir()

    def put(self, name: str, value: bytes | dict[str, Any]) -> None:
        file = self.folder / name
        file.write_bytes(value if isinstance(value, bytes) else written(value))
        self.clock += 1
        os.utime(file, (self.clock, self.clock))

    def open(self, begun: int = -1) -> Book:
        book = Book(self.path, self.folder, begun)
        book.look(self.end.get)  # type: ignore[arg-type]
        return book


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def triggers(notices: list[Any]) -> list[str]:
    return [notice.trigger for notice in notices]


def test_what_is_there_at_the_start_takes_part_at_once(desk: Desk):
    desk.put("a", fermi())
    book = desk.open()
    assert triggers(book.begin(0)) == ["745121685"]
    assert book.late() == []


def test_what_comes_later_takes_part_from_the_next_batch_on_and_is_late_for_those_before(desk: Desk):
    book = desk.open()
    assert book.begin(0) == []
    desk.put("a", fermi())
    desk.end = {0: 4}
    book.look(desk.end.get)
    # As after a crash: a batch that runs again sees what it saw.
    assert book.begin(0) == []
    [(name, end, notice)] = book.late()
    assert (name, end, notice.trigger, notice.received) == ("a", 4, "745121685", "2023-11-14 22:13:21.000")
    assert triggers(book.begin(1)) == ["745121685"]
    again = desk.open(begun=1)
    assert again.begin(0) == []
    assert [one[:2] for one in again.late()] == [("a", 4)]
    again.done(["a"])
    assert again.late() == desk.open(begun=1).late() == []
    assert triggers(desk.open(begun=1).begin(1)) == ["745121685"]


def test_the_newest_of_a_trigger_is_in_force_until_it_is_taken_back(desk: Desk):
    desk.put("b", fermi(ra=1.0))
    desk.put("a", fermi(ra=2.0))
    desk.put("c", gwalert())
    book = desk.open()
    assert {notice.trigger: round(notice.ra) for notice in book.begin(0)}["745121685"] == 2
    desk.end = {0: 0}
    desk.put("d", fermi(ra=3.0))
    desk.put("e", gwalert(alert_type="RETRACTION", event=None))
    book.look(desk.end.get)
    assert [name for name, _, _ in book.late()] == ["d"]
    assert [(notice.trigger, notice.ra) for notice in book.begin(1)] == [("745121685", 3.0)]


def test_a_file_that_changes_is_another_notice_and_one_that_goes_is_none(desk: Desk):
    desk.put("a", fermi(ra=1.0))
    book = desk.open()
    book.begin(0)
    desk.end = {0: 2}
    desk.put("a", fermi(ra=2.0))
    book.look(desk.end.get)
    assert [(end, notice.ra) for _, end, notice in book.late()] == [(2, 2.0)]
    (desk.folder / "a").unlink()
    book.look(desk.end.get)
    assert book.begin(1) == []
    assert json.loads(desk.path.read_text()) == {}


def test_what_cannot_be_read_is_named_and_counted_once_and_the_others_go_on(desk: Desk, caplog: pytest.LogCaptureFixture):
    desk.put("broken", b"{")
    desk.put("deep", b"[" * 100_000)
    desk.put("test", voevent(role="test"))
    desk.put("good", fermi())
    (desk.folder / ".part").write_bytes(b"half of it")
    with caplog.at_level(logging.WARNING):
        book = desk.open()
        book.look(desk.end.get)
        desk.open()
    assert triggers(book.begin(0)) == ["745121685"]
    assert [record.getMessage().split()[2].rpartition("/")[2] for record in caplog.records] == ["broken", "deep"]
    found = summary(desk.path)
    assert (found["read"], found["unusable"], set(found["faults"])) == (1, {"a test": 1}, {"broken", "deep"})
    assert found["faults"]["broken"].startswith("Expecting property name")
    desk.put("broken", fermi(id="other"))
    book.look(desk.end.get)
    assert set(summary(desk.path)["faults"]) == {"deep"}


def test_without_a_book_there_is_nothing_to_say(tmp_path: Path):
    assert summary(tmp_path / "none.json") == {"read": 0, "unusable": {}, "faults": {}}
