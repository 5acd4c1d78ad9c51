"""Rates and latencies, with clocks set by hand."""

from __future__ import annotations

import time
from pathlib import Path

import pyarrow as pa
import pytest

from fink_broker.config import Settings
from fink_broker.monitoring.counts import Books
from fink_broker.monitoring.latency import Batch, Speed, Stage, speed
from fink_broker.surveys import get
from tests.monitoring.books import Home, Row, moment

MJD_OF_1970 = 40587
SENT = 1_774_150_000.0  # when the first alert was sent, Unix time in seconds

CLOCKS = {"ztf": ("brokerIngestTimestamp", pa.timestamp("ns")), "rubin": ("brokerIngestMjd", pa.float64())}


def row(survey: str, sent: float, begun: float) -> Row:
    name, _ = CLOCKS[survey]
    return {"kafkaTimestamp": moment(sent), name: moment(begun) if survey == "ztf" else begun / 86400 + MJD_OF_1970}


@pytest.fixture(params=CLOCKS)
def home(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Home]:
    """Two batches of raw, the second of two files; they are read by one batch of science, and then by none."""
    survey = request.param
    name, kind = CLOCKS[survey]
    made = Home(Settings(home=tmp_path), pa.schema([("kafkaTimestamp", pa.timestamp("ns")), (name, kind)]), pa.schema([(name, kind)]))
    # Sent a second apart, taken in at 200 s, in a file at 203 s.
    made.raw_batch(0, ("ok", "20260321", [row(survey, SENT + n, SENT + 200) for n in range(101)], SENT + 203))
    made.raw_batch(
        1,
        ("ok", "20260321", [row(survey, SENT + 210, SENT + 212)] * 3, SENT + 213),
        ("ok", "20260322", [row(survey, SENT + 211, SENT + 212)], SENT + 214),
        ("rejected", "20260322", [row(survey, SENT, SENT + 300)], SENT + 400),
    )
    late = [row(survey, SENT, SENT + 200)] * 50
    made.science_batch(0, ("20260321", late, SENT + 223), ("20260322", [row(survey, SENT, SENT + 212)], SENT + 224), read=3)
    made.science_batch(1, read=0)
    return survey, made


def of(home: tuple[str, Home], service: str) -> Speed:
    survey, made = home
    found = speed(Books(made.settings, get(survey)), service)
    assert found is not None
    return found


def test_stages_of_raw_batch_by_batch(home: tuple[str, Home]) -> None:
    first, second = of(home, "stream2raw").batches
    stages = {"telescope to broker": Stage(150.0, 199.0), "broker to raw": Stage(3.0, 3.0), "telescope to raw": Stage(153.0, 202.0)}
    assert first == Batch(0, 101, SENT + 203, stages)
    assert second.alerts == 4
    assert second.closed == SENT + 214
    assert second.stages["telescope to broker"] == Stage(2.0, 2.0)
    # Three at 1.0 s and one at 2.0 s: numpy's percentile lies between the two last.
    assert second.stages["broker to raw"] == Stage(1.0, 1.97)
    assert second.stages["telescope to raw"].p50 == 3.0


def test_stages_of_science_count_all_that_was_read(home: tuple[str, Home]) -> None:
    """101 alerts lay in raw from 203 s, three from 213 s, one from 214 s; the batch was done at 224 s."""
    [only] = of(home, "raw2science").batches
    assert (only.number, only.alerts, only.closed) == (0, 51, SENT + 224)
    assert only.stages["raw to science"] == Stage(21.0, 21.0)
    assert only.stages["broker to science"].p50 == 23.0
    assert list(only.stages) == ["raw to science", "broker to science"]


def test_rate_is_that_of_the_last_minute(home: tuple[str, Home]) -> None:
    assert of(home, "stream2raw").rate == 0.0
    survey, made = home
    made.raw_batch(2, ("ok", "20260322", [row(survey, SENT, SENT)] * 30, time.time() - 5))
    assert of(home, "stream2raw").rate == pytest.approx(0.5)


def test_services_without_files(home: tuple[str, Home], tmp_path: Path) -> None:
    survey, made = home
    assert speed(Books(made.settings, get(survey)), "distribution") is None
    empty = Books(Settings(home=tmp_path / "empty"), get(survey))
    assert speed(empty, "stream2raw") is speed(empty, "raw2science") is None
