"""fink doctor: what may be wrong with machine, installation, configuration and servers, and what to do about it."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from fink_broker import config
from fink_broker.commands import Parser, run
from fink_broker.commands.config import check
from fink_broker.config import CHECKOUT, Settings
from fink_broker.errors import ConfigError
from fink_broker.infra import failures, jars, java, processes
from fink_broker.monitoring.servers import Finding, servers, tried
from fink_broker.services import registry

_LITTLE_GB, _NONE_GB = 20.0, 2.0
_CLOCKS_S = 2.0
# What Spark, Python and a server need beside their heaps.
_BESIDE_GB = 1.0
_UNITS = {"k": 1e-6, "m": 1e-3, "g": 1.0, "t": 1e3}


def main(argv: list[str] | None = None) -> int:
    """Print what was found, a line each; exit code 1 if something is wrong."""
    parser = Parser("doctor")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    path = config.conf_path(arguments.conf)
    try:
        settings = config.load(arguments.conf)
    except ConfigError as error:
        found = [*_installation(), Finding("configuration", ok=False, text=str(error))]
    else:
        found = [*_installation(), *_of(settings, path)]
    if arguments.json:
        print(json.dumps({"ok": all(one.ok is not False for one in found), "findings": [one._asdict() for one in found]}))
    else:
        for one in found:
            print(f"{ {True: 'ok', None: 'note', False: 'WRONG'}[one.ok]:<7}{one.what:<15}{one.text}")
    return 1 if any(one.ok is False for one in found) else 0


def _of(settings: Settings, path: Path) -> Iterator[Finding]:
    yield tried("configuration", lambda: check(settings), f"{path} is sound; home is {settings.root}")
    yield from _home(settings.root)
    yield from _memory(settings)
    yield from servers(settings)
    yield from _services(settings)


def _installation() -> Iterator[Finding]:
    yield Finding("Python", ok=True, text=f"{sys.version.split()[0]}, {sys.executable}")
    yield tried("Java", java.executable)
    wrong = [name for name, wanted in _locked() if _installed(name) != wanted]
    again = f"remove {jars.setup() / 'stamp'} and the folder venv beside it: the next command sets it up again"
    yield Finding("packages", ok=not wrong, text=f"not as locked: {', '.join(wrong)}; {again}" if wrong else "as locked")
    gone = [jar.name for jar in jars.read_lock() if not (jars.setup() / "jars" / jar.path).is_file()]
    again = f"remove {jars.setup() / 'stamp'}: the next command fetches them"
    yield Finding("jars", ok=not gone, text=f"missing: {', '.join(gone)}; {again}" if gone else "all there")


def _locked() -> list[tuple[str, str]]:
    text = (CHECKOUT / "requirements.lock").read_text(encoding="utf-8")
    return re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE)


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _home(home: Path) -> Iterator[Finding]:
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=home, prefix=".doctor-") as file:
            ahead = Path(file.name).stat().st_mtime - time.time()
    except OSError as error:
        yield Finding("home", ok=False, text=f"{home}: {error.strerror}: set home to a folder that can be written to")
        return
    free = shutil.disk_usage(home).free / 1e9
    advice = "" if free > _LITTLE_GB else ": fink merge lets old nights leave, [archive] retention_days says after how long"
    yield Finding("disk", ok=None if _NONE_GB < free <= _LITTLE_GB else free > _NONE_GB, text=f"{free:,.1f} GB free in {home}{advice}")
    if abs(ahead) < _CLOCKS_S:
        yield Finding("clock", ok=True, text="that of the disk and that of this machine agree")
    else:
        advice = "latencies will be wrong; let both follow one time server (NTP)"
        yield Finding("clock", ok=False, text=f"that of the disk is {ahead:+.1f} s from that of this machine: {advice}")


def _memory(settings: Settings) -> Iterator[Finding]:
    heaps = [settings.spark.driver_memory]
    ends = (settings.kafka.input, settings.kafka.output)
    heaps += [settings.kafka.embedded.heap] * any(end.servers == "local" for end in ends)
    heaps += [settings.hbase.heap] * (settings.hbase.thrift == "local")
    wanted = sum(_gb(heap) + _BESIDE_GB for heap in heaps)
    memory = psutil.virtual_memory()
    there = memory.total / 1e9
    text = f"{there:.1f} GB, {memory.available / 1e9:.1f} free; one service and the servers take up to {wanted:.1f}"
    advice = "" if there > wanted else ": lower [spark] driver_memory and the heaps of the servers"
    yield Finding("memory", ok=True if there > wanted else None, text=text + advice)


def _gb(heap: str) -> float:
    """Of a size as Java takes it."""
    number, unit = heap[:-1], heap[-1].lower()
    return float(number) * _UNITS[unit]


def _services(settings: Settings) -> Iterator[Finding]:
    names = [entry.name for entry in registry.known(settings).values() if entry.kind != "task"]
    running = [name for name in names if processes.find(settings, name)]
    for name in names:
        failure = failures.find(settings, name)
        if failure is not None:
            yield Finding(name, ok=False, text=f"failed: {failure.reason}; fink logs {name}, then fink start {name}")
    yield Finding("services", ok=True, text=f"{', '.join(running)} run" if running else "none runs")


if __name__ == "__main__":
    run(main)
