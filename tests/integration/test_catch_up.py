"""After a shutdown, new alerts and a backlog at the same time: each message is taken by one of two queries, wherever the machine stops."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from fink_broker import surveys
from fink_broker.config import Settings
from fink_broker.connectors import backlog, parquet, replay
from fink_broker.connectors.sparklog import newest
from fink_broker.errors import FinkError
from fink_broker.infra.processes import Running
from fink_broker.monitoring import reach, status
from fink_broker.services import backlog as backlog_query
from fink_broker.services import handover, merge, registry, runner, stream2raw, waiting
from fink_broker.services.context import Context, RunOptions
from tests.integration.conftest import Broker, kill_tree
from tests.integration.test_evolution import alert, base, several, wait_for
from tests.integration.test_pipeline import rows
from tests.integration.test_rubin import alert as detection
from tests.integration.test_rubin import body, schema

pytestmark = pytest.mark.integration

SERVICES = ("stream2raw", "raw2science")
NIGHTS = {0: "20251231", 1: "20260101", 2: "20260102"}


def to_come(settings: Settings) -> int:
    """Messages that were left to the backlog's query and that it has not taken in yet."""
    return sum(one.size for one in reach.left(settings, newest(settings.raw_backlog / parquet.LOG)))


class KillError(Exception):
    """In place of the signal that nothing can handle."""


def killed(*_: Any, **__: Any) -> None:
    raise KillError


class Until(waiting.Stop):
    """Says when something has come about."""

    def __init__(self, done: Callable[[], bool]) -> None:
        super().__init__(seconds=120)
        self._done = done

    def wait(self, seconds: float) -> bool:
        return self._done() or super().wait(seconds)


class Home:
    """A broker whose stream2raw runs in this process, on bare records of a small schema."""

    def __init__(self, spark: SparkSession, folder: Path, kafka: str, topics: str) -> None:
        self.spark, self.folder, self.topics = spark, folder, topics
        (folder / "one.avsc").write_text(json.dumps(schema()))
        self.kafka = Broker(folder, kafka)
        self.sent = 0

    def context(self, catch_up: str = "both", *, once: bool = False) -> Context:
        ends = {"servers": self.kafka.kafka, "topics": self.topics, "form": "schemaless", "schemas": str(self.folder / "one.avsc")}
        some = {"catch_up": catch_up, "max_alerts_per_trigger": 8, "trigger_seconds": 0.2}
        values = {"home": str(self.folder / "home"), "survey": "rubin", "kafka": {"input": ends}, "stream2raw": some}
        return Context(self.spark, Settings.model_validate(values), surveys.get("rubin"), RunOptions(once=once))

    def send(self, count: int, topic: str = "") -> None:
        """Alerts of three nights."""
        numbers = range(self.sent + 1, self.sent + count + 1)
        values = [body(schema(), detection(number, midpointMjdTai=61041.25 + number % 3)) for number in numbers]
        self.kafka.send(topic or self.topics, values)
        self.sent += count

    def run(self, context: Context, done: Callable[[], bool] | None = None) -> None:
        """Run stream2raw until it ends, or something has come about."""
        watched = list(runner._begun(registry.known(context.settings)["stream2raw"], context, self.folder / "log"))
        runner.watch(watched, Until(done or (lambda: False)))

    def intake(self, settings: Settings) -> dict[str, Any]:
        """What `fink status` says; all that was sent has been taken in or is to come."""
        service: dict[str, Any] = status.status(settings)["services"]["stream2raw"]
        assert service["ok"], service
        assert service["in"] + service["lag"] == self.sent, service
        return service

    def accounts(self, settings: Settings) -> list[dict[str, Any]]:
        """Those of the nights, in which nothing is unexplained."""
        states = [status.status(settings, night) for night in NIGHTS.values()]
        assert [state["account"]["faults"] for state in states] == [[], [], []]
        return [state["account"] for state in states]


@pytest.fixture
def home(spark: SparkSession, tmp_path: Path, kafka_server: Running, request: pytest.FixtureRequest) -> Home:
    assert kafka_server.address is not None
    return Home(spark, tmp_path, kafka_server.address, f"lsst_{request.node.name}")


