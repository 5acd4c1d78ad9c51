"""Set-up: lock files, checks of what was fetched, interruptions, two at once; nothing is downloaded."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from fink_broker.errors import FinkError
from fink_broker.infra import jars, setup, setup_steps
from fink_broker.infra.jars import Jar
from fink_broker.infra.setup import Setup

CHECKOUT = Path(__file__).resolve().parents[2]


def content(jar: Jar) -> bytes:
    """What a mirror of these tests holds for a jar."""
    return f"jar {jar.org} {jar.name} {jar.rev}".encode()


def a_jar(name: str, class_path: str = "kafka", rev: str = "1.0") -> Jar:
    jar = Jar(class_path, "org.example", name, rev, "")
    return Jar(class_path, "org.example", name, rev, hashlib.sha256(content(jar)).hexdigest())


JARS = [a_jar("a", "spark"), *(a_jar(name) for name in "bcdefg"), a_jar("b", "hbase", "2.0")]
ARCHIVE = a_jar("r", "registry", "3.0.9")


class Ivy:
    """In place of Ivy: what its module names is put where it is to be retrieved."""

    def __init__(self, change: Callable[[Jar], bytes | None] = content) -> None:
        self.asked: list[str] = []
        self._change = change

    def __call__(self, command: list[str]) -> int:
        module = ET.parse(command[command.index("-ivy") + 1])
        pattern = command[command.index("-retrieve") + 1]
        code = 0
        for dependency in module.iter("dependency"):
            class_path, arrow, conf = dependency.attrib["conf"].partition("->")
            assert (arrow, conf, dependency.attrib["transitive"]) == ("->", "default", "false")
            jar = Jar(class_path, dependency.attrib["org"], dependency.attrib["name"], dependency.attrib["rev"], "")
            self.asked.append(f"{class_path}/{jar.name}")
            place = Path(
                pattern.replace("[conf]", class_path).replace("[artifact]", jar.name).replace("[revision]", jar.rev).replace("[ext]", "jar")
            )
            data = self._change(jar)
            if data is None:
                code = 1
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        return code


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A FINK_SETUP whose environment is the one of these tests."""
    monkeypatch.setenv("FINK_SETUP", str(tmp_path))
    monkeypatch.delenv("FINK_MAVEN", raising=False)
    (tmp_path / "venv").symlink_to(sys.prefix)
    return tmp_path


def present(folder: Path) -> set[str]:
    return {f"{path.parent.name}/{path.name}" for path in folder.glob("*/*")}


def test_lock_of_the_jars_holds_what_is_wanted() -> None:
    locked = jars.read_lock()
    assert Counter(jar.class_path for jar in locked).keys() == set(jars.CLASS_PATHS)
    assert len({jar.path for jar in locked}) == len(locked)
    assert all(re.fullmatch("[0-9a-f]{64}", jar.sha256) for jar in locked)
    wanted = {
        (entry.attrib["conf"].removesuffix("->default"), entry.attrib["org"], entry.attrib["name"], entry.attrib["rev"])
        for entry in ET.parse(jars.WANTED).iter("dependency")
    }
    [registry] = jars.read_lock(of=("registry",))
    assert wanted <= {(jar.class_path, jar.org, jar.name, jar.rev) for jar in [*locked, registry]}


@pytest.mark.parametrize("name", ["requirements", "requirements-test", "requirements-fink-client"])
def test_lock_of_the_packages_holds_every_pin(name: str) -> None:
    pins = {line.strip() for line in (CHECKOUT / f"{name}.txt").read_text().splitlines() if line.strip() and not line.startswith("#")}
    locked = (CHECKOUT / f"{name}.lock").read_text()
    assert pins <= set(re.findall(r"^(\S+==\S+) \\$", locked, re.MULTILINE))
    assert all("--hash=sha256:" in entry for entry in setup._entries(locked) if "==" in entry)


@pytest.mark.parametrize("line", ["kafka org.example a 1.0", "nothing org.example a 1.0 " + 64 * "0", "kafka org.example a 1.0 00"])
def test_a_broken_lock_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "lock").write_text(f"# comment\n\nkafka org.example a 1.0 {64 * '0'}\n{line}\n")
    with pytest.raises(FinkError, match=f"^{re.escape(str(tmp_path))}/lock:4: "):
        jars.read_lock(tmp_path / "lock")


