"""Plug-in environments: where they are, and how Spark's Python workers run on one."""

from __future__ import annotations

import os
from pathlib import Path

import pyspark

from fink_broker.config import CHECKOUT, Settings, without_secrets
from fink_broker.errors import ConfigError


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
        raise ConfigError(f"there is no environment '{name}' in {found.parent.parent.parent}: fink science install {name}")
    return found


def variables(settings: Settings, name: str) -> dict[str, str]:
    """Environment variables of a process that runs on it: it finds the broker and its PySpark, as Spark's workers do."""
    parts = Path(pyspark.__path__[0], "python", "lib").glob("*.zip")
    return {**without_secrets(os.environ), "PYTHONPATH": os.pathsep.join([str(CHECKOUT), *map(str, sorted(parts))])}
