"""How the set-up runs pip and Ivy: output in a log, lines of progress for the user, one line when it fails."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

# What a log says, and what to tell the user; the first that matches.
_REASONS = (
    (r"No space left on device", "the disk is full: free some room, or set FINK_SETUP or PIP_CACHE_DIR to a folder on another one"),
    (r"DO NOT MATCH THE HASHES|Hashes are required", "a package is not the one that was locked: check the package mirror (PIP_INDEX_URL)"),
    (
        r"NewConnectionError|ConnectTimeout|ReadTimeout|ConnectionError|ProxyError|name resolution|Name or service not known"
        r"|Network is unreachable|Connection refused|UnknownHostException|Server access error|SSLError|CERTIFICATE|PKIX",
        "the package servers cannot be reached: check the network or the proxy, or name mirrors in PIP_INDEX_URL and FINK_MAVEN",
    ),
    (
        r"No matching distribution found|UNRESOLVED DEPENDENCIES|FAILED DOWNLOADS",
        "a mirror has not all of what is locked: check PIP_INDEX_URL and FINK_MAVEN",
    ),
)


@dataclass
class Progress:
    """Lines with seconds on stderr: one when a step is done, and in between what is being done.

    Parameters
    ----------
    log : Path
        The set-up's log: what pip and Ivy say.
    every : float
        Seconds between two lines of a step that lasts.
    """

    log: Path
    every: float = field(default_factory=lambda: 1.0 if sys.stderr.isatty() else 15.0)
    started: float = field(default_factory=time.monotonic)

    def done(self, text: str) -> None:
        """A step is done."""
        self._print(text, "\n")

    def wait(self, tasks: list[Future[None]]) -> None:
        """Show what goes on until all tasks have ended, or one has failed."""
        shown = time.monotonic()
        while not all(task.done() for task in tasks) and not any(task.done() and task.exception() for task in tasks):
            time.sleep(0.1)
            if time.monotonic() - shown >= self.every:
                shown = time.monotonic()
                self._print(f"... {self._doing()}", "" if sys.stderr.isatty() else "\n")

    def _doing(self) -> str:
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 20_000))
            lines = file.read().decode(errors="replace").splitlines()
        known = [line.strip() for line in lines if re.match(r"\s*(Downloading|Building|Installing|Running|downloading|\$) ", line)]
        return re.sub(r"\S+/", "", known[-1])[:70] if known else "starting"

    def _print(self, text: str, end: str) -> None:
        clear = "\r\033[K" if sys.stderr.isatty() else ""
        print(f"{clear}{time.monotonic() - self.started:5.0f} s  {text}", end=end, file=sys.stderr, flush=True)


class Runner:
    """Runs commands with their output in the log; stops those that still run.

    A child holds the lock as long as it lives: if this process is killed, the next set-up waits until pip has ended too.
    """

    def __init__(self, log: Path, lock: IO[str]) -> None:
        self.log = log
        self._lock = lock
        self._children: set[subprocess.Popen[bytes]] = set()
        self._guard = threading.Lock()
        self._stopped = False

    def __call__(self, command: list[str]) -> int:
        """Run a command; its exit code."""
        with self.log.open("ab") as log, self._guard:
            if self._stopped:
                return 1
            log.write(f"\n$ {' '.join(command)}\n".encode())
            log.flush()
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
                pass_fds=[self._lock.fileno()],
                start_new_session=True,
            )
            self._children.add(child)
        code = child.wait()
        with self._guard:
            self._children.discard(child)
        return code

    def stop(self) -> None:
        """End all commands that run, with the processes that they started, and start no more."""
        with self._guard:
            self._stopped = True
            running = [child for child in self._children if child.poll() is None]
        for child in running:
            os.killpg(child.pid, signal.SIGTERM)
            child.wait()

    def _environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX")}
        return kept | {"TMPDIR": str(self.log.parent / "tmp"), "PIP_USER": "0", "PIP_NO_INPUT": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def together(runner: Runner, progress: Progress, *steps: Callable[[], None]) -> None:
    """Take steps side by side; if one fails, or the user interrupts, all that runs is ended."""
    with ThreadPoolExecutor(len(steps)) as pool:
        tasks = [pool.submit(step) for step in steps]
        try:
            progress.wait(tasks)
            failed = [error for task in tasks if task.done() and (error := task.exception())]
            if failed:
                raise failed[0]
        except BaseException:
            runner.stop()
            raise


def explain(log: Path, what: str) -> str:
    """Why something failed and what to do, in one line, as far as the log tells; else `what`."""
    text = log.read_text(encoding="utf-8", errors="replace")
    reason = next((reason for pattern, reason in _REASONS if re.search(pattern, text)), None)
    return f"{reason or what} (details: {log})"
