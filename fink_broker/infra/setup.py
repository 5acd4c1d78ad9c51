"""Set-up: the virtual environment and the jars, made once below ``FINK_SETUP``.

Standard library only: it runs on the machine's own Python before any package is installed. The launcher calls it when the
stamp does not agree with the lock files. Every step leaves its mark only when it is whole, so a set-up that was cut off
(even by ``kill -9``) goes on where it was; the stamp, a copy of the lock files, is written last.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fink_broker.errors import FinkError
from fink_broker.files import write_whole
from fink_broker.infra import jars
from fink_broker.infra.setup_steps import Progress, Runner, explain, together

CHECKOUT = Path(__file__).resolve().parents[2]

# While it is set up: PySpark's source archive, its wheel and its installed form, at once.
_ROOM_GB = 3.0

_OF_TESTS = ("requirements-test.lock", "requirements-fink-client.lock")

_OWNER = "made-by"  # the checkout that the installation was made for last

_PYSPARK = re.compile(r"^py(spark|4j)==")


class Setup:
    """The installation in one folder.

    Parameters
    ----------
    folder : Path
        Where it goes.
    checkout : Path
        Where the lock files are.
    """

    def __init__(self, folder: Path, checkout: Path = CHECKOUT) -> None:
        self.folder = folder
        self.log = folder / "setup.log"
        self.python = folder / "venv" / "bin" / "python"
        self._venv = folder / "venv"
        self._checkout = checkout

    def wanted(self, tests: bool) -> str:
        """The lock files that must have been worked off: with those of the tests last, so that without them it is a prefix."""
        files = ["requirements.lock", "fink_broker/infra/jars.lock", *(_OF_TESTS if tests else ())]
        return "".join(f"{self._read(file)}\n--\n" for file in files)

    def is_ready(self, tests: bool) -> bool:
        """Whether nothing is to be done (the launcher asks the same in bash)."""
        stamp = self.folder / "stamp"
        return self.python.exists() and stamp.exists() and stamp.read_text(encoding="utf-8").startswith(self.wanted(tests))

    def make(self, tests: bool) -> None:
        """Do all that is missing; wait if another process is at it.

        Raises
        ------
        FinkError
            One line that says what to do; what pip or Ivy said is in the log.
        """
        with self.locked() as lock:
            if self.is_ready(tests):
                return
            self._check_owner()
            self._check_room()
            (self.folder / "stamp").unlink(missing_ok=True)
            (self.folder / "tmp").mkdir(exist_ok=True)
            self.log.write_bytes(b"")
            runner = Runner(self.log, lock)
            try:
                self._steps(tests, runner)
            except BaseException:
                runner.stop()
                raise
            finally:
                shutil.rmtree(self.folder / "tmp", ignore_errors=True)
            write_whole(self.folder / _OWNER, str(self._checkout))
            write_whole(self.folder / "stamp", self.wanted(tests))

    @contextmanager
    def locked(self) -> Iterator[IO[str]]:
        """Hold the right to change the installation; a second process waits here, and says so."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"another fink is setting up {self.folder}: waiting until it is done", file=sys.stderr, flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield lock

    def _check_owner(self) -> None:
        """Never replace what another checkout, of another version, runs on: its services would lose their files."""
        made_by = self.folder / _OWNER
        owner = Path(made_by.read_text(encoding="utf-8")) if made_by.exists() else self._checkout
        if owner != self._checkout and not self.is_ready(tests=False) and (owner / "requirements.lock").exists():
            where = f"{self.folder} is the installation of another version, in {owner}"
            raise FinkError(f"{where}: set FINK_SETUP to a folder for this one, or remove that installation")

    def _check_room(self) -> None:
        free = shutil.disk_usage(self.folder).free / 1e9
        if not (self._venv / "done-pyspark").exists() and free < _ROOM_GB:
            room = f"{free:.1f} GB free, the set-up needs {_ROOM_GB:.0f} GB"
            raise FinkError(f"{self.folder}: {room}: free some, or set FINK_SETUP to a folder on another disk")

    def _steps(self, tests: bool, runner: Runner) -> None:
        progress = Progress(self.log)
        print(f"Fink sets itself up in {self.folder}, once: minutes, 1.3 GB (details: setup.log there)", file=sys.stderr, flush=True)
        if not self._venv_fits(tests):
            self._make_venv(runner)
            progress.done(f"virtual environment with Python {sys.version.split()[0]}")

        def spark_and_jars() -> None:
            self._install(runner, progress, "PySpark", "pyspark")
            self._fetch_jars(runner, progress)

        def packages() -> None:
            self._install(runner, progress, "all other packages", "packages")
            if tests:
                self._install(runner, progress, "packages of the tests", "tests")
                self._make_client(runner, progress)

        together(runner, progress, spark_and_jars, packages)
        together(runner, progress, lambda: self._rehearse(runner, progress))

    def _venv_fits(self, tests: bool) -> bool:
        """Whether there is an environment, whole or begun, that is made from the present lock files."""
        made_from = {"from": "requirements.lock"} | ({"from-tests": "requirements-test.lock"} if tests else {})
        return self.python.exists() and all(
            # Without the file nothing of the tests is in it yet.
            (name == "from-tests" and not (self._venv / name).exists())
            or ((self._venv / name).exists() and (self._venv / name).read_text(encoding="utf-8") == self._read(lock))
            for name, lock in made_from.items()
        )

    def _make_venv(self, runner: Runner) -> None:
        """A new environment, of the interpreter's real path: if that one goes, this one is seen to be gone too."""
        shutil.rmtree(self._venv, ignore_errors=True)
        if runner([os.path.realpath(sys.executable), "-m", "venv", str(self._venv)]):
            package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
            what = f"{sys.executable} cannot make a virtual environment: install {package} (apt), or set FINK_PYTHON to another Python"
            raise FinkError(explain(self.log, what))
        write_whole(self._venv / "from", self._read("requirements.lock"))

    def _install(self, runner: Runner, progress: Progress, title: str, part: str) -> None:
        """Install one part of the packages: ``pyspark``, the other ``packages``, or ``tests``.

        The lock is complete, so nothing is left to resolve. PySpark is a source archive of 430 MB, made into a wheel: two
        pips at once and no compression of that wheel take half the time. What an interrupted pip left is written over.
        """
        done = self._venv / f"done-{part}"
        if done.exists():
            return
        lock = self._read("requirements-test.lock" if part == "tests" else "requirements.lock")
        if part == "tests":
            write_whole(self._venv / "from-tests", lock)
        entries = [entry for entry in _entries(lock) if bool(_PYSPARK.match(entry)) == (part == "pyspark")]
        file = self.folder / "tmp" / f"{part}.lock"
        file.write_text("\n".join(entries), encoding="utf-8")
        options = ["--no-deps", "--ignore-installed", "--require-hashes", "--progress-bar=off"]
        if part == "pyspark":
            options.append("--config-settings=--build-option=--compression=stored")
        else:
            options += ["--only-binary=:all:", "--no-compile"]
        if runner([str(self.python), "-m", "pip", "install", *options, "-r", str(file)]):
            raise FinkError(explain(self.log, "pip failed"))
        if part == "packages":
            # Here, because where PYTHONDONTWRITEBYTECODE is set every start would compile them; their tests are not needed.
            runner([str(self.python), "-m", "compileall", "-q", "-j2", "-x", r"/(tests?|pyspark)/", str(self._venv / "lib")])
        write_whole(done, "")
        progress.done(title)

    def _make_client(self, runner: Runner, progress: Progress) -> None:
        """The environment of users' fink-client, for the tests: its own packages, and for the rest those that the broker has."""
        client, stamp = self.folder / "fink-client", self.folder / "fink-client" / "from"
        made_from = self._read("requirements.lock") + self._read(_OF_TESTS[-1])
        if stamp.exists() and stamp.read_text(encoding="utf-8") == made_from:
            return
        shutil.rmtree(client, ignore_errors=True)
        made = runner([str(self.python), "-m", "venv", "--without-pip", str(client)]) == 0
        for packages in client.glob("lib/python*/site-packages"):
            (packages / "broker.pth").write_text(f"{self._venv / packages.relative_to(client)}\n", encoding="utf-8")
        pip = [str(self.python), "-m", "pip", "--python", str(client)]
        options = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--no-compile", "--progress-bar=off"]
        if not made or runner([*pip, "install", *options, "-r", str(self._checkout / _OF_TESTS[-1])]):
            raise FinkError(explain(self.log, "pip failed"))
        write_whole(stamp, made_from)
        progress.done("fink-client, for the tests")

    def _fetch_jars(self, runner: Runner, progress: Progress) -> None:
        locked = jars.read_lock(self._checkout / "fink_broker" / "infra" / "jars.lock")
        try:
            jars.fetch(locked, self.folder / "jars", self.folder / "ivy", runner)
        except FinkError as error:
            raise FinkError(explain(self.log, str(error))) from error
        progress.done(f"{len(locked)} jars for Spark, Kafka and HBase, each as locked by its SHA-256")

    def _rehearse(self, runner: Runner, progress: Progress) -> None:
        """Let Java keep what it loads for Spark. Without it every start takes longer, and nothing else."""
        done, jars_lock = self._venv / "done-classes", self._read("fink_broker/infra/jars.lock")
        if done.exists() and done.read_text(encoding="utf-8") == jars_lock:
            return
        path = f"PYTHONPATH={self._checkout}"
        failed = runner(["env", path, str(self.python), "-P", "-m", "fink_broker.services.rehearsal"])
        write_whole(done, jars_lock)
        progress.done("Java's classes of a start " + ("could not be kept: each start takes some seconds more" if failed else "kept"))

    def _read(self, file: str) -> str:
        return (self._checkout / file).read_text(encoding="utf-8").rstrip("\n")


def _entries(lock: str) -> list[str]:
    """The entries of a lock file: a requirement with the lines of its hashes."""
    lines = [line for line in lock.splitlines() if not line.lstrip().startswith("#")]
    return re.split(r"\n(?=\S)", "\n".join(lines))


def main(argv: list[str]) -> int:
    """Make or complete the installation of the ``broker``, or of the ``tests``: that and the packages of the test suite."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        Setup(jars.setup()).make(argv == ["tests"])
    except FinkError as error:
        return _fail(str(error), error.exit_code)
    except OSError as error:
        return _fail(f"{error}: see that {jars.setup()} can be written to, or set FINK_SETUP to another folder", 1)
    except KeyboardInterrupt:
        return _fail("set-up interrupted; the next start goes on from here", 130)
    return 0


def _fail(message: str, code: int) -> int:
    clear = "\r\033[K" if sys.stderr.isatty() else ""  # the line of progress
    print(f"{clear}fink: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
