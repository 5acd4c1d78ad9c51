"""Counts of nights: each alert once, whatever comes again."""

import pyarrow as pa
import pytest

from fink_broker.config import Settings
from fink_broker.files import write_whole
from fink_broker.monitoring import statistics
from fink_broker.monitoring.statistics import Night

ROWS = [
    {"night": "20260322", "counts": {"b:n": True}, "distinct": {"b:visits": "1.5"}, "by": {"band": "g"}, "topics": ["one", "two"]},
    {"night": "20260322", "counts": {"b:n": False}, "distinct": {"b:visits": "1.5"}, "by": {"band": None}, "topics": []},
    {"night": "20260323", "counts": {"b:n": True}, "distinct": {"b:visits": None}, "by": {"band": "r"}, "topics": ["one"]},
]


def rows(*which: int) -> pa.Table:
    return pa.Table.from_pylist([ROWS[one] for one in which])


@pytest.fixture
def home(tmp_path) -> Settings:
    return Settings(home=tmp_path)


def test_batches_are_added_up_by_night(home):
    assert statistics.load(home, "20260322") == Night()
    assert statistics.add(home, rows(0, 2), 3) == ["20260322", "20260323"]
    assert statistics.add(home, rows(0, 1), 4) == ["20260322"]
    assert statistics.nights(home) == ["20260322", "20260323"]
    by = {"band": {"g": 2, "": 1}, "filter": {"one": 2, "two": 2}}
    assert statistics.load(home, "20260322") == Night(4, 3, {"b:n": 2}, {"b:visits": ["1.5"]}, by)
    assert statistics.load(home, "20260323") == Night(3, 1, {"b:n": 1}, {"b:visits": []}, {"band": {"r": 1}, "filter": {"one": 1}})


def test_a_batch_that_was_killed_between_two_nights_is_counted_once(home, monkeypatch):
    def killed(path, text):
        if path.stem == "20260323":
            raise KeyboardInterrupt
        write_whole(path, text)

    with monkeypatch.context() as patched:
        patched.setattr(statistics, "write_whole", killed)
        with pytest.raises(KeyboardInterrupt):
            statistics.add(home, rows(0, 1, 2), 0)
    for _ in range(2):
        statistics.add(home, rows(0, 1, 2), 0)
    assert [statistics.load(home, night).alerts for night in statistics.nights(home)] == [2, 1]


def test_a_count_that_later_alerts_do_not_have_stays(home):
    statistics.add(home, rows(0), 0)
    later = rows(0).set_column(1, "counts", pa.array([{"b:m": True}]))
    statistics.add(home, later, 1)
    assert statistics.load(home, "20260322").counts == {"b:n": 1, "b:m": 1}
