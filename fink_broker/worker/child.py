"""A process of its own for a module that may end the one it runs in."""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, Pipe
from typing import Any, NoReturn

import pandas as pd

from fink_broker.science.module import Module
from fink_broker.worker.limits import TimeIsUp

Rows = Mapping[str, pd.Series]

_PR_SET_PDEATHSIG = 1
_HIGHEST = 1 << 16


class Ended(Exception):
    """The process ended while the module ran; the message says how."""


class Failed(Exception):
    """What the module raised, as text."""


class Child:
    """A fork of the worker that calls one module, again and again; a new one is made when it has ended.

    Parameters
    ----------
    module : Module
        Module.
    call : callable
        Calls it on rows.
    """

    def __init__(self, module: Module, call: Callable[[Module, Rows], Any]) -> None:
        self._module, self._call = module, call
        self._pid: int | None = None
        self._pipe: Connection | None = None

    def __call__(self, rows: Rows, seconds: float) -> tuple[Any, float]:
        """What the module returns, and the CPU seconds that it took.

        Raises
        ------
        Ended, Failed, TimeIsUp
            The process ended, the module raised, or the time was up.
        """
        pipe = self._pipe or self._fork()
        try:
            pipe.send_bytes(pickle.dumps(dict(rows)))
            if not pipe.poll(seconds):
                self.end()
                raise TimeIsUp(seconds)
            good, result, cpu_s = pickle.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            raise Ended(f"ended its process: {self._how()}") from None
        if not good:
            raise Failed(result)
        return result, cpu_s

    def _fork(self) -> Connection:
        mine, its = Pipe()
        sys.stdout.flush()
        self._pid = os.fork()
        if self._pid == 0:
            self._serve(its)
        its.close()
        self._pipe = mine
        return mine

    def _serve(self, pipe: Connection) -> NoReturn:
        try:
            # It ends with the worker, and holds none of its sockets: Spark would wait for them.
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            os.closerange(3, pipe.fileno())
            os.closerange(pipe.fileno() + 1, _HIGHEST)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            while True:
                rows = pickle.loads(pipe.recv_bytes())
                began = time.process_time()
                try:
                    answer = (True, self._call(self._module, rows), time.process_time() - began)
                except BaseException as error:  # noqa: BLE001 - told to the worker
                    answer = (False, f"{type(error).__name__}: {error}", time.process_time() - began)
                pipe.send_bytes(pickle.dumps(answer))
        finally:
            os._exit(0)

    def _how(self) -> str:
        """How the process ended."""
        assert self._pid is not None
        _, status = os.waitpid(self._pid, 0)
        self._forget()
        if os.WIFSIGNALED(status):
            return signal.Signals(os.WTERMSIG(status)).name
        return f"exit code {os.WEXITSTATUS(status)}"

    def end(self) -> None:
        """End it at once."""
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._forget()

    def _forget(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        self._pid = self._pipe = None
