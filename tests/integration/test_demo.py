"""fink demo as a user runs it; then something is taken away, and the proof must notice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import happybase
import pytest
from pyspark.sql import SparkSession

from fink_broker import config
from fink_broker.config import CHECKOUT, Settings
from fink_broker.connectors.hbase import SCHEMA_PREFIX, Client
from fink_broker.infra import kafka, processes
from fink_broker.monitoring.proof import Proof, prove
from fink_broker.services import archive, simulator
from fink_broker.surveys import get

pytestmark = pytest.mark.integration

ALERTS = 120


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Settings]]:
    """What a demo printed that left everything running, and its settings."""
    home = tmp_path_factory.mktemp("demo") / "a home"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FINK_") or key == "FINK_SETUP"}
    command = [sys.executable, "-m", "fink_broker.commands.demo", "--alerts", str(ALERTS), "--json", "--keep"]
    environment["FINK__HOME"] = str(home)
    ran = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=400, check=False)
    settings = config.load(str(home / "demo" / "fink.conf"), {})
    assert ran.returncode == 0, ran.stdout + ran.stderr
    yield ran.stdout, settings
    for running in reversed(processes.all_running(settings)):
        processes.stop(settings, running.name, say=lambda line: None)


def test_figures(demo: tuple[str, Settings]):
    printed, settings = demo
    figures = json.loads(printed.splitlines()[-1])
    assert figures["ok"]
    assert figures["sent"] == ALERTS
    stages = figures["stages"]
    assert (stages["stream2raw"]["in"], stages["stream2raw"]["out"], stages["stream2raw"]["rejected"]) == (ALERTS, ALERTS, 0)
    science = stages["raw2science"]
    assert science["in"] == ALERTS == science["out"] + science["cut"] + science["duplicate"]
    assert 0 < science["out"] == stages["distribution"]["in"] == stages["archive"]["in"] == figures["tables"]["ztf"]
    assert stages["distribution"]["messages"] == sum(figures["topics"].values()) > 0
    assert stages["archive"]["rows"] == sum(figures["tables"].values())
    assert figures["archive"] == {"raw": ALERTS, "science": science["out"]}
    assert set(figures["topics"]) == {f"fink_{name}_ztf" for name in settings.distribution.filters}
    assert figures["first_alert_s"] > 0
    assert 500 < figures["peak_memory_mb"] < 8000


def test_it_is_left_running(demo: tuple[str, Settings]):
    printed, settings = demo
    names = {running.name for running in processes.all_running(settings)}
    assert {"kafka", "hbase", "stream2raw", "raw2science", "distribution", "archive"} <= names
    assert str(settings.root / "fink.conf") in printed


def test_what_is_taken_away_is_missed(demo: tuple[str, Settings], spark: SparkSession):
    _, settings = demo
    survey = get("ztf")
    sent = simulator.ids(settings, simulator.tonight())
    with Client(archive.place(settings)) as client:

        def again(ids: list[int]) -> Proof:
            users = kafka.connection(settings, settings.kafka.output)
            return prove(ids, spark=spark, settings=settings, survey=survey, connection=users, client=client, say=lambda _: None)

        assert again(sent).faults == []
        key = next(key for key, _ in client.scan("ztf") if not key.startswith(SCHEMA_PREFIX))
        with closing(happybase.Connection(client.place.host, client.place.port)) as connection:
            connection.table("ztf").delete(key)
        assert again(sent).faults == [f"table ztf: 1 missing, of {again(sent).tables['ztf'] + 1}"]
        faults = again([*sent, 1]).faults
        assert f"raw: 1 missing, of {ALERTS + 1}" in faults


def test_expect():
    proof = Proof([])
    proof.expect("same", [2, 1], [1, 2])
    assert proof.faults == []
    proof.expect("x", [1, 1, 3], [1, 2])
    assert proof.faults == ["x: 1 missing, of 2", "x: 1 not expected, of 2", "x: 1 there more than once, of 2"]
