"""The life of an application: order, ends, deaths; queries on folders, without Kafka."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from fink_broker.config import CHECKOUT, Settings
from fink_broker.errors import ConfigError, FinkError
from fink_broker.services import registry, runner, waiting
from fink_broker.services.context import RunOptions
from fink_broker.services.registry import ServiceEntry

HEAD = """
import time
from pathlib import Path
HOME = Path(__file__).parent

def say(line):
    with (HOME / "said").open("a") as file:
        file.write(line + chr(10))
"""

RATE = """
def start(context):
    stream = context.spark.readStream.format("rate").option("rowsPerSecond", 5).load()
    trigger = {"availableNow": True} if context.options.once else {"processingTime": "100 milliseconds"}
    return stream.writeStream.foreachBatch(batch).option("checkpointLocation", str(HOME / NAME)).trigger(**trigger).start()
"""

SERVICES = {
    # Counts what is in a folder, and says so.
    "first": """
def batch(rows, number):
    say(f"first {rows.count()}")
    (HOME / "in2").mkdir(exist_ok=True)
    (HOME / "in2" / "a.txt").write_text("one")

def start(context):
    stream = context.spark.readStream.text(str(HOME / "in1"))
    return stream.writeStream.foreachBatch(batch).option("checkpointLocation", str(HOME / "c1")).trigger(availableNow=True).start()
""",
    # Finds only what `first` has written, when it starts after the end of it.
    "second": """
def batch(rows, number):
    say(f"second {rows.count()}")

def start(context):
    stream = context.spark.readStream.schema("value string").text(str(HOME / "in2"))
    return stream.writeStream.foreachBatch(batch).option("checkpointLocation", str(HOME / "c2")).trigger(availableNow=True).start()
""",
    "mortal": """
NAME = "mortal"
def batch(rows, number):
    if (HOME / "said").exists() and "phoenix 2" in (HOME / "said").read_text():
        raise ValueError("the disk is full")
"""
    + RATE,
    "slow": """
NAME = "slow"
def batch(rows, number):
    say(f"begin {number}")
    time.sleep(1)
    say(f"end {number}")
"""
    + RATE,
    # Comes back by another plan.
    "phoenix": """
NAME = "phoenix"
LIVES = []
def batch(rows, number):
    if len(LIVES) < 2:
        raise ValueError("burn")
    say(f"phoenix {len(LIVES)}")
"""
    + RATE
    + """
def recover(context, error):
    assert "burn" in str(error)
    LIVES.append(1)
    return start(context)