def test_each_offset_belongs_to_one_query_wherever_it_stops(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = home.context().settings
    home.kafka.send(home.topics, [b"junk"])
    home.sent += 1
    home.send(5)
    home.run(home.context(once=True))
    # What one batch can take is no backlog.
    home.send(4)
    home.run(home.context(), lambda: len(rows(settings.raw)) == 10)
    assert backlog.pieces(settings.backlog) == []

    # In the middle of a batch: Spark has planned it, and nothing of it was written.
    home.send(30)
    raw = stream2raw.raw
    with monkeypatch.context() as stopped:
        stopped.setattr(stream2raw, "raw", lambda context, messages, slow: raw(context, dying(messages), slow=slow))
        query = stream2raw._start(home.context(once=True), slow=False)
        with pytest.raises(StreamingQueryException):
            query.awaitTermination()
    assert home.intake(settings)["in"] == 10
    # What goes through again does so while a backlog is passed over too.
    replay.offer(settings.replay, replay.rejected(settings.raws, settings.replay))
    # Before anything was passed over; after it; while it is written down. What has begun is finished, whatever the configuration says now.
    for where, what, catch_up in ((stream2raw, "_pass_over", "both"), (handover, "between", "oldest"), (backlog.os, "utime", "oldest")):
        with monkeypatch.context() as stopped:
            stopped.setattr(where, what, killed)
            with pytest.raises(KillError):
                stream2raw.start(home.context(catch_up))
        assert backlog.opened(settings.backlog) is not None
        assert home.intake(settings)["in"] == 10
        home.send(3)
    # In a batch of the backlog, with its alerts written; then with nothing written.
    for where, what in ((backlog_query.gaps, "note"), (backlog_query.filesink, "add")):
        with monkeypatch.context() as stopped:
            stopped.setattr(where, what, killed)
            with pytest.raises(FinkError, match="KillError"):
                home.run(home.context("oldest"))
        assert home.intake(settings)["backlog"] > 0
    # A second shutdown, with the first backlog not drained yet.
    left = to_come(settings)
    home.send(20)
    seen = list[int]()
    home.run(home.context(), lambda: seen.append(to_come(settings)) or seen[-1] < left)
    assert seen[0] > left
    home.accounts(settings)
    assert home.intake(settings)["backlog"] > 0
    home.send(2)
    home.run(home.context("oldest", once=True))

    state = home.intake(settings)
    assert (state["in"], state["out"], state["lag"], state["lost"], state["backlog"]) == (home.sent, home.sent - 1, 0, 0, 0)
    found = {folder: rows(folder) for folder in settings.raws}
    taken = Counter((row["partition"], row["offset"], row["status"]) for folder in settings.raws for row in found[folder])
    assert taken.pop((0, 0, "rejected")) == 2
    assert set(taken.values()) == {1}
    alerts = {row["diaSourceId"]: row["night"] for folder in settings.raws for row in found[folder] if row["status"] == "ok"}
    assert alerts == {number: NIGHTS[number % 3] for number in range(2, home.sent + 1)}
    assert min(len(found[folder]) for folder in settings.raws) > 10
    assert len(list(settings.backlog.iterdir())) == 2
    merged = merge.merge(home.spark, settings, surveys.get("rubin"), NIGHTS[1])
    assert merged["raw"] == sum(night == NIGHTS[1] for night in alerts.values())


def dying(messages: DataFrame) -> DataFrame:
    return messages.where(F.raise_error(F.lit("killed")).cast("boolean"))


def test_new_alerts_do_not_wait_for_a_backlog_of_several_nights(broker: Callable[[str], Broker], templates: list[dict[str, Any]]) -> None:
    one, topic, sent = broker("returning broker"), "ztf_returning", list[int]()

    def configure(catch_up: str) -> None:
        some = f'[stream2raw]\ncatch_up = "{catch_up}"\nmax_alerts_per_trigger = 6\ntrigger_seconds = 0.2\n'
        one.configure(topic, some + "[raw2science]\nmodules = []\nbacklog_files_per_trigger = 100\n")

    def send(count: int) -> list[int]:
        new = list(range(len(sent) + 1, len(sent) + count + 1))
        one.send(topic, [several(base(), [alert(templates[0], number, jd=2461122.01 + number % 3)]) for number in new])
        sent.extend(new)
        return new

    def ids(folder: Path) -> set[int]:
        return {row["candid"] for row in rows(folder)}

    def new_ones_are_there() -> bool:
        if newest(settings.raw_backlog / parquet.LOG) >= 0 and not new:
            new.extend(send(6))
        return bool(new) and ids(settings.raw) == set(new)

    configure("both")
    settings, new = one.settings, list[int]()
    send(48)
    process = one.open("start", "stream2raw")
    try:
        wait_for(lambda: process.poll() is not None or new_ones_are_there(), 300)
        assert process.poll() is None, process.communicate()
    finally:
        kill_tree(process.pid)
        process.communicate()
    assert 0 < to_come(settings) < 48
    send(10)
    configure("oldest")
    one.run("start", *SERVICES, "--once", seconds=300)

    found = [row for folder in settings.raws for row in rows(folder)]
    assert sorted(row["candid"] for row in found) == sent
    assert len({(row["partition"], row["offset"]) for row in found}) == len(sent)
    science = {row["candid"]: row["night"] for row in rows(settings.science)}
    assert sorted(row["candid"] for row in rows(settings.science)) == sent
    assert science == {number: f"{20260322 + number % 3}" for number in sent}
    state = one.status()
    intake, following = (state["services"][name] for name in SERVICES)
    assert (state["ok"], intake["in"], intake["out"], intake["lag"], intake["lost"]) == (True, len(sent), len(sent), 0, 0)
    assert (following["in"], following["out"], following["lag"]) == (len(sent), len(sent), 0)
