"""What pages read: not worked out for everybody who asks, and sums that hold every alert."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from fink_broker.config import Settings
from fink_broker.files import write_whole
from fink_broker.web.state import Cached, State


def test_those_who_ask_at_once_share_an_answer() -> None:
    asked: list[float] = []

    def slow() -> int:
        asked.append(time.monotonic())
        time.sleep(0.05)
        return len(asked)

    cached = Cached(slow, seconds=60)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: cached(), range(8))) == {1}
    assert cached() == 1


def test_counts_of_nights_add_up(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    for night, n in (("20260321", 2), ("20260322", 3)):
        write_whole(settings.statistics / f"{night}.json", json.dumps({"alerts": n, "by": {"class": {"SN": n, night: 1}}}))
    state = State(settings)
    assert state.counted() == {"class": {"SN": 5, "20260321": 1, "20260322": 1}}
    assert state.counted("20260322") == {"class": {"SN": 3, "20260322": 1}}


@dataclass
class File:
    night: str
    rows: int
    closed: float
    status: str = "ok"

    @property
    def partition(self) -> dict[str, str]:
        return {"night": self.night, "status": self.status}


def test_every_alert_is_in_one_span(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    files = {
        "raw": [File("20260322", 10, now - 100), File("20260322", 5, now), File("20260321", 3, now - 5000)],
        "rejected": [File("20260322", 1, now - 50)],
        "science": [],
    }
    state = State(Settings(home=tmp_path))
    monkeypatch.setattr(state, "_files", lambda: files)
    found = state.history(None)
    assert (sum(found["raw"]), sum(found["rejected"]), sum(found["science"])) == (18, 1, 0)
    assert len(found["times"]) == len(found["raw"]) == len(found["science"])
    assert sum(state.history(600)["raw"]) == 15
    assert state.nights() == [
        {"night": "20260322", "raw": 15, "rejected": 1, "science": 0},
        {"night": "20260321", "raw": 3, "rejected": 0, "science": 0},
    ]
