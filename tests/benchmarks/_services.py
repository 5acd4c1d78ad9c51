"""Services as their users start them, each in a process of its own: killed, started again, and watched."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, Popen, TimeoutExpired

import psutil

from fink_broker import config
from fink_broker.commands.config import toml
from fink_broker.config import CHECKOUT, Settings
from fink_broker.errors import FinkError
from fink_broker.infra import environments, trees

SERVICES = ("stream2raw", "raw2science", "distribution")
_EARLY_S = 120.0  # from the start until memory has settled


def plugins(settings: Settings) -> Path:
    """The environment ``ztf`` of the broker whose home lies above that of `fink bench`."""
    return environments.folder(settings.model_copy(update={"home": settings.root.parent}), "ztf")


@dataclass(frozen=True)
class Whole:
    """A run of a service as its users start it, from its start to its end."""

    seconds: float
    cpu_s: float
    peak_mb: float


def run_once(service: str, conf: Path) -> Whole:
    """Let a service do what there is to do; see `watched`."""
    return watched("start", service, "--once", conf=conf)


def watched(name: str, *arguments: str, conf: Path) -> Whole:
    """Run a command of the broker to its end, as its users do.

    Raises
    ------
    FinkError
        It failed.
    """
    command = [sys.executable, "-P", "-m", f"fink_broker.commands.{name}", *arguments, "-c", str(conf)]
    environment = {name: value for name, value in os.environ.items() if name not in config.variables(os.environ)}
    began, cpu_s, peak = time.monotonic(), 0.0, 0
    process = Popen(command, cwd=CHECKOUT, stdout=DEVNULL, env=environment)
    while process.poll() is None:
        try:
            usage = trees.tree_usage(process.pid)
        except psutil.NoSuchProcess:
            break
        cpu_s, peak = max(cpu_s, usage.cpu_s), max(peak, usage.rss)
        time.sleep(0.1)
    if process.wait():
        raise FinkError(f"{name} {' '.join(arguments)} ended with {process.returncode}; configuration {conf}")
    return Whole(time.monotonic() - began, cpu_s, peak / 1e6)


class Services:
    """The services of one home.

    Parameters
    ----------
    settings : Settings
        Configuration; what differs from the defaults goes to a file in its home.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._conf = settings.root / "fink.conf"
        self._conf.write_text(toml(settings.model_dump(mode="json", exclude_defaults=True)), encoding="utf-8")
        self._processes: dict[str, Popen[bytes]] = {}
        self._samples: dict[str, list[tuple[float, int]]] = {}
        self.died: list[str] = []
        """What ended without having been asked to, and how."""

    def start(self, name: str) -> None:
        """Start a service."""
        command = [sys.executable, "-P", "-m", "fink_broker.commands.start", name, "--simulator", "-c", str(self._conf)]
        environment = {key: value for key, value in os.environ.items() if key not in config.variables(os.environ)}
        self._processes[name] = Popen(command, cwd=CHECKOUT, stdout=DEVNULL, env=environment)
        self._samples[name] = []

    def kill(self, name: str) -> None:
        """SIGKILL of a service with all that it has started."""
        process = self._processes.pop(name)
        trees.kill(trees.members(psutil.Process(process.pid)))
        process.wait()

    def look(self) -> None:
        """Note the memory of each; one that has died is noted, and started again."""
        for name, process in list(self._processes.items()):
            if process.poll() is None:
                self._samples[name].append((time.monotonic(), trees.tree_usage(process.pid).rss))
            else:
                self.died.append(f"{name} ended with code {process.returncode}; log: {self._settings.log(name)}\n{self._last(name)}")
                self.start(name)

    def _last(self, name: str) -> str:
        return "\n".join(self._settings.log(name).read_text(encoding="utf-8", errors="replace").splitlines()[-30:])

    def memory(self, name: str) -> tuple[int, int]:
        """Resident bytes of a service two minutes after its last start (halfway, if it was not as long), and at the end."""
        samples = self._samples[name]
        begin, end = samples[0][0], samples[-1][0]
        early = next(rss for moment, rss in samples if moment >= min(begin + _EARLY_S, (begin + end) / 2))
        return early, samples[-1][1]

    def peak(self, name: str) -> int:
        """The most resident bytes of a service that were seen since its last start."""
        return max(rss for _, rss in self._samples[name])

    def stop(self) -> None:
        """End them all, as Ctrl-C does, and wait."""
        for process in self._processes.values():
            process.terminate()
        for name, process in self._processes.items():
            try:
                process.wait(90)
            except TimeoutExpired:
                trees.kill(trees.members(psutil.Process(process.pid)))
                self.died.append(f"{name} did not end")
        self._processes.clear()
