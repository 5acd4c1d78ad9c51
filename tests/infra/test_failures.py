"""What is kept of services that have failed."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from fink_broker.config import Settings
from fink_broker.infra import failures, processes
from fink_broker.infra.detach import detach


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def test_a_failure_is_kept_until_the_service_runs_again(settings: Settings) -> None:
    assert failures.find(settings, "archive") is None
    failures.note(settings, "archive", "HBase did\n  not answer")
    found = failures.find(settings, "archive")
    assert found is not None
    assert found.reason == "HBase did not answer"
    processes.register(settings, "archive")
    assert failures.find(settings, "archive") is None
    assert [one.name for one in processes.all_running(settings)] == ["archive"]


def test_a_killed_process_is_a_failure(settings: Settings) -> None:
    pid = detach([sys.executable, "-c", "import time; time.sleep(60)"], settings.log("archive"))
    running = processes.register(settings, "archive", pid=pid)
    assert processes.find(settings, "archive") == running
    process = psutil.Process(pid)
    process.kill()
    process.wait()
    assert processes.find(settings, "archive") is None
    found = failures.find(settings, "archive")
    assert found is not None
    assert str(pid) in found.reason


def test_what_is_stopped_has_not_failed(settings: Settings) -> None:
    pid = detach([sys.executable, "-c", "import time; time.sleep(60)"], settings.log("archive"))
    processes.register(settings, "archive", pid=pid)
    assert processes.stop(settings, "archive", say=lambda line: None)
    assert failures.find(settings, "archive") is None
    failures.note(settings, "archive", "no matter what")
    assert not processes.stop(settings, "archive", say=lambda line: None)
    assert failures.find(settings, "archive") is None
