"""Pid files: which processes of this HOME run, started safely and signalled only after a check of who they are."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

from fink_broker.config import Settings
from fink_broker.errors import FinkError
from fink_broker.files import write_whole
from fink_broker.infra import failures, trees
from fink_broker.infra.trees import Usage, tree_usage

__all__ = [
    "Running",
    "Usage",
    "all_running",
    "find",
    "is_alive",
    "note",
    "once",
    "register",
    "start_lock",
    "stop",
    "tree_usage",
    "unregister",
]

# The kernel derives creation times from the boot time, which may be corrected a little while the machine runs.
_SAME_TIME_S = 1.0
_POLL_S = 0.05

STARTING, RUNNING = "is starting", "runs"


@dataclass(frozen=True)
class Running:
    """A process of this HOME, as its pid file names it.

    Attributes
    ----------
    name : str
        Service or server.
    pid : int
        Process id.
    create_time : float
        Creation time of the process, seconds since the epoch: with the pid it identifies the process.
    address : str or None
        Where a server listens.
    argv : list of str
        Command line.
    started : float
        When it was registered, seconds since the epoch.
    part_of : str or None
        The server that this helper process belongs to: it is stopped with it, and before it.
    doing : str
        ``STARTING``, what it waits for, or ``RUNNING``.
    """

    name: str
    pid: int
    create_time: float
    address: str | None
    argv: list[str]
    started: float
    part_of: str | None = None
    doing: str = STARTING


def register(settings: Settings, name: str, address: str | None = None, pid: int | None = None, part_of: str | None = None) -> Running:
    """Write the pid file of a process, this one by default; several names may share one process.

    Raises
    ------
    FinkError
        Another process runs under this name, or the process is gone.
    """
    try:
        process = psutil.Process(pid)
        running = Running(name, process.pid, process.create_time(), address, process.cmdline(), time.time(), part_of)
    except psutil.NoSuchProcess as error:
        raise FinkError(f"{name} (pid {pid}) has ended; the log is {settings.log(name)}") from error
    settings.run.mkdir(parents=True, exist_ok=True)
    path = _pid_file(settings, name)
    draft = path.with_name(f".{name}.{os.getpid()}.tmp")
    draft.write_text(json.dumps(asdict(running), indent=1), encoding="utf-8")
    try:
        before = find(settings, name)
        if before is None:
            os.link(draft, path)  # unlike rename, this fails if someone else was faster
        elif before.pid == running.pid:
            draft.replace(path)
        else:
            raise _runs_already(before)
    except FileExistsError as error:
        raise FinkError(f"{name} is being started by another command") from error
    finally:
        draft.unlink(missing_ok=True)
    failures.clear(settings, name)
    return running


def note(settings: Settings, names: Sequence[str], doing: str) -> None:
    """Note what this process is doing under some names, see `Running`."""
    for name in names:
        running = find(settings, name)
        if running is not None and running.pid == os.getpid() and running.doing != doing:
            write_whole(_pid_file(settings, name), json.dumps(asdict(replace(running, doing=doing)), indent=1))


def unregister(settings: Settings, name: str) -> None:
    """Remove a pid file; nothing happens where there is none."""
    _pid_file(settings, name).unlink(missing_ok=True)


def find(settings: Settings, name: str) -> Running | None:
    """The process that runs under a name; a pid file whose process is gone is removed."""
    try:
        running = Running(**json.loads(_pid_file(settings, name).read_text(encoding="utf-8")))
        if not (isinstance(running.pid, int) and running.pid > 0 and isinstance(running.create_time, float)):
            raise TypeError
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise FinkError(f"{_pid_file(settings, name)} is not a pid file: remove it") from error
    if _process(running) is None:
        # Whoever ends in peace takes the file away.
        failures.note(settings, name, f"its process, {running.pid}, was killed; the log is {settings.log(name)}")
        unregister(settings, name)
        return None
    return running


def all_running(settings: Settings) -> list[Running]:
    """All processes of this HOME that run, the oldest first."""
    found = (find(settings, path.stem) for path in settings.run.glob("[!.]*.json"))
    return sorted((running for running in found if running), key=lambda running: running.started)


def stop(settings: Settings, name: str, timeout: float = 60.0, say: Callable[[str], None] = print) -> bool:
    """End a service or server and wait until it has: SIGTERM, after the timeout SIGKILL of its process tree.

    Parameters
    ----------
    name : str
        Its parts (see `Running.part_of`) end before it; services in the same process end with it.
    timeout : float
        Seconds before SIGKILL, for each process.
    say : callable
        Takes the lines that tell what happens.

    Returns
    -------
    bool
        Whether anything ran.
    """
    here = all_running(settings)
    ended = [_end(settings, part, [part.name], timeout, say) for part in here if part.part_of == name]
    running = next((one for one in here if one.name == name), None)
    failures.clear(settings, name)
    if running is None:
        if not ended:
            say(f"{name} is not running")
        return bool(ended)
    names = [one.name for one in here if (one.pid, one.create_time) == (running.pid, running.create_time)]
    _end(settings, running, names, timeout, say)
    return True


def _end(settings: Settings, running: Running, names: list[str], timeout: float, say: Callable[[str], None]) -> bool:
    title = ", ".join(names)
    shared = " (one process)" if len(names) > 1 else ""
    say(f"stopping {title}{shared}, pid {running.pid}")
    process = _process(running)
    killed = False
    if process is not None:
        tree = trees.members(process)
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
        if psutil.wait_procs([process], timeout=timeout)[1]:
            killed = True
            trees.kill([*tree, *trees.members(process)])
    for one in names:
        unregister(settings, one)
        failures.clear(settings, one)
    say(f"{title} did not end within {timeout:g} s: killed" if killed else f"{title} stopped")
    return True


@contextlib.contextmanager
def start_lock(settings: Settings, name: str, timeout: float = 300.0) -> Iterator[None]:
    """Hold the right to start a name in this HOME; a second command waits here until the first is done.

    Raises
    ------
    FinkError
        Another start goes on for longer than the timeout (seconds).
    """
    settings.run.mkdir(parents=True, exist_ok=True)
    with (settings.run / f"{name}.lock").open("w", encoding="utf-8") as lock:
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise FinkError(f"another command has been starting {name} for {timeout:g} s") from error
                time.sleep(_POLL_S)
        yield


def once(settings: Settings, name: str, make: Callable[[], Running]) -> Running:
    """The server of a name: the one that runs, or else what `make` starts; what did not come up is stopped."""
    with start_lock(settings, name):
        running = find(settings, name)
        if running is not None:
            return running
        try:
            return make()
        except BaseException:
            stop(settings, name, say=lambda line: None)
            raise


def is_alive(running: Running) -> bool:
    """Whether the process that was registered still runs."""
    return _process(running) is not None


def _process(running: Running) -> psutil.Process | None:
    """The process itself, only if pid and creation time agree."""
    try:
        process = psutil.Process(running.pid)
        same = abs(process.create_time() - running.create_time) < _SAME_TIME_S
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def _runs_already(running: Running) -> FinkError:
    return FinkError(f"{running.name} runs already, pid {running.pid}: fink stop {running.name}")


def _pid_file(settings: Settings, name: str) -> Path:
    return settings.run / f"{name}.json"
