"""A progress line for long steps: rewritten in place on a terminal, now and then a new line elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

_TERMINAL_S, _ELSEWHERE_S = 0.5, 15.0


class Progress:
    """Prints what is going on, how far it is, and in the end how long it took.

    Parameters
    ----------
    out : TextIO
        Where to print.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._terminal = out.isatty()
        self._width = 0

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[str], None]]:
        """Print a step while it lasts; gives a function that says how far it is."""
        began = time.monotonic()
        detail = [""]
        over = threading.Event()

        def tick() -> None:
            while not over.wait(_TERMINAL_S if self._terminal else _ELSEWHERE_S):
                self._print(f"  {name} ... {time.monotonic() - began:.0f} s  {detail[0]}", last=False)

        ticker = threading.Thread(target=tick, daemon=True)
        ticker.start()
        try:
            yield lambda text: detail.__setitem__(0, text)
        finally:
            over.set()
            ticker.join()
            self._print(f"  {name}: {time.monotonic() - began:.1f} s", last=True)

    def _print(self, text: str, *, last: bool) -> None:
        if not self._terminal:
            print(text, file=self._out, flush=True)
            return
        print("\r" + text.ljust(self._width), end="\n" if last else "", file=self._out, flush=True)
        self._width = 0 if last else len(text)
