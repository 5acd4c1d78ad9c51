"""The launcher, with a temporary HOME and PATH and an installation that only says how it was called."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fink_broker
from fink_broker.infra.setup import Setup
from fink_broker.services import registry

CHECKOUT = Path(__file__).resolve().parent.parent
COMMANDS = sorted(path.name.removeprefix("fink-") for path in (CHECKOUT / "bin").glob("fink-*"))
TOOLS = ("bash", "env", "dirname", "readlink", "sed", "awk", "paste", "cat")

# In place of the environment's Python: how it was called, as JSON; exit code 7.
FAKE_PYTHON = f"""#!{os.path.realpath(sys.executable)} -IS
import json, os, sys
keys = ("FINK_HOME", "FINK_SETUP", "FINK_PYTHON", "JAVA_HOME", "PYTHONPATH", "SPARK_HOME", "PYTHONHOME")
print(json.dumps({{"argv": sys.argv[1:]}} | {{key: os.environ.get(key) for key in keys}}))
sys.exit(7)
"""


class Machine:
    """A machine of its own: HOME, PATH, a Java, an installation that is ready."""

    def __init__(self, folder: Path, checkout: Path = CHECKOUT) -> None:
        self.folder = folder
        self.checkout = checkout
        self.tools = folder / "tools"
        self.tools.mkdir(parents=True)
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found is not None
            (self.tools / tool).symlink_to(found)
        self.setup = folder / "setup"
        self.script(self.setup / "venv" / "bin" / "python", FAKE_PYTHON)
        (self.setup / "stamp").write_text(Setup(self.setup, checkout).wanted(tests=True))
        self.environment = {"HOME": str(folder), "PATH": str(self.tools), "FINK_SETUP": str(self.setup)}
        self.environment["JAVA_HOME"] = str(self.java("17.0.15"))

    @staticmethod
    def script(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def java(self, version: str) -> Path:
        """A JDK that is nothing but its release file; its home."""
        home = self.folder / f"jdk {version}"
        self.script(home / "bin" / "java", "#!/bin/sh\necho must not be run; exit 9\n")
        (home / "release").write_text(f'IMPLEMENTOR="Somebody"\nJAVA_VERSION="{version}"\n')
        return home

    def __call__(self, *arguments: str, program: Path | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [str(program or self.checkout / "bin" / "fink"), *arguments]
        return subprocess.run(
            command, env=self.environment, cwd=cwd or self.folder, capture_output=True, text=True, timeout=60, check=False
        )

    def called(self, *arguments: str, program: Path | None = None, cwd: Path | None = None) -> dict[str, object]:
        """How Python was called in the end."""
        result = self(*arguments, program=program, cwd=cwd)
        assert (result.returncode, result.stderr) == (7, "")
        answer: dict[str, object] = json.loads(result.stdout)
        return answer


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def bare(machine: Machine) -> Iterator[Machine]:
    """Neither Java nor an installation."""
    del machine.environment["JAVA_HOME"]
    shutil.rmtree(machine.setup)
    yield machine
    assert not machine.setup.exists(), "something was set up"


@pytest.mark.parametrize("arguments", [(), ("-h",), ("--help",), ("help",)])
def test_help_lists_commands_services_and_the_configuration(bare: Machine, arguments: tuple[str, ...]) -> None:
    result = bare(*arguments)
    assert (result.returncode, result.stderr) == (0, "")
    listed, _, services = result.stdout.partition("\nCommands:\n")[2].partition("\nServices ")
    commands, found = ([line.split()[0] for line in part.splitlines() if line.startswith("  ")] for part in (listed, services))
    assert commands == COMMANDS
    assert {entry.name for entry in registry.BUILTIN} == set(found)
    assert f"Configuration: {CHECKOUT}/conf/fink.conf" in result.stdout


def test_help_names_services_of_ones_own(bare: Machine) -> None:
    conf = bare.folder / "my own.conf"
    conf.write_text(
        'name = "nobody"\n[[services]]\nname = "watch"\nfile = "w.py"\ndescription = "looks for supernovae"\n'
        '[[filters]]\nname = "bright"\n[[services]]\nfile = "o.py"\nname = "other"\n'
    )
    bare.environment["FINK_CONF"] = str(conf)
    lines = bare().stdout.splitlines()
    assert ["watch", "looks for supernovae"] in [line.split(maxsplit=1) for line in lines]
    assert ["other", "a service of your own"] in [line.split(maxsplit=1) for line in lines]
    assert not any("nobody" in line or "bright" in line for line in lines)
    assert f"Configuration: {conf}" in lines


def test_version(bare: Machine) -> None:
    assert bare("--version").stdout == f"fink {fink_broker.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("arguments", [("-h",), ("--help",), ("one", "--two", "3", "-h")])
def test_help_of_a_command_is_the_head_of_its_file(bare: Machine, command: str, arguments: tuple[str, ...]) -> None:
    result = bare(command, *arguments)
    head = (CHECKOUT / "bin" / f"fink-{command}").read_text().split("\nset -e")[0].splitlines()[1:]
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [line.removeprefix("#").removeprefix(" ") for line in head]
    assert f"Usage: fink {command}" in result.stdout


def test_help_of_the_test_suite(bare: Machine) -> None:
    result = bare("-h", program=CHECKOUT / "bin" / "fink_test")
    assert result.returncode == 0
    assert "Usage: fink_test [--without-integration] [-h]" in result.stdout
    wrong = bare("--wrong", program=CHECKOUT / "bin" / "fink_test")
    assert (wrong.returncode, wrong.stderr) == (2, "fink: fink_test knows --without-integration and -h, not '--wrong'\n")


@pytest.mark.parametrize("command", ["strat", "../lib/fink.sh", "fink", "start stop", "-x"])
def test_an_unknown_command_lists_the_known_ones(bare: Machine, command: str) -> None:
    result = bare(command)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"fink: no command '{command}'; known: {' '.join(COMMANDS)} (fink -h says more)\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs_its_module_with_its_arguments(machine: Machine, command: str) -> None:
    assert (CHECKOUT / "fink_broker" / "commands" / f"{command}.py").exists()
    called = machine.called(command, "a b", "*", "", "--x=$HOME")
    assert called == {
        "argv": ["-P", "-m", f"fink_broker.commands.{command}", "a b", "*", "", "--x=$HOME"],
        "FINK_HOME": str(CHECKOUT),
        "FINK_SETUP": str(machine.setup),
        "FINK_PYTHON": f"{machine.setup}/venv/bin/python",
        "JAVA_HOME": machine.environment["JAVA_HOME"],
        "PYTHONPATH": str(CHECKOUT),
        "SPARK_HOME": None,
        "PYTHONHOME": None,
    }


def test_another_spark_or_fink_in_the_environment_does_not_interfere(machine: Machine) -> None:
    machine.environment |= {"SPARK_HOME": "/opt/spark-3", "PYTHONPATH": "/opt/spark-3/python", "FINK_HOME": "/opt/another fink"}
    called = machine.called("show")
    assert (called["SPARK_HOME"], called["PYTHONPATH"], called["FINK_HOME"]) == (None, str(CHECKOUT), str(CHECKOUT))


def test_from_another_folder_through_links_and_the_path(machine: Machine) -> None:
    (machine.tools / "fink-link").symlink_to(CHECKOUT / "bin" / "fink")
    relative = machine.folder / "fink two"
    relative.symlink_to("tools/fink-link")
    (machine.folder / "elsewhere").mkdir()
    for program in (machine.tools / "fink-link", relative):
        assert machine.called("show", program=program, cwd=machine.folder / "elsewhere")["FINK_HOME"] == str(CHECKOUT)
    machine.environment["PATH"] = f"{CHECKOUT}/bin:{machine.tools}"
    found = subprocess.run(["bash", "-c", "fink show"], env=machine.environment, cwd="/", capture_output=True, text=True, check=False)
    assert (found.returncode, json.loads(found.stdout)["FINK_HOME"]) == (7, str(CHECKOUT))


def test_a_checkout_with_blanks_in_its_path(tmp_path: Path) -> None:
    copy = tmp_path / "my own fink"
    shutil.copytree(CHECKOUT / "bin", copy / "bin")
    locks = ("requirements.lock", "requirements-test.lock", "requirements-fink-client.lock")
    for file in (*locks, "fink_broker/infra/jars.lock", "fink_broker/__init__.py"):
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / file, copy / file)
    machine = Machine(tmp_path / "a machine", copy)
    assert machine.called("show")["FINK_HOME"] == str(copy)
    assert f"Configuration: {copy}/conf/fink.conf" in machine().stdout
    # Without FINK_SETUP the installation is part of the checkout.
    del machine.environment["FINK_SETUP"]
    (copy / "var").mkdir()
    machine.setup.rename(copy / "var" / "setup")
    assert machine.called("show")["FINK_PYTHON"] == f"{copy}/var/setup/venv/bin/python"


def test_a_relative_setup_folder_is_below_the_present_one(machine: Machine) -> None:
    machine.environment["FINK_SETUP"] = "setup"
    assert machine.called("show")["FINK_SETUP"] == str(machine.setup)


def test_the_stamp_without_the_tests_does_for_commands_only(machine: Machine) -> None:
    (machine.setup / "stamp").write_text(Setup(machine.setup).wanted(tests=False))
    machine.called("show")
    ask = f"source '{CHECKOUT}/bin/lib/fink.sh'; ensure_setup tests"
    result = subprocess.run(["bash", "-c", ask], env=machine.environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("fink: no Python 3.11 in PATH: ")


@pytest.mark.parametrize("lost", ["stamp", "venv/bin/python"])
def test_what_is_not_whole_is_set_up_again_by_a_python_that_does(machine: Machine, lost: str) -> None:
    (machine.setup / lost).unlink()
    machine.script(machine.tools / "python3.11", "#!/bin/sh\nexit 127\n")  # a shim without a Python behind it
    machine.script(machine.tools / "python3", '#!/bin/sh\ncase $1 in -c) exit 0 ;; esac\necho "set-up: $*"; exit 5\n')
    result = machine("show")
    assert (result.returncode, result.stdout) == (5, "set-up: -P -m fink_broker.infra.setup broker\n")


def test_an_unfit_python_named_by_the_user_is_refused(machine: Machine) -> None:
    (machine.setup / "stamp").unlink()
    machine.environment["FINK_PYTHON"] = "/bin/false"
    result = machine("show")
    assert (result.returncode, result.stderr) == (1, "fink: FINK_PYTHON=/bin/false is no Python 3.11 to 3.13\n")


def test_no_java_says_what_to_install(machine: Machine) -> None:
    del machine.environment["JAVA_HOME"]
    result = machine("show")
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith("fink: no JDK 17 or 21 in JAVA_HOME or PATH: apt install openjdk-17-jdk-headless (Debian")
    assert "dnf install java-17-openjdk" in result.stderr
    assert "brew install openjdk@17" in result.stderr


@pytest.mark.parametrize("version", ["1.8.0_452", "11.0.2", "25"])
def test_another_java_does_not_do(machine: Machine, version: str) -> None:
    machine.environment["JAVA_HOME"] = str(machine.java(version))
    result = machine("show")
    assert result.returncode == 1
    assert f"(Java {version.split('.', maxsplit=1)[0]} in {machine.environment['JAVA_HOME']} does not do)" in result.stderr


def test_the_java_of_the_path_serves_where_java_home_does_not(machine: Machine) -> None:
    machine.environment["JAVA_HOME"] = str(machine.java("11.0.2"))
    home = machine.java("21.0.1")
    (machine.tools / "java").symlink_to(home / "bin" / "java")
    assert machine.called("show")["JAVA_HOME"] == str(home)


def test_a_shim_is_asked_where_its_java_is(machine: Machine) -> None:
    del machine.environment["JAVA_HOME"]
    home = machine.java("17.0.15")
    machine.script(machine.tools / "java", f"#!/bin/sh\necho 'Property settings:\n    java.home = {home}\n    java.io.tmpdir = /tmp' >&2\n")
    assert machine.called("show")["JAVA_HOME"] == str(home)


def test_a_java_without_a_release_file_is_asked_for_its_version(machine: Machine) -> None:
    home = machine.folder / "jre"
    machine.script(home / "bin" / "java", "#!/bin/sh\necho '    java.specification.version = 17' >&2\n")
    machine.environment["JAVA_HOME"] = str(home)
    assert machine.called("show")["JAVA_HOME"] == str(home)


def test_help_into_a_closed_pipe_is_no_error(bare: Machine) -> None:
    ask = f"'{CHECKOUT}/bin/fink' | true; echo ${{PIPESTATUS[1]}}"
    result = subprocess.run(["bash", "-c", ask], env=bare.environment, capture_output=True, text=True, check=False)
    assert result.stdout == "0\n"


def test_all_files_of_the_launcher_can_be_run() -> None:
    for name in ("fink", "fink_test", *(f"fink-{command}" for command in COMMANDS)):
        assert os.access(CHECKOUT / "bin" / name, os.X_OK), name
    assert len((CHECKOUT / "bin" / "fink").read_text().splitlines()) < 130
