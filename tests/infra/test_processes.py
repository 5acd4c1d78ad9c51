"""Pid files name the right process, and only that one is ever signalled."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from fink_broker.config import Settings
from fink_broker.errors import FinkError
from fink_broker.infra import processes
from fink_broker.infra.detach import detach

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "a home")


@pytest.fixture
def spawn(home: Settings) -> Iterator[Callable[[str], int]]:
    """Start a Python program detached; all of them are killed at the end."""
    pids: list[int] = []

    def start(program: str = "import time; time.sleep(60)") -> int:
        pids.append(detach([sys.executable, "-c", program], home.log("program")))
        until(lambda: psutil.Process(pids[-1]).cmdline(), "it has become that program")
        return pids[-1]

    yield start
    for pid in pids:
        if psutil.pid_exists(pid):
            os.kill(pid, signal.SIGKILL)
            psutil.Process(pid).wait(10)


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_registered_process_is_found_with_all_that_was_said_about_it(home: Settings, spawn: Callable[..., int]) -> None:
    pid = spawn()
    processes.register(home, "kafka", address="127.0.0.1:9092", pid=pid)
    running = processes.find(home, "kafka")
    assert running is not None
    assert (running.name, running.pid, running.address, running.part_of) == ("kafka", pid, "127.0.0.1:9092", None)
    assert running.create_time == psutil.Process(pid).create_time()
    assert running.argv[:2] == [sys.executable, "-c"]
    assert abs(running.started - time.time()) < 5
    assert [path.name for path in home.run.iterdir()] == ["kafka.json"], "no drafts stay behind"


def test_this_process_is_the_default(home: Settings) -> None:
    assert processes.register(home, "archive").pid == os.getpid()


def test_registering_again_updates_the_address(home: Settings) -> None:
    processes.register(home, "dashboard")
    processes.register(home, "dashboard", address="127.0.0.1:5000")
    running = processes.find(home, "dashboard")
    assert running is not None
    assert running.address == "127.0.0.1:5000"


def test_a_name_that_runs_in_another_process_is_refused(home: Settings, spawn: Callable[..., int]) -> None:
    pid = spawn()
    processes.register(home, "archive", pid=pid)
    with pytest.raises(FinkError, match=f"archive runs already, pid {pid}: fink stop archive"):
        processes.register(home, "archive")


def test_a_process_that_has_ended_is_not_registered(home: Settings, spawn: Callable[..., int]) -> None:
    pid = spawn("")
    psutil.Process(pid).wait(10)
    with pytest.raises(FinkError, match=r"has ended; the log is .*/log/archive\.log"):
        processes.register(home, "archive", pid=pid)


def test_stale_pid_file_is_cleaned_up(home: Settings, spawn: Callable[..., int]) -> None:
    pid = spawn()
    processes.register(home, "archive", pid=pid)
    os.kill(pid, signal.SIGKILL)
    until(lambda: processes.find(home, "archive") is None, "a zombie counts as running")
    assert list(home.run.glob("*.json")) == []


def test_a_pid_that_belongs_to_someone_else_now_is_not_signalled(home: Settings, spawn: Callable[..., int]) -> None:
    pid = spawn()
    processes.register(home, "archive", pid=pid)
    file = home.run / "archive.json"
    values = json.loads(file.read_text())
    file.write_text(json.dumps(values | {"create_time": values["create_time"] - 100}))
    said: list[str] = []
    assert processes.stop(home, "archive", say=said.append) is False
    assert said == ["archive is not running"]
    assert psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    assert not file.exists()


def test_a_broken_pid_file_is_named(home: Settings) -> None:
    home.run.mkdir(parents=True)
    (home.run / "archive.json").write_text("{}")
    with pytest.raises(FinkError, match=r"archive\.json is not a pid file: remove it"):
        processes.find(home, "archive")


def test_stop_waits_for_the_end(home: Settings, spawn: Callable[..., int]) -> None:
    pid = spawn()
    processes.register(home, "archive", pid=pid)
    said: list[str] = []
    assert processes.stop(home, "archive", say=said.append) is True
    assert not psutil.pid_exists(pid)
    assert said == [f"stopping archive, pid {pid}", "archive stopped"]
    assert processes.all_running(home) == []


def test_services_in_one_process_end_together_and_it_is_said(home: Settings, spawn: Callable[..., int]) -> None:
    pid = spawn()
    for name in ("stream2raw", "archive"):
        processes.register(home, name, pid=pid)
    said: list[str] = []
    processes.stop(home, "archive", say=said.append)
    assert said == [f"stopping stream2raw, archive (one process), pid {pid}", "stream2raw, archive stopped"]
    assert processes.all_running(home) == []


def test_parts_end_before_what_they_belong_to(home: Settings, spawn: Callable[..., int]) -> None:
    processes.register(home, "hbase", pid=spawn())
    processes.register(home, "hbase-thrift", pid=spawn(), part_of="hbase")
    said: list[str] = []
    processes.stop(home, "hbase", say=said.append)
    assert [line for line in said if line.endswith("stopped")] == ["hbase-thrift stopped", "hbase stopped"]


def test_what_does_not_end_is_killed_with_its_children(home: Settings, spawn: Callable[..., int]) -> None:
    pid = spawn(STUBBORN)
    until(lambda: home.log("program").read_text().strip(), "the program did not start")
    child = int(home.log("program").read_text())
    processes.register(home, "archive", pid=pid)
    said: list[str] = []
    processes.stop(home, "archive", timeout=0.3, say=said.append)
    assert said[-1] == "archive did not end within 0.3 s: killed"
    assert not psutil.pid_exists(pid)
    until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE, "the child lives")


def test_running_ones_are_listed_in_the_order_of_their_start(home: Settings) -> None:
    assert processes.all_running(home) == []
    for name in ("stream2raw", "archive"):
        processes.register(home, name)
    assert [running.name for running in processes.all_running(home)] == ["stream2raw", "archive"]
    processes.unregister(home, "stream2raw")
    processes.unregister(home, "stream2raw")
    assert [running.name for running in processes.all_running(home)] == ["archive"]


def test_detached_program_has_its_own_session_no_input_and_one_log(home: Settings, spawn: Callable[..., int]) -> None:
    home.log("program").parent.mkdir(parents=True)
    home.log("program").write_text("before\n")
    pid = spawn(
        "import os, signal, sys; print(os.getsid(0) == os.getpid(), repr(sys.stdin.read()), flush=True);"
        "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, file=sys.stderr)"
    )
    psutil.Process(pid).wait(10)
    assert home.log("program").read_text().splitlines() == ["before", "True ''", "True"]


def test_detached_program_gets_the_environment(home: Settings) -> None:
    pid = detach(["sh", "-c", "echo $FINK_TEST"], home.log("program"), env={"FINK_TEST": "7", "PATH": os.environ["PATH"]})
    psutil.Process(pid).wait(10)
    assert home.log("program").read_text() == "7\n"


def test_detached_server_gets_no_password(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINK_KAFKA__INPUT__PASSWORD", "hunter2")
    monkeypatch.setenv("FINK_KAFKA__INPUT__USERNAME", "me")
    pid = detach(["sh", "-c", "echo $FINK_KAFKA__INPUT__PASSWORD $FINK_KAFKA__INPUT__USERNAME"], home.log("program"))
    psutil.Process(pid).wait(10)
    assert home.log("program").read_text() == "me\n"


def test_program_that_is_not_there(home: Settings) -> None:
    with pytest.raises(FinkError, match="cannot start /nowhere/java: No such file"):
        detach(["/nowhere/java"], home.log("program"))


def test_start_lock_lets_one_in_at_a_time(home: Settings) -> None:
    inside: list[int] = []
    most: list[int] = []

    def enter() -> None:
        with processes.start_lock(home, "kafka"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1, 1]


def test_start_lock_gives_up(home: Settings) -> None:
    with processes.start_lock(home, "kafka"):
        with processes.start_lock(home, "hbase"):
            pass
        with pytest.raises(FinkError, match="another command has been starting kafka"), processes.start_lock(home, "kafka", timeout=0.1):
            pass


def test_usage_counts_the_whole_tree() -> None:
    program = (
        "import subprocess, sys, time\n"
        "burn = 'import time\\nwhile time.process_time() < 0.5: pass\\n'\n"
        "subprocess.run([sys.executable, '-c', burn])\n"
        "kept = subprocess.Popen([sys.executable, '-c', burn + 'print(1, flush=True); time.sleep(60)'])\n"
        "kept.wait()"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert parent.stdout is not None
        parent.stdout.readline()
        usage = processes.tree_usage(parent.pid)
        assert 0.9 < usage.cpu_s < 5, "the child that ended and the one that lives"
        alone = psutil.Process(parent.pid).memory_info().rss
        assert alone * 1.3 < usage.rss < alone * 10
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        parent.wait()
        assert parent.stdout is not None
        parent.stdout.close()
    with pytest.raises(psutil.NoSuchProcess):
        processes.tree_usage(parent.pid)
