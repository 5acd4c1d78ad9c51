"""Filters that come, change, break and go while the stream runs: the others lose nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from fink_broker import surveys
from fink_broker.commands import filter as command
from fink_broker.commands import status_text
from fink_broker.config import Settings
from fink_broker.connectors import kafka, parquet
from fink_broker.infra.kafka import connection
from fink_broker.infra.processes import Running
from fink_broker.monitoring import filters
from fink_broker.services import registry, runner, waiting
from fink_broker.services.context import Context

pytestmark = pytest.mark.integration

HARM = "def harmful(magpsf):\n    raise ValueError('no model')\n"
ALERT = (
    "candid long, objectId string, candidate struct<jd: double, magpsf: double, programid: int>, prv_candidates array<struct<jd: double>>, "
    "night string"
)


class Scenario(waiting.Stop):
    """Goes on to its next step whenever what the last one waits for has come about; ends after the last one."""

    def __init__(self, steps: Iterator[Callable[[], bool]]) -> None:
        super().__init__(seconds=300)
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
        rows = [(number, f"ZTF{number}", (2461122.0, 10.0 + number, 1), [], "20260322") for number in new]
        self._spark.createDataFrame(rows, ALERT).coalesce(1).write.mode("append").parquet(str(source))
        alerts = self._spark.readStream.schema(ALERT).parquet(str(source))
        sink = parquet.sink(alerts, self._settings.science, self._settings.checkpoint("raw2science"), ["night"])
        sink.trigger(availableNow=True).start().awaitTermination()
        self.sent = new[-1]
        return new

    def count(self, name: str) -> int:
        """Messages on a filter's topic; 0 if there is none."""
        users = connection(self._settings, self._settings.kafka.output)
        topic = f"fink_{name}_ztf"
        return kafka.message_counts(users, [topic])[topic] if kafka.partitions(users, topic) else 0

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
    users = connection(settings, settings.kafka.output)
    folder.mkdir(parents=True)
    (folder / "live_even.py").write_text("def live_even(candid):\n    return candid % 2 == 0\n")

    def arrived(name: str, number: int) -> Callable[[], bool]:
        return lambda: stream.count(name) >= number

    def steps() -> Iterator[Callable[[], bool]]:
        stream.add()
        yield arrived("live_even", 5)
        # A new one, in SQL, which names another.
        (folder / "mine.toml").write_text('live_odd = "candid % 2 = 1 and live_all"\n')
        yield lambda: filters.costs(settings)["faults"] == {} and bool(kafka.partitions(users, "fink_live_odd_ztf"))
        stream.add()
        yield arrived("live_odd", 5)
        # One that breaks, and one that raises for all, which is switched off after two batches.
        (folder / "live_even.py").write_text("def live_even(candid:\n")
        (folder / "harmful.py").write_text(HARM)
        yield lambda: bool(filters.costs(settings)["faults"]) and bool(kafka.partitions(users, "fink_harmful_ztf"))
        for _ in range(2):
            stream.add()
            yield arrived("live_all", stream.sent)
        yield lambda: "harmful" in filters.switched_off(settings)
        # Mended and on again; another one goes.
        (folder / "harmful.py").write_text(HARM.replace("raise ValueError('no model')", "return magpsf > 0"))
        (folder / "mine.toml").unlink()
        assert command.main(["enable", "harmful", "-c", str(conf)]) == 0
        yield lambda: stream.count("harmful") > 0 or not stream.add()
        before = stream.count("live_odd")
        stream.add()
        yield arrived("live_all", stream.sent)
        assert stream.count("live_odd") == before

    context = Context(spark, settings, surveys.get("ztf"))
    scenario = Scenario(steps())
    runner.watch(list(runner._begun(registry.known(settings)["distribution"], context, tmp_path / "log")), scenario)
    assert scenario.finished

    # Over all restarts: each alert, and each once.
    assert stream.on("live_all") == list(range(1, stream.sent + 1))
    assert stream.on("live_even") == list(range(2, stream.sent + 1, 2))
    costs = filters.costs(settings)["filters"]
    assert costs["live_even"]["alerts"] == stream.sent
    assert costs["live_even"]["failures"] == 0
    assert costs["harmful"]["failures"] >= 20
    assert costs["harmful"]["reason"] == "ValueError: no model"
    assert costs["live_even"]["cpu_ms"] > 0

    # What `fink status` says of it.
    said = filters.state(settings)
    assert said["filters"]["live_even"]["off"] is None
    text = "\n".join(status_text._of_filters(**said))
    assert f"the filter harmful had no answer for {costs['harmful']['failures']} alerts: ValueError: no model\n" in text
    assert f"{folder}/live_even.py, line 1, does not import: SyntaxError: " in text
    assert text.endswith("; its last good version is in use")
    assert " is off since " not in text
