"""Rates and latencies, with clocks set by hand."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from fink_broker.config import Settings
from fink_broker.connectors import parquet
from fink_broker.monitoring.counts import Books
from fink_broker.monitoring.latency import BOUNDS, Batch, Speed, Stage, speed
from fink_broker.monitoring.shelf import Kept
from fink_broker.surveys import get
from tests.monitoring.books import Home, Row, moment

MJD_OF_1970 = 40587
SENT = 1_774_150_000.0  # when the first alert was sent, Unix time in seconds

CLOCKS = {"ztf": ("brokerIngestTimestamp", pa.timestamp("ns")), "rubin": ("brokerIngestMjd", pa.float64())}


IDS = {"ztf": ("candid", pa.int64()), "rubin": ("diaSource", pa.struct([("diaSourceId", pa.int64())]))}


def row(survey: str, sent: float, begun: float, number: int = 0) -> Row:
    (name, _), (identity, _) = CLOCKS[survey], IDS[survey]
    clock = moment(begun) if survey == "ztf" else begun / 86400 + MJD_OF_1970
    return {"kafkaTimestamp": moment(sent), name: clock, identity: number if survey == "ztf" else {"diaSourceId": number}}


@pytest.fixture(params=CLOCKS)
def home(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Home]:
    """Two batches of raw, the second of two files; they are read by one batch of science, and then by none."""
    survey = request.param
    columns = [CLOCKS[survey], IDS[survey]]
    made = Home(Settings(home=tmp_path), pa.schema([("kafkaTimestamp", pa.timestamp("ns")), *columns]), pa.schema(columns))
    # Sent a second apart, taken in at 200 s, in a file at 203 s.
    made.raw_batch(0, ("ok", "20260321", [row(survey, SENT + n, SENT + 200, n) for n in range(101)], SENT + 203))
    made.raw_batch(
        1,
        ("ok", "20260321", [row(survey, SENT + 210, SENT + 212, 101 + n) for n in range(3)], SENT + 213),
        ("ok", "20260322", [row(survey, SENT + 211, SENT + 212, 104)], SENT + 214),
        ("rejected", "20260322", [row(survey, SENT, SENT + 300)], SENT + 400),
    )
    late = [row(survey, SENT, SENT + 200, n) for n in range(50)]
    made.science_batch(0, ("20260321", late, SENT + 223), ("20260322", [row(survey, SENT, SENT + 212, 104)], SENT + 224), read=3)
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


def test_stages_of_a_reader_go_from_the_telescope_to_its_commit(home: tuple[str, Home]) -> None:
    """The science alerts are those that were sent at 0, 1, … 49 s, and at 211 s: they are found by id in raw."""
    survey, made = home
    files = sorted(made.settings.science.rglob("*.parquet"))
    made.reader_batch("distribution", 0, *files, begun=SENT + 230, committed=SENT + 250)
    made.reader_batch("archive", 0, *files[:1], begun=SENT + 230, committed=SENT + 240)
    [only] = of(home, "distribution").batches
    assert (only.number, only.alerts, only.closed, only.seconds) == (0, 51, SENT + 250, 20.0)
    assert list(only.stages) == ["science to user", "telescope to user"]
    assert only.stages["science to user"].p50 == 27.0
    spans = [250.0 - sent for sent in (*range(50), 211)]
    whole = only.stages["telescope to user"]
    assert (whole.p50, whole.sum) == (float(np.median(spans)), sum(spans))
    # Up to 60 s the one that was sent at 211 s, up to 300 s all.
    below = dict(zip(BOUNDS, np.cumsum(whole.counts), strict=False))
    assert [bound for bound in BOUNDS if below[bound] == 1] == [60.0, 120.0]
    assert (below[30.0], below[300.0], sum(whole.counts)) == (0, 51, 51)
    assert list(of(home, "archive").batches[0].stages) == ["science to table", "telescope to table"]
    # Of a service that stands, the mean is that over its batches; of one that runs, since it has started.
    assert of(home, "distribution").mean == pytest.approx(51 / 20)
    running = speed(Books(made.settings, get(survey)), "distribution", started=SENT + 240)
    assert running is not None
    assert running.mean == pytest.approx(51 / (time.time() - SENT - 240), rel=0.01)
    assert running.batches[0].seconds == 10.0


def test_an_alert_without_a_time_says_nothing(home: tuple[str, Home]) -> None:
    survey, made = home
    made.raw_batch(2, ("ok", "20260322", [row(survey, SENT, SENT + 1), {**row(survey, SENT, SENT + 1), "kafkaTimestamp": None}], SENT + 2))
    stages = of(home, "stream2raw").batches[-1].stages
    assert [sum(stage.counts) for stage in stages.values()] == [1, 2, 1]
    assert stages["telescope to raw"].p50 == 2.0


def test_who_looks_again_reads_only_what_is_new(home: tuple[str, Home], monkeypatch: pytest.MonkeyPatch) -> None:
    survey, made = home
    read: list[int] = []
    real = parquet.read

    def counted(files: Sequence[parquet.File], columns: Sequence[str]) -> Iterator[pa.Table]:
        read.append(len(files))
        return real(files, columns)

    monkeypatch.setattr(parquet, "read", counted)
    kept: Kept = {}
    first = speed(Books(made.settings, get(survey), kept=kept), "stream2raw")
    assert sum(read) == 3
    assert speed(Books(made.settings, get(survey), kept=kept), "stream2raw") == first
    assert sum(read) == 3
    made.raw_batch(2, ("ok", "20260322", [row(survey, SENT, SENT)], SENT))
    speed(Books(made.settings, get(survey), kept=kept), "stream2raw")
    assert sum(read) == 4
    assert len(kept) == 4


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
