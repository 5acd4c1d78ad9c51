"""The lines of checkstream, from the progress that Spark reports."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import Row

from fink_broker.services.checkstream import Report, Reporter, report

WHEN = "2026-03-22T04:05:06.789Z"


def progress(rows: int, rates: tuple[float, float], offsets: tuple[str | None, str | None], sizes: tuple[int | None, int | None]) -> Any:
    latest, end = offsets
    return SimpleNamespace(
        timestamp=WHEN,
        inputRowsPerSecond=rates[0],
        processedRowsPerSecond=rates[1],
        numInputRows=rows,
        sources=[SimpleNamespace(latestOffset=latest, endOffset=end)],
        observedMetrics={"messages": Row(size=sizes[0], largest=sizes[1])},
    )


def test_a_batch_is_one_line() -> None:
    offsets = ('{"ztf_b":{"0":50},"ztf_a":{"10":7,"9":30,"2":5}}', '{"ztf_a":{"9":10,"2":5,"10":0},"ztf_b":{"0":50}}')
    found = report(progress(3, (1.46, 1234.56), offsets, (197_401, 80_120)))
    assert found.lag == {"ztf_a/2": 0, "ztf_a/9": 20, "ztf_a/10": 7, "ztf_b/0": 0}
    assert found.line == (
        f"{WHEN}  inputRowsPerSecond 1.5  processedRowsPerSecond 1234.6  lag 27 (ztf_a/9=20 ztf_a/10=7)"
        "  bytesPerMessage 65800  largest 80120"
    )


@pytest.mark.parametrize("offsets", [(None, None), ("null", "null"), ("{}", '{"ztf":{"0":3}}')])
def test_an_empty_batch(offsets: tuple[str | None, str | None]) -> None:
    line = report(progress(0, (float("nan"), float("inf")), offsets, (None, None))).line
    assert line == f"{WHEN}  inputRowsPerSecond -  processedRowsPerSecond -  lag 0  bytesPerMessage -  largest -"


def test_a_partition_that_was_not_read_yet_lags_by_all_of_it() -> None:
    assert report(progress(1, (1, 1), ('{"ztf":{"0":8,"1":9}}', '{"ztf":{"0":8}}'), (1, 1))).lag == {"ztf/0": 0, "ztf/1": 9}


def test_the_sum_comes_last() -> None:
    lines: list[str] = []
    reporter = Reporter(lines.append)
    for rows, size, largest in [(2, 300, 200), (0, None, None), (1, 600, 600)]:
        reporter.onQueryProgress(SimpleNamespace(progress=progress(rows, (1, 1), (None, None), (size, largest))))  # type: ignore[arg-type]
    reporter.onQueryIdle(SimpleNamespace(timestamp=WHEN))  # type: ignore[arg-type]
    reporter.onQueryTerminated(SimpleNamespace())  # type: ignore[arg-type]
    assert len(lines) == 5
    assert (
        lines[3] == Report(WHEN).line == f"{WHEN}  inputRowsPerSecond 0.0  processedRowsPerSecond 0.0  lag 0  bytesPerMessage -  largest -"
    )
    assert lines[4] == "in all: messages 3  bytes 900  bytesPerMessage 300  largest 600"
