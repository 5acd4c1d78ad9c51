"""The last error of a service."""

from __future__ import annotations

from pathlib import Path

from fink_broker.config import Settings
from fink_broker.infra.failures import Failure
from fink_broker.monitoring.faults import Fault, last

LOG = """2026-03-22T04:00:00.000Z INFO fink: started
2026-03-22T04:00:01.500Z ERROR MicroBatchExecution: Query archive terminated with error
java.lang.RuntimeException: 2026-03-22T09:00:00.000Z ERROR in a trace
2026-03-22T04:00:02.000Z WARN x: ERROR is a word here
"""


def test_the_last_error_is_the_newest_of_log_and_note(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert last(settings, "archive", None) is None
    settings.log("archive").parent.mkdir()
    settings.log("archive").write_text(LOG)
    logged = Fault(1774152001.5, "MicroBatchExecution: Query archive terminated with error")
    assert last(settings, "archive", None) == logged
    assert last(settings, "archive", Failure(logged.when - 1, "before")) == logged
    assert last(settings, "archive", Failure(logged.when + 1, "the disk is full")) == Fault(logged.when + 1, "the disk is full")