""",
}


class Home:
    """A folder with a configuration and services of one's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "in1").mkdir()
        (folder / "in1" / "a.txt").write_text("one\ntwo\n")
        text = f'home = "{folder}/home"\n[kafka.embedded]\nport = 0\n[wait]\nseconds = 2.5\n'
        for name, source in SERVICES.items():
            (folder / f"{name}.py").write_text(HEAD + source)
            text += f'[[services]]\nname = "{name}"\nfile = "{folder}/{name}.py"\n'
        self.conf = folder / "fink.conf"
        self.conf.write_text(text)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("FINK_") or key == "FINK_SETUP"}
        command = [sys.executable, "-m", "fink_broker.commands.start", "-c", str(self.conf), *arguments]
        return subprocess.Popen(command, cwd=CHECKOUT, env=clean | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def said(self) -> list[str]:
        path = self.folder / "said"
        return path.read_text().splitlines() if path.exists() else []

    def log(self, name: str) -> str:
        return (self.folder / "home" / "log" / f"{name}.log").read_text()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    folder = tmp_path / "a b"
    folder.mkdir()
    return Home(folder)


def finish(process: subprocess.Popen[str], seconds: float = 60) -> tuple[int, str, str]:
    try:
        out, err = process.communicate(timeout=seconds)
    finally:
        process.kill()
    return process.returncode, out, err


def until(condition: Any, process: subprocess.Popen[str], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def test_once_runs_one_after_the_other(home: Home):
    # Named the other way round: the order is that of the configuration.
    code, out, err = finish(home.start("second", "first", "--once"))
    assert (code, err) == (0, "")
    assert home.said() == ["first 2", "second 1"]
    assert out.splitlines()[0].startswith("first, second starting; log: ")
    assert out.splitlines()[1:] == ["first, second started", "first, second ended"]
    assert list((home.folder / "home" / "run").glob("*.json")) == []


def test_one_that_dies_ends_all_and_one_that_knows_how_comes_back(home: Home):
    code, out, err = finish(home.start("slow", "mortal", "phoenix"))
    assert code == 1
    assert out.splitlines()[-1] == "mortal, slow, phoenix started"
    # The log is that of the application.
    assert err == f"fink: mortal died: ValueError: the disk is full; details in {home.folder}/home/log/mortal.log\n"
    log = home.log("mortal")
    assert "Traceback" in log
    assert log.count("phoenix goes on with another plan") == 2
    # What ran beside it was not torn out of its batch.
    slow = [line.split() for line in home.said() if not line.startswith("phoenix")]
    begun, ended = ([number for word, number in slow if word == which] for which in ("begin", "end"))
    assert ended
    assert len(begun) - len(ended) <= 1
    assert list((home.folder / "home" / "run").glob("*.json")) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_batch_that_runs(home: Home, number: signal.Signals):
    process = home.start("slow")
    until(lambda: "end 0" in home.said() and home.said()[-1].startswith("begin"), process)
    if number == signal.SIGINT:
        code, _, err = finish(home.start("slow"))
        assert (code, err) == (1, f"fink: slow runs already, pid {process.pid}: fink stop slow\n")
    process.send_signal(number)
    code, out, err = finish(process)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "slow ended"
    begun, ended = ([line.split()[1] for line in home.said() if line.startswith(word)] for word in ("begin", "end"))
    assert ended == begun[: len(ended)]
    # With a backlog the next batch may have begun, but no more.
    assert len(begun) - len(ended) <= 1
    assert list((home.folder / "home" / "run").glob("*.json")) == []


@pytest.mark.parametrize("servers", ["local", "127.0.0.1:1"])
def test_without_kafka_it_waits_and_gives_up_with_one_line(home: Home, servers: str):
    before = time.monotonic()
    code, out, err = finish(home.start("stream2raw", FINK_KAFKA__INPUT__SERVERS=servers))
    assert code == 3
    assert 2.5 <= time.monotonic() - before < 30
    *waiting, line = err.splitlines()
    where = "the embedded Kafka (fink start kafka)" if servers == "local" else "Kafka at 127.0.0.1:1"
    if servers == "local":
        assert waiting == [f"waiting for {where} (at most 2.5 s) ..."]
        assert "does not answer" in home.log("stream2raw")
    assert line == f"fink: {where} did not answer within 2.5 s: is it running? ([wait] seconds sets how long to try)"
    assert out.splitlines() == [f"stream2raw starting; log: {home.folder}/home/log/stream2raw.log; Ctrl-C ends"]
    assert "Traceback (most recent call last)" in home.log("stream2raw")
    assert list((home.folder / "home" / "run").glob("*.json")) == []


def test_a_signal_ends_the_waiting(home: Home):
    process = home.start("distribution", FINK_WAIT__SECONDS="300")
    until(lambda: (home.folder / "home" / "log" / "distribution.log").exists() and "does not answer" in home.log("distribution"), process)
    process.terminate()
    before = time.monotonic()
    code, out, _ = finish(process)
    assert time.monotonic() - before < 10
    assert code == 0
    assert out.splitlines()[-1] == "distribution ended"
    assert list((home.folder / "home" / "run").glob("*.json")) == []


def test_an_unknown_service_and_a_wrong_file_are_one_line(home: Home):
    code, _, err = finish(home.start("strem2raw"))
    assert code == 2
    assert err.startswith("fink: unknown service 'strem2raw'; did you mean 'stream2raw'? known: kafka, ")
    (home.folder / "first.py").write_text("def begin(context): ...")
    code, _, err = finish(home.start("first"))
    assert code == 2
    assert err == f"fink: {home.folder}/first.py has no function 'start'\n"


def test_a_survey_that_a_service_is_not_for_is_said_before_anybody_is_waited_for(tmp_path: Path):
    settings = Settings(home=tmp_path, survey="rubin")
    with pytest.raises(ConfigError, match="rubin has no topics for counterparts of other observatories' notices"):
        runner.run(registry.find(["multimessenger"], settings), settings, RunOptions())
    assert list(tmp_path.iterdir()) == []


class Query:
    """A query that works off a backlog: one batch follows the other."""

    isActive = True
    status: dict[str, bool] = {"isTriggerActive": True}  # noqa: RUF012
    name = "query"

    def __init__(self, batches: list[int | None]) -> None:
        self._batches = batches
        self.stopped = 0

    @property
    def lastProgress(self) -> dict[str, int] | None:
        batch = self._batches.pop(0) if len(self._batches) > 1 else self._batches[0]
        return None if batch is None else {"batchId": batch}

    def stop(self) -> None:
        self.stopped += 1


@pytest.mark.parametrize("batches", [[4, 4, 4, 5], [None, None, 0]])
def test_a_backlog_does_not_keep_a_service_from_ending(batches: list[int | None]):
    query = Query(batches)
    entry = ServiceEntry("own", "", "stream")
    watched = runner._Watched.__new__(runner._Watched)
    watched.entry, watched.query = entry, query  # type: ignore[assignment]
    ended = threading.Thread(target=watched.finish, daemon=True)
    ended.start()
    ended.join(10)
    assert not ended.is_alive()
    assert query.stopped == 1


def test_stop_by_time_and_by_hand():
    assert waiting.Stop(0).wait(5)
    stop = waiting.Stop()
    assert not stop.wait(0.01)
    stop.set()
    assert stop.wait(5)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (" \n ", "no message"),
        ("\n[KAFKA] cannot read\n\tat org.apache.Kafka\n", "[KAFKA] cannot read"),
        (
            "An exception was raised by the Python Proxy. Return Message: Traceback (most recent call last):\n  File x, line 3\n"
            "KeyError: 'a'\n\nDuring handling of the above exception, another exception occurred:\n\n"
            "fink_broker.errors.ServerUnavailable: HBase did not answer\n\n",
            "fink_broker.errors.ServerUnavailable: HBase did not answer",
        ),
    ],
)
def test_what_is_said_of_a_death(text: str, cause: str):
    with pytest.raises(FinkError) as raised:
        runner._died(ServiceEntry("own", "", "stream"), Path("/log/first.log"), ValueError(text))
    assert str(raised.value) == f"own died: {cause}; details in /log/first.log"
