"""Filters that come, change, break and go while the stream runs: the others lose nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from fink_broker import surveys
from fink_broker.commands import filter as command
from fink_broker.commands import status
from fink_broker.config import Settings
from fink_broker.connectors import kafka, parquet
from fink_broker.infra.kafka import connection
from fink_broker.infra.processes import Running
from fink_broker.services import live, registry, runner
from fink_broker.services.context import Context

pytestmark = pytest.mark.integration

HARM = "def harmful(magpsf):\n    raise ValueError('no model')\n"
ALERT = "candid long, objectId string, candidate struct<jd: double, magpsf: double>, prv_candidates array<struct<jd: double>>, night string"


class Scenario(runner.Stop):
    """Goes on to its next step whenever what the last one waits for has come about; ends after the last one."""

    def __init__(self, steps: Iterator[Callable[[], bool]]) -> None:
        super().__init__(seconds=120)
        self._steps, self._done = steps, lambda: True
        self.finished = False

    def wait(self, seconds: float) -> bool:
        if self._done():
            step = next(self._steps, None)
            if step is None:
                self.finished = True
                return True
            self._done = step
        return super().wait(seconds)


class Stream:
    """Science alerts of one home, and what is on its topics."""

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self._spark, self._settings = spark, settings
        self.sent = 0

    def add(self) -> range:
        """Ten alerts more, as raw2science writes them; their ids."""
        new = range(self.sent + 1, self.sent + 11)
        source = self._settings.root / "source"
        rows = [(number, f"ZTF{number}", (2461122.0, 10.0 + number), [], "20260322") for number in new]
        self._spark.createDataFrame(rows, ALERT).coalesce(1).write.mode("append").parquet(str(source))
        alerts = self._spark.readStream.schema(ALERT).parquet(str(source))
        sink = parquet.sink(alerts, self._settings.science, self._settings.checkpoint("raw2science"), ["night"])
        sink.trigger(availableNow=True).start().awaitTermination()
        self.sent = new[-1]
        return new

    def on(self, name: str) -> list[int]:
        """Ids on a filter's topic, in order."""
        users = connection(self._settings, self._settings.kafka.output)
        messages = kafka.read_all(users, f"fink_{name}_ztf")
        return sorted(int(dict(message.headers() or [])["fink-id"]) for message in messages)


def test_filters_change_while_the_stream_runs(
    spark: SparkSession, tmp_path: Path, kafka_server: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(runner, "_REVIEW_S", 0.2)
    conf = tmp_path / "fink.conf"
    conf.write_text(
        f'home = "{tmp_path}/home"\n[kafka.output]\nservers = "{kafka_server.address}"\n'
        '[distribution]\ntrigger_seconds = 0.2\nfilters = ["live_all"]\nfailures = 2\n'
        '[[filters]]\nname = "live_all"\nsql = "candid > 0"\n'
    )
    settings = command.config.load(str(conf), {})
    stream, folder = Stream(spark, settings), settings.filter_folder
    folder.mkdir(parents=True)
    (folder / "live_even.py").write_text("def live_even(candid):\n    return candid % 2 == 0\n")

    def arrived(name: str, numbers: list[int]) -> Callable[[], bool]:
        return lambda: set(stream.on(name)) >= set(numbers)

    def steps() -> Iterator[Callable[[], bool]]:
        first = stream.add()
        yield arrived("live_even", [number for number in first if number % 2 == 0])
        # A new one, in SQL, which names another.
        (folder / "mine.toml").write_text('live_odd = "candid % 2 = 1 and live_all"\n')
        yield lambda: "fink_live_odd_ztf" in kafka.partitions(connection(settings, settings.kafka.output), "fink_live.*")
        yield arrived("live_odd", [number for number in stream.add() if number % 2])
        # One that breaks: its last good version stays in use, and so does a new file beside it.
        (folder / "live_even.py").write_text("def live_even(candid:\n")
        yield lambda: bool(live.costs(settings)["faults"])
        yield arrived("live_even", [number for number in stream.add() if number % 2 == 0])
        # One that raises for all: switched off after two batches.
        (folder / "harmful.py").write_text(HARM)
        yield lambda: "fink_harmful_ztf" in kafka.partitions(connection(settings, settings.kafka.output), "fink_harm.*")
        for _ in range(2):
            yield arrived("live_all", list(stream.add()))
        yield lambda: "harmful" in live.switched_off(settings)
        yield arrived("live_all", list(stream.add()))
        # Mended and on again.
        (folder / "harmful.py").write_text(HARM.replace("raise ValueError('no model')", "return magpsf > 0"))
        assert command.main(["enable", "harmful", "-c", str(conf)]) == 0
        yield lambda: bool(stream.on("harmful")) or not stream.add()
        # One that goes.
        (folder / "mine.toml").unlink()
        before = len(stream.on("live_odd"))
        yield lambda: len(stream.on("live_odd")) == before and bool(stream.add()) and len(stream.on("live_all")) >= stream.sent - 20
        yield arrived("live_all", list(stream.add()))

    context = Context(spark, settings, surveys.get("ztf"))
    scenario = Scenario(steps())
    runner.watch(list(runner._begun(registry.known(settings)["distribution"], context, tmp_path / "log")), scenario)
    assert scenario.finished

    # Over all restarts: each alert, and each once.
    assert stream.on("live_all") == list(range(1, stream.sent + 1))
    assert stream.on("live_even") == list(range(2, stream.sent + 1, 2))
    costs = live.costs(settings)["filters"]
    assert costs["live_even"]["alerts"] == stream.sent
    assert costs["live_even"]["failures"] == 0
    assert costs["harmful"]["failures"] >= 20
    assert costs["harmful"]["reason"] == "ValueError: no model"
    assert costs["live_even"]["cpu_ms"] > 0

    # What `fink status` says of it.
    state = status.status(settings)
    assert state["services"]["distribution"]["in"] == stream.sent
    assert state["services"]["distribution"]["filters"]["live_even"]["off"] is None
    text = status.table(state)
    assert f"distribution: the filter harmful had no answer for {costs['harmful']['failures']} alerts: ValueError: no model\n" in text
    assert f"distribution: {folder}/live_even.py, line 1, does not import: SyntaxError: " in text
    assert "; its last good version is in use" in text
    assert " is off since " not in text
