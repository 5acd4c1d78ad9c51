"""Waiting for a server, with back-off, aloud and not for ever."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from fink_broker.errors import ServerUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")


def patiently(ask: Callable[[], T], faults: tuple[type[Exception], ...], seconds: float, what: str) -> T:
    """Call until it works, waiting 0.2 s, then twice as long each time, at most 10 s.

    Parameters
    ----------
    ask : callable
        What to try.
    faults : tuple of exception types
        What "not there yet" looks like; anything else is raised at once.
    seconds : float
        How long to go on trying.
    what : str
        The server and its address, for the messages.

    Raises
    ------
    ServerUnavailable
        It did not answer in time; the last fault is the cause.
    """
    begin = time.monotonic()
    pause, told = 0.2, False
    while True:
        try:
            return ask()
        except faults as fault:
            waited = time.monotonic() - begin
            left = seconds - waited
            if left <= 0:
                raise ServerUnavailable(
                    f"{what} did not answer within {seconds:g} s: is it running? ([wait] seconds sets how long to try)"
                ) from fault
            log.info("%s does not answer: %s", what, fault)
            if not told and waited > 1:
                print(f"waiting for {what} (at most {seconds:g} s) ...", file=sys.stderr, flush=True)
                told = True
            time.sleep(min(pause, max(left, 0.05)))
            pause = min(2 * pause, 10.0)