def test_fetch_brings_all_and_then_nothing(home: Path) -> None:
    ivy = Ivy()
    jars.fetch(JARS, home / "jars", home / "ivy", ivy)
    assert present(home / "jars") == {str(jar.path) for jar in JARS}
    assert all((home / "jars" / jar.path).read_bytes() == content(jar) for jar in JARS)
    assert sorted(ivy.asked) == sorted(f"{jar.class_path}/{jar.name}" for jar in JARS)
    assert not (home / "ivy").exists()
    jars.fetch(JARS, home / "jars", home / "ivy", again := Ivy())
    assert again.asked == []


def test_fetch_replaces_what_is_broken_and_removes_what_is_not_locked(home: Path) -> None:
    jars.fetch(JARS, home / "jars", home / "ivy", Ivy())
    (home / "jars" / JARS[2].path).write_bytes(b"cut off")
    (home / "jars" / JARS[3].path).unlink()
    (home / "jars" / "kafka" / "old-0.1.jar").write_bytes(b"an earlier version")
    jars.fetch(JARS, home / "jars", home / "ivy", ivy := Ivy())
    assert sorted(ivy.asked) == ["kafka/c", "kafka/d"]
    assert present(home / "jars") == {str(jar.path) for jar in JARS}
    assert (home / "jars" / JARS[2].path).read_bytes() == content(JARS[2])


def test_a_jar_with_another_sha256_is_refused(home: Path) -> None:
    with pytest.raises(FinkError, match=r"^d-1\.0\.jar is not the jar that was locked"):
        jars.fetch(JARS, home / "jars", home / "ivy", Ivy(lambda jar: content(jar) + (b"!" if jar.name == "d" else b"")))
    assert "kafka/d-1.0.jar" not in present(home / "jars")
    # Not even Ivy's cache keeps it: the next start asks for it again.
    assert not list((home / "ivy").rglob("d-1.0.jar"))
    jars.fetch(JARS, home / "jars", home / "ivy", Ivy())
    assert present(home / "jars") == {str(jar.path) for jar in JARS}


def test_a_mirror_that_lacks_a_jar_costs_only_that_one(home: Path) -> None:
    with pytest.raises(FinkError, match="Ivy could not fetch every jar"):
        jars.fetch(JARS, home / "jars", home / "ivy", Ivy(lambda jar: None if jar.name == "d" else content(jar)))
    assert present(home / "jars") == {str(jar.path) for jar in JARS} - {"kafka/d-1.0.jar"}


def real_ivy(command: list[str], log: Path) -> int:
    with log.open("ab") as file:
        return subprocess.run(command, stdout=file, stderr=file, check=False, timeout=120).returncode


def test_the_real_ivy_fetches_from_a_sites_own_mirror(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = home / "mirror & co"
    for jar in JARS:
        place = mirror / "org" / "example" / jar.name / jar.rev / f"{jar.name}-{jar.rev}.jar"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content(jar))
    monkeypatch.setenv("FINK_MAVEN", mirror.as_uri().replace("%20", " "))
    jars.fetch(JARS, home / "jars", home / "ivy", lambda command: real_ivy(command, home / "log"))
    assert present(home / "jars") == {str(jar.path) for jar in JARS}


def test_no_network_is_said_in_one_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINK_MAVEN", "http://127.0.0.1:9")
    with pytest.raises(FinkError, match="Ivy could not fetch"):
        jars.fetch(JARS[:1], home / "jars", home / "ivy", lambda command: real_ivy(command, home / "log"))
    assert setup_steps.explain(home / "log", "what").startswith("the package servers cannot be reached: check the network or the proxy")


