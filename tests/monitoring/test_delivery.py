"""The note of what topics did not take: whole, and each piece of work counted once."""

from __future__ import annotations

from pathlib import Path

from fink_broker.config import Settings
from fink_broker.monitoring.delivery import Dropped, Held, Note, load, save


def test_work_that_is_done_again_after_a_crash_counts_once():
    first = Dropped().more("batch 3", 2, ["7", "8"])
    assert first.more("batch 3", 2, ["7", "8"]) == first
    assert first.more("batch 4", 5, ["9"]) == Dropped(2, 5, "batch 4", ["9"])
    assert first.more("batch 4", 5, ["9"]).more("batch 5", 1, ["1"]) == Dropped(7, 1, "batch 5", ["1"])


def test_a_note_is_read_as_it_was_written(tmp_path: Path):
    settings = Settings(home=tmp_path)
    assert load(settings) == Note()
    note = Note({"fink_a_ztf": Held("it is gone", "2026-03-22T04:42:06+00:00", 3)}, {"fink_b_ztf": Dropped(1, 2, "batch 4", ["5"])})
    save(settings, note)
    assert load(settings) == note
