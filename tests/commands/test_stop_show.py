"""fink stop and fink show, on harmless processes with the names of services."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from fink_broker.commands import run, show, stop
from fink_broker.config import Settings
from fink_broker.errors import ServerUnavailable, UsageError
from fink_broker.infra import processes
from fink_broker.infra.detach import detach


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    conf = tmp_path / "fink.conf"
    conf.write_text(f'home = "{tmp_path}/home"\n')
    monkeypatch.setenv("FINK_CONF", str(conf))
    return Settings(home=tmp_path / "home")


@pytest.fixture
def pretend(home: Settings) -> Iterator[Callable[..., int]]:
    """Register one new process under all the names."""
    pids: list[int] = []

    def start(*names: str, address: str | None = None, part_of: str | None = None) -> int:
        pids.append(detach([sys.executable, "-c", "import time; time.sleep(60)"], home.log("pretended")))
        for name in names:
            processes.register(home, name, address, pids[-1], part_of)
        return pids[-1]

    yield start
    for pid in pids:
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)
            psutil.Process(pid).wait(10)


def names(home: Settings) -> list[str]:
    return [one.name for one in processes.all_running(home)]


def test_stop_one_leaves_the_others(home: Settings, pretend: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    pretend("archive")
    pid = pretend("distribution")
    assert stop.main(["distribution"]) == 0
    assert names(home) == ["archive"]
    assert capsys.readouterr().out.splitlines() == [f"stopping distribution, pid {pid}", "distribution stopped"]


def test_stop_services_leaves_the_servers(home: Settings, pretend: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    pretend("kafka", address="127.0.0.1:9092")
    pretend("hbase")
    pretend("hbase-thrift", part_of="hbase")
    pid = pretend("stream2raw", "raw2science")
    assert stop.main(["services"]) == 0
    assert names(home) == ["kafka", "hbase", "hbase-thrift"]
    assert capsys.readouterr().out.splitlines() == [
        f"stopping stream2raw, raw2science (one process), pid {pid}",
        "stream2raw, raw2science stopped",
    ]


def test_stop_all_ends_services_first_and_helpers_before_their_server(
    home: Settings, pretend: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    pretend("hbase")
    pretend("hbase-thrift", part_of="hbase")
    pretend("archive")
    pretend("distribution")
    assert stop.main(["all"]) == 0
    assert names(home) == []
    stopped = [line for line in capsys.readouterr().out.splitlines() if line.endswith(" stopped")]
    assert set(stopped[:2]) == {"archive stopped", "distribution stopped"}
    assert stopped[2:] == ["hbase-thrift stopped", "hbase stopped"]


def test_what_does_not_run_is_said_to_be_not_running(home: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert stop.main(["archive"]) == 0
    assert stop.main(["all"]) == 0
    assert capsys.readouterr().out.splitlines() == ["archive is not running", "nothing to stop"]


def test_unknown_service_lists_the_known_ones_and_stops_nothing(home: Settings, pretend: Callable[..., int]) -> None:
    pretend("archive")
    with pytest.raises(UsageError) as raised:
        stop.main(["archive", "archiv"])
    message = str(raised.value)
    assert message.startswith("unknown service 'archiv'; known: ")
    for name in ("archive", "distribution", "hbase", "kafka", "raw2science", "stream2raw", "services", "all"):
        assert name in message
    assert raised.value.exit_code == 2
    assert names(home) == ["archive"]


def test_a_running_service_that_is_no_longer_configured_can_be_stopped(home: Settings, pretend: Callable[..., int]) -> None:
    pretend("once_configured")
    assert stop.main(["once_configured"]) == 0
    assert names(home) == []


def test_show_prints_a_table_and_the_two_hints(home: Settings, pretend: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    server = pretend("hbase", address="127.0.0.1:9090")
    helper = pretend("hbase-thrift", part_of="hbase")
    shared = pretend("stream2raw", "archive")
    assert show.main([]) == 0
    first, header, *rows, hint, other = capsys.readouterr().out.splitlines()
    assert first == "3 Fink service(s) running"
    assert header.split() == ["USER", "PID", "%CPU", "%MEM", "STARTED", "TIME", "SERVICE", "ADDRESS"]
    cells = [row.split() for row in rows]
    assert [(int(row[1]), row[6], row[7]) for row in cells] == [
        (server, "hbase", "127.0.0.1:9090"),
        (helper, "hbase-thrift", "-"),
        (shared, "stream2raw", "-"),
        (shared, "archive", "-"),
    ]
    for user, _, cpu, memory, started, spent, *_ in cells:
        assert user == psutil.Process().username()
        assert 0 <= float(cpu) < 400
        assert 0 <= float(memory) < 5
        assert re.fullmatch(r"\d\d:\d\d", started)
        assert re.fullmatch(r"\d+:\d\d", spent)
    assert hint == "Use <fink stop service_name> to stop a service."
    assert other == "Use <fink start dashboard> to start the dashboard or check its status."


def test_show_of_an_empty_home(home: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert show.main([]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "0 Fink service(s) running",
        "Use <fink stop service_name> to stop a service.",
        "Use <fink start dashboard> to start the dashboard or check its status.",
    ]


def test_errors_for_the_user_are_one_line_and_an_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(argv: list[str]) -> int:
        raise ServerUnavailable("Kafka is not running on this machine: fink start kafka")

    with pytest.raises(SystemExit) as ended:
        run(fail)
    assert ended.value.code == 3
    assert capsys.readouterr().err == "fink: Kafka is not running on this machine: fink start kafka\n"


def test_interrupt_and_success_have_their_exit_codes() -> None:
    def interrupt(argv: list[str]) -> int:
        raise KeyboardInterrupt

    for main, code in ((interrupt, 130), (lambda argv: 4, 4)):
        with pytest.raises(SystemExit) as ended:
            run(main)
        assert ended.value.code == code


def test_a_reader_that_goes_away_is_no_error() -> None:
    program = "from fink_broker.commands import run\ndef main(argv):\n  while True: print('x' * 1000)\nrun(main)"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(20) == 141
    assert process.stderr.read() == b""
    process.stderr.close()
