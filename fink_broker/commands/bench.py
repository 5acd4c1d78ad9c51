"""fink bench: how fast this machine does the broker's work. A benchmark is one file in tests/benchmarks."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import psutil

from fink_broker import config
from fink_broker.commands import run
from fink_broker.config import CHECKOUT
from fink_broker.errors import UsageError

FOLDER = CHECKOUT / "tests" / "benchmarks"


@dataclass(frozen=True)
class Figure:
    """One number that was measured.

    Parameters
    ----------
    name, unit : str
        What it is.
    value : float
        The number.
    goal : float, optional
        What it should be at least.
    at_most : bool
        Whether the goal is what it should be at most.
    """

    name: str
    value: float
    unit: str
    goal: float | None = None
    at_most: bool = field(default=False, repr=False)
    ok: bool | None = field(init=False)

    def __post_init__(self) -> None:
        """Whether the goal is reached; None without a goal."""
        object.__setattr__(
            self, "ok", None if self.goal is None else (self.value <= self.goal if self.at_most else self.value >= self.goal)
        )


@dataclass(frozen=True)
class Report:
    """What a benchmark found: figures for a machine, a table for a person."""

    figures: Sequence[Figure]
    table: str


def main(argv: list[str] | None = None) -> int:
    """Run one benchmark and print its table.

    Returns
    -------
    int
        0, also where a goal is missed: a benchmark reports.

    Raises
    ------
    UsageError
        There is no such benchmark.
    """
    parser = argparse.ArgumentParser(prog="fink bench", description=__doc__)
    parser.add_argument("name", choices=known(), help="the benchmark")
    parser.add_argument("--alerts", type=int, metavar="N", help="how many alerts to measure with")
    parser.add_argument("--json", action="store_true", help="the last line of the output is one JSON object")
    parser.add_argument("--master", default="local[1]", help="Spark master; default: one core of this machine")
    parser.add_argument("-c", metavar="CONF", dest="conf", help="configuration file")
    arguments = parser.parse_args(argv)
    if arguments.alerts is not None and arguments.alerts < 1:
        raise UsageError(f"--alerts takes a number from 1, not {arguments.alerts}")

    settings = config.load(arguments.conf)
    spark = settings.spark.model_copy(update={"master": arguments.master})
    # Its own home: logs and data of a measurement stay away from the broker's.
    settings = settings.model_copy(update={"home": settings.root / "bench", "spark": spark})
    report: Report = _benchmark(arguments.name).run(settings, arguments.alerts)
    print(report.table)
    if arguments.json:
        print(json.dumps({"name": arguments.name, "machine": machine(), "figures": [_figure(figure) for figure in report.figures]}))
    return 0


def _figure(figure: Figure) -> dict[str, Any]:
    return {name: value for name, value in asdict(figure).items() if name != "at_most"}


def known() -> list[str]:
    """Names of the benchmarks."""
    return sorted(file.stem for file in FOLDER.glob("[a-z]*.py"))


def machine() -> str:
    """This machine in a few words: processor, cores, memory, load."""
    memory = psutil.virtual_memory().total / 2**30
    load = os.getloadavg()[0]
    return f"{_processor()}, {psutil.cpu_count()} cores, {memory:.0f} GB, {platform.system()}, load {load:.1f}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def _benchmark(name: str) -> Any:
    return importlib.import_module(f"tests.benchmarks.{name}")


if __name__ == "__main__":
    run(main)
