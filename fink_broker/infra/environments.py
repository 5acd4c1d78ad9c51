"""Plug-in environments: how they are made, where they are, and how a process runs on one.

The community's modules need versions of packages that no single environment can have together with the broker's. Each set is a list of
pins, ``conf/env-<name>.txt``, and a virtual environment below the broker's home; Spark's Python workers run on the one that
``[science] environment`` names.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyspark

from fink_broker.config import CHECKOUT, Settings, without_secrets
from fink_broker.errors import ConfigError, FinkError, UsageError
from fink_broker.infra.setup_steps import Runner, explain

# What pandas 1 took and published modules still say; loaded when the environment's Python starts.
_SHIM = '''"""Lets modules that were written for pandas 1 read a column with read_csv(squeeze=True)."""
try:
    import pandas
except ImportError:
    pass
else:
    def read_csv(*args, squeeze=False, _read=pandas.read_csv, **kwargs):
        table = _read(*args, **kwargs)
        return table.squeeze("columns") if squeeze else table

    pandas.read_csv = read_csv
'''


def names() -> list[str]:
    """The environments that can be made."""
    return sorted(file.stem.removeprefix("env-") for file in (CHECKOUT / "conf").glob("env-*.txt"))


def folder(settings: Settings, name: str) -> Path:
    """Folder of an environment."""
    return settings.root / "envs" / name


def python(settings: Settings, name: str) -> Path:
    """Interpreter of an environment.

    Raises
    ------
    ConfigError
        There is no such environment.
    """
    found = folder(settings, name) / "bin" / "python"
    if not found.exists():
        raise ConfigError(f"there is no environment '{name}' in {found.parents[2]}: fink science install {name}")
    return found


def variables() -> dict[str, str]:
    """Environment variables of a process that runs on one: it finds the broker and its PySpark, as Spark's workers do."""
    spark = sorted(Path(pyspark.__path__[0], "python", "lib").glob("*.zip"))
    return {**without_secrets(os.environ), "PYTHONPATH": os.pathsep.join([str(CHECKOUT), *map(str, spark)])}


def install(settings: Settings, name: str, say: Callable[[str], None]) -> Path:
    """Make an environment, or complete it.

    Parameters
    ----------
    settings : Settings
        Home.
    name : str
        Which list.
    say : callable
        Gets a line before the work begins.

    Returns
    -------
    Path
        Its folder.

    Raises
    ------
    UsageError
        There is no list of that name.
    FinkError
        It could not be made; the log says why.
    """
    if name not in names():
        raise UsageError(f"no list of packages for '{name}'; there are: {', '.join(names())}")
    wanted = wanted_packages(name)
    target = folder(settings, name)
    target.mkdir(parents=True, exist_ok=True)
    stamp = target / "packages.txt"
    with (target / "lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
            return target
        log = target / "install.log"
        log.write_bytes(b"")
        say(f"making {target}: two or three minutes, 1.5 GB (details: install.log there)")
        (target / "tmp").mkdir(exist_ok=True)
        requirements = target / "wanted.txt"
        requirements.write_text(wanted, encoding="utf-8")
        run, interpreter = Runner(log, lock), target / "bin" / "python"
        try:
            for command in (
                [os.path.realpath(sys.executable), "-m", "venv", str(target)],
                [str(interpreter), "-m", "pip", "install", "--progress-bar=off", "-r", str(requirements)],
            ):
                if run(command):
                    raise FinkError(explain(log, f"the environment {name} could not be made"))
        except BaseException:
            run.stop()
            raise
        finally:
            shutil.rmtree(target / "tmp", ignore_errors=True)
        [packages] = target.glob("lib/python*/site-packages")
        (packages / "sitecustomize.py").write_text(_SHIM, encoding="utf-8")
        _unpack(packages)
        requirements.replace(stamp)
    return target


def wanted_packages(name: str) -> str:
    """The list of an environment, and what the broker's own code needs in a worker beside it."""
    listed = (CHECKOUT / "conf" / f"env-{name}.txt").read_text(encoding="utf-8")
    there = {line.partition("==")[0] for line in listed.splitlines()}
    # What has its own idea of numpy's version stays away; the modules that need it run on the broker's own environment.
    there |= {"pyspark", "astropy", "numpy", "scipy", "pandas", "pyarrow"}
    own = (CHECKOUT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return listed + "".join(f"{line}\n" for line in own if re.match(r"\w", line) and line.partition("==")[0] not in there)


def _unpack(packages: Path) -> None:
    """Unpack models that modules would unpack for every batch, to one name in a common temporary folder: they look here first."""
    for archive in packages.glob("fink_science/data/models/**/*.zip"):
        with zipfile.ZipFile(archive) as models:
            models.extractall(archive.parent)
