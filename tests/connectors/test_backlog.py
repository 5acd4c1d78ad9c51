"""The notes of what was left to a backlog: done or not, whenever the machine stops."""

from __future__ import annotations

from pathlib import Path

import pytest

from fink_broker.connectors import backlog
from fink_broker.connectors.ranges import Range, between


def left(folder: Path) -> dict[tuple[str, int], list[int]]:
    """The offsets of all pieces, piece after piece."""
    found: dict[tuple[str, int], list[int]] = {}
    for file in sorted(backlog.pieces(folder), key=lambda file: file.stat().st_mtime):
        for one in backlog.read(file):
            found.setdefault((one.topic, one.partition), []).extend(range(one.start, one.until))
    return found


def test_what_lies_between_two_reports():
    before, after = {"a": {"0": 5, "1": 7}, "deleted": {"0": 3}}, {"a": {"0": 9, "1": 7, "2": 1}, "b": {"0": 2}}
    expected = [Range("a", 0, 5, 9), Range("a", 1, 7, 7), Range("a", 2, 0, 1), Range("b", 0, 0, 2)]
    assert between(before, after) == expected
    # Made anew under the same name.
    assert between({"a": {"0": 5}}, {"a": {"0": 2}}) == [Range("a", 0, 0, 2)]


def test_pieces_hold_each_offset_once(tmp_path: Path):
    places = [Range("a", 0, 5, 105), Range("a", 1, 7, 7), Range("a", 2, 0, 1), Range("b", 0, 1000, 1031)]
    backlog.open_(tmp_path, 3)
    backlog.close(tmp_path, places, 20)
    assert len(backlog.pieces(tmp_path)) == 7
    assert left(tmp_path) == {one[:2]: list(range(one.start, one.until)) for one in places if one.size}
    assert backlog.messages(backlog.pieces(tmp_path)) == 132
    assert all(0 < backlog.messages([file]) <= 22 for file in backlog.pieces(tmp_path))
    backlog.open_(tmp_path, 9)
    backlog.close(tmp_path, [Range("a", 0, 200, 210)], 20)
    assert sorted(left(tmp_path)["a", 0]) == [*range(5, 105), *range(200, 210)]


def test_it_has_not_begun_or_is_to_be_finished_or_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert (backlog.opened(tmp_path / "home"), backlog.pieces(tmp_path / "home"), backlog.taken(tmp_path / "home", 7)) == (None, [], 7)
    backlog.open_(tmp_path, 3)
    assert (backlog.opened(tmp_path), backlog.taken(tmp_path, 7), backlog.taken(tmp_path, 1)) == (3, 2, 1)
    with monkeypatch.context() as stopped:
        stopped.setattr(Path, "rename", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            backlog.close(tmp_path, [Range("a", 0, 0, 50)], 10)
    assert (backlog.opened(tmp_path), backlog.pieces(tmp_path)) == (3, [])
    backlog.close(tmp_path, [Range("a", 0, 0, 45)], 20)
    assert (backlog.opened(tmp_path), backlog.taken(tmp_path, 7)) == (None, 7)
    assert left(tmp_path) == {("a", 0): list(range(45))}
    # One that found nothing leaves nothing.
    backlog.open_(tmp_path, 4)
    backlog.close(tmp_path, [], 20)
    backlog.open_(tmp_path, 4)
    backlog.close(tmp_path, [Range("a", 0, 45, 46)], 20)
    assert left(tmp_path) == {("a", 0): list(range(46))}
