"""checkstream with the real Kafka: its numbers are those of what was sent."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from tests.integration.conftest import Broker

pytestmark = pytest.mark.integration

LINE = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT[\d:.]+Z)  inputRowsPerSecond (?P<input>[\d.]+|-)  processedRowsPerSecond (?P<processed>[\d.]+|-)"
    r"  lag (?P<lag>\d+)(?: \((?P<behind>[^)]+)\))?  bytesPerMessage (?P<mean>\d+|-)  largest (?P<largest>\d+|-)\n?"
)
SIZES = [100 * number for number in range(1, 31)]


def values(sizes: list[int]) -> list[bytes]:
    return [b"x" * size for size in sizes]


def read_until(process: subprocess.Popen[str], wanted: Callable[[str], object]) -> Iterator[str]:
    """Lines up to the one that is wanted."""
    assert process.stdout is not None
    deadline = time.monotonic() + 90
    for line in process.stdout:
        yield line
        if wanted(line):
            return
        assert time.monotonic() < deadline
    pytest.fail("it ended before")


def test_from_now_on_it_reports_what_comes_and_goes_on_when_nothing_does(broker: Callable[[str], Broker]) -> None:
    one = broker("checkstream")
    one.configure("watched_.*")
    one.send("watched_a", values([7] * 10))  # before it starts: not counted
    process = one.open("start", "checkstream")
    try:
        begun = list(read_until(process, LINE.fullmatch))
        assert begun[-2:-1] == ["checkstream started\n"]
        one.send("watched_a", values(SIZES))
        one.send("watched_b", values([5000]), partitions=1)  # a topic that was not there
        lines: list[str] = []
        totals = 0

        def all_seen(line: str) -> bool:
            nonlocal totals
            found = LINE.fullmatch(line)
            assert found is not None, line
            totals = max(totals, 0 if found["largest"] == "-" else int(found["largest"]))
            return totals == 5000

        lines += read_until(process, all_seen)
        lines += read_until(process, lambda line: (found := LINE.fullmatch(line)) and found["mean"] == "-")
        found = [match for match in map(LINE.fullmatch, lines) if match]
        assert [match["time"] for match in found] == sorted(match["time"] for match in found)
        assert {match["lag"] for match in found} == {"0"}
        process.terminate()
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, err) == (0, "")
    *_, total, ended = out.splitlines()
    size = sum(SIZES) + 5000
    assert total == f"in all: messages 31  bytes {size}  bytesPerMessage {round(size / 31)}  largest 5000"
    assert ended == "checkstream ended"
    # It left nothing that would be counted.
    assert "checkstream" not in one.status()["services"]


def test_once_it_reports_all_that_kafka_holds_and_again_the_next_time(broker: Callable[[str], Broker]) -> None:
    one = broker("checkstream once")
    one.configure("held")
    one.send("held", values(SIZES))
    for _ in range(2):
        lines = one.run("start", "checkstream", "--once").splitlines()
        found = [LINE.fullmatch(line) for line in lines]
        batches = [match for match in found if match and match["mean"] != "-"]
        assert [(match["lag"], match["mean"], match["largest"]) for match in batches] == [("0", "1550", "3000")]
        assert float(batches[0]["processed"]) > 0
        assert lines[-2:] == ["in all: messages 30  bytes 46500  bytesPerMessage 1550  largest 3000", "checkstream ended"]


def test_detached_each_line_stands_in_the_log_once(broker: Callable[[str], Broker]) -> None:
    one = broker("checkstream detached")
    one.configure("held_detached")
    one.send("held_detached", values([10]))
    one.run("start", "checkstream", "--once", "-d")
    log = one.settings.log("checkstream")
    deadline = time.monotonic() + 90
    while "checkstream ended" not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
    assert [line.partition("in all: ")[2] for line in log.read_text().splitlines() if "in all: " in line] == [
        "messages 1  bytes 10  bytesPerMessage 10  largest 10"
    ]
