"""A service of one's own: the one that the documentation shows, known to start, show, status and stop."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from datasim import TEMPLATES
from fink_broker.commands import show, start, status, stop
from fink_broker.config import CHECKOUT, Settings, load
from fink_broker.connectors import parquet
from fink_broker.connectors.sparklog import newest
from fink_broker.infra import processes
from fink_broker.services import raw2science
from fink_broker.services.context import Context
from fink_broker.surveys import get

pytestmark = pytest.mark.integration


def documented() -> tuple[str, str]:
    """The file and its entry in the configuration, as docs/extending.md has them."""
    section = (CHECKOUT / "docs" / "extending.md").read_text(encoding="utf-8").partition("## A service")[2]
    [code] = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    entry = next(block for block in re.findall(r"```toml\n(.*?)```", section, re.DOTALL) if "[[services]]" in block)
    return code, entry


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    code, entry = documented()
    (tmp_path / "counter.py").write_text(code)
    conf = tmp_path / "my fink.conf"
    entry = entry.replace('"counter.py"', f'"{tmp_path}/counter.py"')
    conf.write_text(f'home = "{tmp_path}/home"\n{entry}')
    monkeypatch.setenv("FINK_CONF", str(conf))
    settings = load()
    yield settings
    for running in processes.all_running(settings):
        processes.stop(settings, running.name, say=lambda line: None)


def science_alerts(spark: SparkSession, settings: Settings, scratch: Path) -> int:
    """Alerts in the science folder, as raw2science leaves them."""
    context = Context(spark, settings, get("ztf"))
    schema = raw2science.schema(context)
    known = spark.read.parquet(str(TEMPLATES))
    columns = [
        f"{name}"
        if name in known.columns
        else "'20260322' as night"
        if name == "night"
        else f"cast(null as {kind.simpleString()}) as {name}"
        for name, kind in ((field.name, field.dataType) for field in schema)
    ]
    known.selectExpr(*columns).write.parquet(str(scratch / "source"))
    stream = spark.readStream.schema(spark.read.parquet(str(scratch / "source")).schema).parquet(str(scratch / "source"))
    parquet.sink(stream, settings.science, settings.checkpoint("raw2science"), ["night"]).trigger(
        availableNow=True
    ).start().awaitTermination()
    return known.count()


def until(condition: Callable[[], bool], what: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def counted(capsys: pytest.CaptureFixture[str]) -> dict:
    status.main(["--json"])
    return json.loads(capsys.readouterr().out.splitlines()[-1])["services"]


def test_start_show_status_and_stop_know_it(home: Settings, spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    alerts = science_alerts(spark, home, tmp_path)
    capsys.readouterr()
    assert start.main(["counter", "-d"]) == 0
    assert capsys.readouterr().out.startswith("counter started, pid ")
    running = processes.find(home, "counter")
    assert running is not None

    until(lambda: newest(home.checkpoint("counter") / "commits") >= 0, "no batch")
    assert show.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1 Fink service(s) running"
    assert (lines[2].split()[1], lines[2].split()[6]) == (str(running.pid), "counter")

    counter = counted(capsys)["counter"]
    assert (counter["state"], counter["pid"], counter["in"], counter["lag"], counter["ok"]) == ("running", running.pid, alerts, 0, True)
    # What it printed, per field of the sky.
    assert "field" in home.log("counter").read_text()

    assert stop.main(["counter"]) == 0
    assert capsys.readouterr().out.splitlines() == [f"stopping counter, pid {running.pid}", "counter stopped"]
    assert processes.all_running(home) == []
    counter = counted(capsys)["counter"]
    assert (counter["state"], counter["pid"], counter["in"]) == ("stopped", None, alerts)


def test_status_of_a_service_that_reads_no_folder(home: Settings, capsys: pytest.CaptureFixture[str]):
    """What a rate or Kafka source leaves in the checkpoint: its offset is a number or a map of topics."""
    for folder, text in (("offsets", "v1\n{}\n17"), ("commits", "v1\n{}")):
        (home.checkpoint("counter") / folder).mkdir(parents=True)
        (home.checkpoint("counter") / folder / "0").write_text(text)
    counter = counted(capsys)["counter"]
    assert (counter["state"], counter["ok"]) == ("stopped", True)