def test_check_names_what_is_wrong(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(jars, "read_lock", lambda: JARS)
    jars.fetch(JARS, home / "jars", home / "ivy", Ivy())
    assert jars.main(["check"]) == 0
    (home / "jars" / JARS[4].path).write_bytes(b"?")
    capsys.readouterr()
    assert jars.main(["check"]) == 1
    assert capsys.readouterr().out == "missing or not as locked:\nkafka/e-1.0.jar\n"
    assert jars.main([]) == 2


def test_a_new_lock_is_made_from_what_ivy_resolved(home: Path) -> None:
    def resolve(command: list[str]) -> int:
        assert command[command.index("-ivy") + 1] == str(jars.WANTED)
        for jar in [*JARS, ARCHIVE]:
            suffix = "tar.gz" if jar is ARCHIVE else "jar"
            place = home / "work" / "lib" / jar.class_path / f"{jar.org}#{jar.name}#{jar.rev}.{suffix}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content(jar))
        return 0

    (home / "lock").write_text(jars.make_lock(home / "work", resolve))
    assert sorted(jars.read_lock(home / "lock"), key=str) == sorted(JARS, key=str)
    assert jars.read_lock(home / "lock", jars.ARCHIVES) == [ARCHIVE]


class Machine:
    """A checkout with small lock files, and runners that record instead of installing."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.checkout = folder / "checkout"
        (self.checkout / "fink_broker" / "infra").mkdir(parents=True)
        other, spark, gateway = (
            f"{name} \\\n    --hash=sha256:{number}\n" for number, name in enumerate(("other==1", "pyspark==4", "py4j==0"), 1)
        )
        self.lock("requirements.lock", f"# head\n{other}{spark}    # via nobody\n{gateway}")
        self.lock("requirements-test.lock", "pytest==9 \\\n    --hash=sha256:4\n")
        self.lock("requirements-fink-client.lock", "fink-client==12 \\\n    --hash=sha256:8\n")
        self.lock("fink_broker/infra/jars.lock", "".join(f"{j.class_path} {j.org} {j.name} {j.rev} {j.sha256}\n" for j in JARS))
        self.setup = Setup(folder / "setup", self.checkout)
        self.did: list[str] = []
        self.installed: dict[str, str] = {}
        self.fails = ""
        monkeypatch.setenv("FINK_SETUP", str(folder / "setup"))
        monkeypatch.setattr(setup, "Runner", lambda log, lock: self)
        self._ivy = Ivy()

    def lock(self, name: str, text: str) -> None:
        (self.checkout / name).write_text(text)

    def make(self, *, tests: bool = False) -> list[str]:
        """What the set-up did, in the order of names."""
        self.did.clear()
        self.setup.make(tests)
        return sorted(self.did)

    def stop(self) -> None:
        self.did.append("stop")

    def __call__(self, command: list[str]) -> int:
        what = self._name(command)
        self.did.append(what)
        if what == self.fails:
            return 1
        if what == "venv" and Path(command[-1]).name == "fink-client":
            (Path(command[-1]) / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
        elif what == "venv":
            shutil.rmtree(command[-1], ignore_errors=True)
            ivy = self.setup.folder / "venv" / "lib" / "python3.11" / "site-packages" / "pyspark" / "jars" / "ivy-2.jar"
            for file in (self.setup.python, ivy):
                file.parent.mkdir(parents=True)
                file.touch()
        elif what == "ivy":
            self._ivy(command)
        elif what not in ("compileall", "rehearsal"):
            self.installed[what] = Path(command[-1]).read_text()
        return 0

    @staticmethod
    def _name(command: list[str]) -> str:
        if "org.apache.ivy.Main" in command:
            return "ivy"
        if command[-1] == "fink_broker.services.rehearsal":
            return "rehearsal"
        return f"pip {Path(command[-1]).stem}" if command[2] == "pip" else command[2]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


ALL = ["compileall", *["ivy"] * 4, "pip packages", "pip pyspark", "rehearsal", "venv"]

CLIENT = ["pip requirements-fink-client"]


def test_a_set_up_is_made_once(machine: Machine) -> None:
    assert not machine.setup.is_ready(tests=False)
    assert machine.make() == ALL
    assert machine.setup.is_ready(tests=False)
    assert not machine.setup.is_ready(tests=True)
    assert machine.installed["pip packages"] == "other==1 \\\n    --hash=sha256:1"
    assert machine.installed["pip pyspark"] == "pyspark==4 \\\n    --hash=sha256:2\npy4j==0 \\\n    --hash=sha256:3"
    assert present(machine.setup.folder / "jars") == {str(jar.path) for jar in JARS}
    assert not (machine.setup.folder / "tmp").exists()
    assert machine.make() == []


def test_packages_of_the_tests_come_on_top(machine: Machine) -> None:
    machine.make()
    assert machine.make(tests=True) == [*CLIENT, "pip tests", "venv"]
    assert machine.installed["pip tests"] == "pytest==9 \\\n    --hash=sha256:4"
    client = machine.setup.folder / "fink-client" / "lib" / "python3.11" / "site-packages"
    assert (client / "broker.pth").read_text() == f"{machine.setup.folder}/venv/lib/python3.11/site-packages\n"
    assert machine.installed[CLIENT[0]] == "fink-client==12 \\\n    --hash=sha256:8\n"
    assert machine.make() == machine.make(tests=True) == []


def test_all_at_once_with_those_of_the_tests(machine: Machine) -> None:
    assert machine.make(tests=True) == sorted([*ALL, *CLIENT, "pip tests", "venv"])


@pytest.mark.parametrize(
    ("fails", "still_to_do"),
    [
        ("venv", ALL),
        ("pip pyspark", ["ivy", "ivy", "ivy", "ivy", "pip pyspark", "rehearsal"]),
        ("pip packages", ["compileall", "pip packages", "rehearsal"]),
        ("ivy", ["ivy"] * 4),
    ],
)
def test_what_was_done_before_a_failure_is_not_done_again(machine: Machine, fails: str, still_to_do: list[str]) -> None:
    machine.fails = fails
    with pytest.raises(FinkError, match=r"\(details: .*setup.log\)$"):
        machine.make()
    assert not machine.setup.is_ready(tests=False)
    machine.fails = ""
    again = machine.make()
    # The two halves run side by side: the other one may have been stopped before or after it was done.
    assert set(still_to_do) <= set(again)
    assert ("venv" in again) == (fails == "venv")
    assert machine.setup.is_ready(tests=False)


def test_changed_locks_cost_what_they_change(machine: Machine) -> None:
    machine.make(tests=True)
    machine.lock("fink_broker/infra/jars.lock", "".join(f"{j.class_path} {j.org} {j.name} {j.rev} {j.sha256}\n" for j in JARS[:-1]))
    assert not machine.setup.is_ready(tests=False)
    assert machine.make() == ["rehearsal"]
    assert present(machine.setup.folder / "jars") == {str(jar.path) for jar in JARS[:-1]}
    machine.lock("requirements-test.lock", "pytest==10 \\\n    --hash=sha256:5\n")
    assert machine.make() == []
    assert "venv" in machine.make(tests=True)
    machine.lock("requirements.lock", "pyspark==5 \\\n    --hash=sha256:6\nother==2 \\\n    --hash=sha256:7\n")
    assert machine.make() == ["compileall", "pip packages", "pip pyspark", "rehearsal", "venv"]


def test_a_set_up_does_without_what_only_makes_starts_faster(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.fails = "rehearsal"
    assert machine.make() == ALL
    assert machine.setup.is_ready(tests=False)
    assert "could not be kept" in capsys.readouterr().err


def test_an_environment_whose_python_is_gone_is_made_again(machine: Machine) -> None:
    machine.make()
    machine.setup.python.unlink()
    machine.setup.python.symlink_to("/nowhere/python3.11")
    assert "venv" in machine.make()


def test_the_installation_of_another_version_is_not_replaced(machine: Machine, tmp_path: Path) -> None:
    machine.make()
    other = tmp_path / "other"
    shutil.copytree(machine.checkout, other, ignore=shutil.ignore_patterns("setup"))
    same = Setup(machine.setup.folder, other)
    same.make(tests=False)
    (other / "requirements.lock").write_text("pyspark==5 \\\n    --hash=sha256:6\n")
    with pytest.raises(FinkError, match="of another version"):
        same.make(tests=False)
    assert machine.setup.is_ready(tests=False)
    # A checkout that is gone holds nobody up.
    shutil.rmtree(machine.checkout)
    same.make(tests=False)
    assert same.is_ready(tests=False)


def test_too_little_room_is_said_before_anything_is_done(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**12, 10**12, 10**9))  # type: ignore[attr-defined]
    with pytest.raises(FinkError, match=r"1\.0 GB free, the set-up needs 3 GB: free some, or set FINK_SETUP"):
        machine.make()
    assert machine.did == []


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "the disk is full"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "a package is not the one that was locked"),
        ("WARNING: Retrying after connection broken by 'NewConnectionError(...)'", "the package servers cannot be reached"),
        ("Host repo not found. url=... java.net.UnknownHostException", "the package servers cannot be reached"),
        ("ERROR: No matching distribution found for numpy==2.4.6", "a mirror has not all"),
        ("something else", "pip failed (details:"),
    ],
)
def test_failures_are_explained(tmp_path: Path, log: str, said: str) -> None:
    (tmp_path / "setup.log").write_text(f"$ pip install\n{log}\n")
    line = setup_steps.explain(tmp_path / "setup.log", "pip failed")
    assert line.startswith(said)
    assert line.endswith(f"(details: {tmp_path}/setup.log)")


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def run_setup(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-m", "fink_broker.infra.setup", "broker"]
    environment = os.environ | {"FINK_SETUP": str(folder), "PYTHONPATH": str(CHECKOUT)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_of_two_at_once_the_second_waits_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "venv").symlink_to(sys.prefix)
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = run_setup(tmp_path)
        assert second.stderr is not None
        assert second.stderr.readline() == f"another fink is setting up {tmp_path}: waiting until it is done\n"
        assert second.poll() is None
        (tmp_path / "stamp").write_text(Setup(tmp_path).wanted(tests=False))  # the first one is done
    _, rest = second.communicate(timeout=30)
    assert (second.returncode, rest) == (0, "")


def test_a_killed_set_up_keeps_its_lock_until_what_it_started_has_ended(tmp_path: Path) -> None:
    lock_file, log = tmp_path / "lock", tmp_path / "setup.log"
    code = (
        "import sys; from pathlib import Path; from fink_broker.infra.setup_steps import Runner; import fcntl\n"
        f"lock = open({str(lock_file)!r}, 'w'); fcntl.flock(lock, fcntl.LOCK_EX)\n"
        f"Runner(Path({str(log)!r}), lock)([sys.executable, '-c', 'import os, time; print(os.getpid(), flush=True); time.sleep(60)'])"
    )
    log.touch()
    killed = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(CHECKOUT)})
    wait_until(lambda: re.search(r"^\d+$", log.read_text(), re.MULTILINE) is not None, "the child did not start")
    child = int(re.findall(r"^(\d+)$", log.read_text(), re.MULTILINE)[0])
    killed.kill()
    killed.wait()
    with lock_file.open("w") as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.kill(child, 9)
        fcntl.flock(lock, fcntl.LOCK_EX)


def test_stop_ends_what_runs_and_starts_no_more(tmp_path: Path) -> None:
    log = tmp_path / "setup.log"
    with (tmp_path / "lock").open("w") as lock:
        runner = setup_steps.Runner(log, lock)
        with setup_steps.ThreadPoolExecutor(1) as pool:
            task = pool.submit(runner, [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"])
            wait_until(lambda: log.exists() and "\nup\n" in log.read_text(), "it did not start")
            runner.stop()
            assert task.result(timeout=30) == -15
        assert runner([sys.executable, "-c", "print('more')"]) == 1
    assert "more" not in log.read_text()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    failed = run_setup(tmp_path / "file" / "setup")
    _, said = failed.communicate(timeout=30)
    assert failed.returncode == 1
    assert said.strip().count("\n") == 0
    assert said.strip().endswith(f"see that {tmp_path}/file/setup can be written to, or set FINK_SETUP to another folder")


def test_progress_shows_what_is_being_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "setup.log"
    log.write_text("$ pip\nCollecting x\n  Downloading https://mirror/packages/pyspark-4.0.2.tar.gz (434.2 MB)\nnoise\n")
    progress = setup_steps.Progress(log, 0.1)
    with setup_steps.ThreadPoolExecutor(1) as pool:
        progress.wait([pool.submit(time.sleep, 0.5)])
    progress.done("PySpark")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "    0 s  ... Downloading pyspark-4.0.2.tar.gz (434.2 MB)"
    assert re.fullmatch(r" +\d s  PySpark", lines[-1])
