"""fink start: arguments, tasks, and starting in the background. What services do is in tests/services/test_runner.py."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from fink_broker import config
from fink_broker.commands import start
from fink_broker.config import Settings
from fink_broker.errors import ConfigError, FinkError, UsageError
from fink_broker.infra import ports, processes
from fink_broker.services import notify, simulator, waiting
from fink_broker.services.context import RunOptions


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    conf = tmp_path / "my fink.conf"
    conf.write_text(f'home = "{tmp_path}/home"\n[wait]\nseconds = 60\n')
    monkeypatch.setenv("FINK_CONF", str(conf))
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    settings = config.load()
    yield settings
    for running in processes.all_running(settings):
        processes.stop(settings, running.name, timeout=30, say=lambda line: None)
    root.handlers, root.level = handlers, level


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "required: SERVICE"),
        (["archive", "--nite", "20260322"], "unrecognized arguments: --nite"),
        (["archive", "--night", "2026-03-22"], "'2026-03-22' is not a night"),
        (["archive", "--night", "20260230"], "'20260230' is not a night"),
        (["archive", "--exit-after", "soon"], "invalid float value: 'soon'"),
        (["hbase", "archive", "--secure"], "--secure is for kafka: fink start kafka --secure"),
        (["archiv"], "unknown service 'archiv'; did you mean 'archive'?"),
    ],
)
def test_wrong_usage_is_one_line(home: Settings, argv: list[str], message: str):
    with pytest.raises(UsageError) as raised:
        start.main(argv)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not home.run.exists()


def test_an_unknown_survey_is_said_before_anything_starts(home: Settings):
    with pytest.raises(ConfigError, match="unknown survey 'sdss'; known: rubin, ztf"):
        start.main(["raw2science", "-s", "sdss"])
    assert processes.all_running(home) == []


def test_a_task_runs_with_its_night_under_a_pid_file_and_gives_its_exit_code(home: Settings, monkeypatch: pytest.MonkeyPatch):
    seen = []

    def run(settings: Settings, night: str | None) -> int:
        seen.append((night, [one.name for one in processes.all_running(settings)]))
        return 7

    monkeypatch.setattr(simulator, "run", run)
    # What comes after a task that failed is not started.
    assert start.main(["simulator", "archive", "--night", "20260322"]) == 7
    assert seen == [("20260322", ["simulator"])]
    assert processes.all_running(home) == []


def test_in_the_background_until_it_is_stopped(home: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Without HBase the archive waits: a process that lives, and that ends when asked to."""
    monkeypatch.setattr(start, "_PATIENCE_S", 0.0)
    assert start.main(["archive", "-d", "--once"]) == 0
    running = processes.find(home, "archive")
    assert running is not None
    assert running.doing == "waits for hbase"
    said = f"archive waits for hbase, pid {running.pid}; fink status says whether it runs; log: {home.log('archive')}\n"
    assert capsys.readouterr().out == said
    assert running.argv[-2:] == ["archive", "--once"]
    with pytest.raises(FinkError, match=f"archive runs already, pid {running.pid}: fink stop archive"):
        start.main(["archive", "-d"])
    assert processes.stop(home, "archive", timeout=30, say=lambda line: None)
    assert processes.all_running(home) == []


def test_a_service_that_dies_at_once_is_not_said_to_have_started(home: Settings, monkeypatch: pytest.MonkeyPatch):
    """Nobody answers there, and it does not wait long."""
    monkeypatch.setenv("FINK_HBASE__THRIFT", f"127.0.0.1:{ports.free()}")
    monkeypatch.setenv("FINK_WAIT__SECONDS", "0.5")
    with pytest.raises(FinkError, match=r"archive did not start: HBase at .* did not answer within 0\.5 s"):
        start.main(["archive", "-d"])
    assert processes.all_running(home) == []


def test_what_is_wrong_with_an_own_file_is_said_before_it_detaches(home: Settings, tmp_path: Path):
    conf = tmp_path / "own.conf"
    (tmp_path / "mine.py").write_text("raise ValueError('not today')\n")
    conf.write_text(f'home = "{home.root}"\n[[services]]\nname = "mine"\nfile = "{tmp_path}/mine.py"\n')
    with pytest.raises(FinkError, match=r"mine\.py, line 1, does not import: ValueError: not today"):
        start.main(["mine", "-d", "-c", str(conf)])
    assert processes.all_running(home) == []


def test_what_has_no_spark_starts_on_its_own(home: Settings):
    with pytest.raises(UsageError, match="notify is no part of a Spark application: fink start notify, on its own"):
        start.main(["distribution", "notify"])
    with pytest.raises(ConfigError, match=r"there is nobody to notify: \[\[outlets\]\]"):
        notify.run(home, RunOptions(), waiting.Stop())


def test_services_that_share_a_process_log_where_spark_does(home: Settings):
    entries = [start.registry.known(home)[name] for name in ("simulator", "stream2raw", "archive")]
    assert start._log(entries, home) == home.log("stream2raw")
    assert start._log(entries[:1], home) == home.log("simulator")
