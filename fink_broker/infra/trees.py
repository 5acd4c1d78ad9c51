"""Process trees: what they use, and their end by force."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import psutil

_KILL_S = 10.0
# A process that is this young may not have begun its own program yet, and still have all memory of its parent.
_NEW_S = 0.2


@dataclass(frozen=True)
class Usage:
    """What a process tree has used.

    Parameters
    ----------
    cpu_s : float
        CPU seconds.
    rss : int
        Resident bytes now.
    parts : dict
        The same by part: ``driver`` (the root), ``jvm`` (Java below it), ``workers`` (all others).
    """

    cpu_s: float
    rss: int
    parts: dict[str, int] = field(default_factory=dict)


def tree_usage(pid: int) -> Usage:
    """CPU seconds and resident memory of a process with all its descendants.

    CPU seconds include children that have ended and been waited for. Memory that processes share counts in each of them.

    Raises
    ------
    psutil.NoSuchProcess
        There is no such process.
    """
    cpu_s, parts = 0.0, Counter[str]()
    root = psutil.Process(pid)
    # By the clock that psutil reckons by: its time of boot is rounded to seconds.
    now = psutil.boot_time() + time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.time()
    for process in members(root):
        with contextlib.suppress(psutil.NoSuchProcess):
            cpu_s += sum(process.cpu_times()[:4])  # user, system, and both of the children that have ended
            if process == root or now - process.create_time() > _NEW_S:
                part = "driver" if process == root else "jvm" if process.name() == "java" else "workers"
                parts[part] += process.memory_info().rss
    return Usage(cpu_s, parts.total(), dict(parts))


def members(process: psutil.Process) -> list[psutil.Process]:
    """The process and its descendants; nothing once it has ended."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kill(processes: Sequence[psutil.Process]) -> None:
    """End processes by SIGKILL and wait until they are gone."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=_KILL_S)
