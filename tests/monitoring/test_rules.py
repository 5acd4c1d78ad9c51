"""Alerts are counted by the cuts that were in force when they were read, whatever the configuration says now."""

from __future__ import annotations

from pathlib import Path

import pytest

from fink_broker.config import Settings
from fink_broker.config.sections import Raw2science
from fink_broker.monitoring import rules
from fink_broker.monitoring.counts import Books
from fink_broker.monitoring.rules import Rule
from tests.monitoring.books import Home
from tests.monitoring.test_nights import RAW, SCIENCE, ZTF, A, of, science, sound

STRICT, LOOSE = {"good": "candidate.rb >= 0.55"}, {"good": "candidate.rb >= 0.05", "band": "candidate.fid != 3"}


def settings(home: Path, cuts: dict[str, str]) -> Settings:
    return Settings(home=home, raw2science=Raw2science(cuts=cuts))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A night in two batches: one with strict cuts, and one after a start with loose ones."""
    made = Home(settings(tmp_path, STRICT), RAW, SCIENCE)
    rules.note(made.settings, STRICT)
    made.raw_batch(0, ("ok", A, [sound(1, 0, 10), sound(2, 0, 11, rb=0.1)], 100.0))
    made.science_batch(0, (A, science(1), 101.0))
    commits = made.settings.checkpoint("raw2science") / "commits"
    commits.mkdir()
    (commits / "0").write_text("v1\n{}")
    rules.note(settings(tmp_path, LOOSE), LOOSE)
    made.raw_batch(1, ("ok", A, [sound(3, 0, 12), sound(4, 0, 13, rb=0.1), sound(5, 0, 14, rb=0.01)], 102.0))
    made.science_batch(1, (A, science(3, 4), 103.0))
    return made


@pytest.mark.parametrize("now", [STRICT, LOOSE, {}])
def test_sums_meet_whatever_is_configured_now(home: Home, now: dict[str, str]) -> None:
    found = Books(settings(home.settings.root, now), ZTF).of("raw2science")
    assert (found.taken, found.given, found.dropped["cut"], found.cuts) == (5, 3, 2, {"good": 2})
    assert found.meets
    home.settings = settings(home.settings.root, now)
    assert of(home, A).faults == []


def test_only_a_change_is_written_down(tmp_path: Path) -> None:
    home = settings(tmp_path, STRICT)
    assert rules.load(home) == []
    for _ in range(2):
        rules.note(home, STRICT)
        assert [dict(one.cuts) for one in rules.load(home)] == [STRICT]
    rules.note(home, LOOSE)
    assert [dict(one.cuts) for one in rules.load(home)] == [STRICT, LOOSE]


def test_what_was_in_force_where() -> None:
    first, second, third = Rule(STRICT), Rule(LOOSE, (4, -1)), Rule({}, (9, 2))
    found = [rules.in_force([first, second, third], place, 0) for place in (0, 4, 5, 9, 10)]
    assert found == [first, first, second, second, third]
    assert rules.in_force([first, second, third], 0, 1) is second
    assert rules.in_force([first, second, third], 3, 1) is third
