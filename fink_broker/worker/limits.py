"""Limits of time and memory for somebody else's code."""

from __future__ import annotations

import faulthandler
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_GRACE_S = 1.0


class TimeIsUp(BaseException):
    """A module took too long. No `Exception`: a module that catches those must not catch this.

    Parameters
    ----------
    seconds : float
        What it had.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"took longer than {seconds:g} s")


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Interrupt what runs inside after so many seconds.

    By a signal: it ends Python code, and C code when that comes back. Only the main thread gets signals; there Spark's workers run. A
    module that goes on nevertheless, because it catches everything or never comes back, loses its process after as long again: the next
    worker knows who did it, see `worker.place`.

    Raises
    ------
    TimeIsUp
        Inside, when the time is up.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def up(_number: int, _frame: FrameType | None) -> None:
        raise TimeIsUp(seconds)

    before = signal.signal(signal.SIGALRM, up)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        # By a thread of C, which needs no lock of the interpreter.
        faulthandler.dump_traceback_later(2 * seconds + _GRACE_S, exit=True)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, before)


def bound_memory(more_mb: int) -> None:
    """Let this process take so much more memory than it has now; beyond, it gets a MemoryError, and nobody else's process has to end."""
    with open("/proc/self/status", encoding="ascii") as lines:
        data = next(int(line.split()[1]) for line in lines if line.startswith("VmData:"))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = data * 1024 + more_mb * 1_000_000
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
