"""Who may ask how often, and what every answer says of itself."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fink_broker.config.sections import Dashboard
from fink_broker.errors import FinkError, ServerUnavailable, UsageError

HEADERS = {
    # Plotly sets styles of its own, and pictures of plots are data and blobs.
    "Content-Security-Policy": (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
_LIMITED = "/api/"
# So many addresses are remembered before those that have not asked for a while are forgotten.
_ADDRESSES = 10_000
# Questions that are worked on at once: more would wait for the processors, with all that they hold, and take the threads of pages.
_AT_WORK = 8
# And those that wait for their turn.
_WAITING = 200


class Rate:
    """How often each may ask: so many a second in the long run, and so many at once after a rest.

    The generic cell rate algorithm (ITU-T I.371): of each one time is kept, that up to which what was asked is paid for.

    Parameters
    ----------
    per_second : float
        Questions a second; 0 for no limit.
    at_once : int
        Questions at once.
    clock : callable
        Seconds.
    """

    def __init__(self, per_second: float, at_once: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._each = 1 / per_second if per_second else 0.0
        # A millionth of a question, so that rounding refuses none.
        self._ahead = self._each * (at_once - 1 + 1e-6)
        self._clock = clock
        self._paid: dict[str, float] = {}
        self._lock = threading.Lock()

    def wait(self, who: str) -> float:
        """Count a question. Seconds until it may be asked again, and then it is not counted; 0 if it may be asked now."""
        if not self._each:
            return 0.0
        now = self._clock()
        with self._lock:
            if len(self._paid) >= _ADDRESSES:
                self._paid = {one: paid for one, paid in self._paid.items() if paid > now}
            paid = max(self._paid.get(who, now), now)
            if paid - now > self._ahead:
                return paid - now - self._ahead
            self._paid[who] = paid + self._each
        return 0.0


class Guard:
    """How often is asked, and headers of every answer.

    Parameters
    ----------
    app : ASGI application
        What answers.
    limits : Dashboard
        How often.
    """

    def __init__(self, app: ASGIApp, limits: Dashboard) -> None:
        self._app = app
        self._rate = Rate(limits.rate_per_second, limits.rate_at_once)
        self._turns = asyncio.Semaphore(_AT_WORK)
        self._asked = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse to."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def headed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        who = (scope.get("client") or ("", 0))[0]
        if not scope["path"].startswith(_LIMITED):
            await self._app(scope, receive, headed)
        elif seconds := self._rate.wait(who):
            late = {"Retry-After": f"{int(seconds) + 1}"}
            await _said("too many questions: wait, or ask for several objects at once", 429, late)(scope, receive, headed)
        elif self._asked >= _AT_WORK + _WAITING:
            await _said("the broker is busy with other questions: ask again", 503, {"Retry-After": "5"})(scope, receive, headed)
        else:
            await self._in_turn(scope, receive, headed)

    async def _in_turn(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._asked += 1
        try:
            await self._turns.acquire()
        except asyncio.CancelledError:
            self._asked -= 1
            raise
        working = True

        def done() -> None:
            nonlocal working
            if working:
                self._turns.release()
                self._asked -= 1
            working = False

        async def sent(message: Message) -> None:
            # The answer is there: who reads it slowly holds nobody up.
            done()
            await send(message)

        try:
            await self._app(scope, receive, sent)
        finally:
            done()


def _said(line: str, code: int, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": line}, code, headers)


def protect(app: FastAPI, limits: Dashboard) -> None:
    """Guard an application, and have every error be one line."""
    app.add_middleware(Guard, limits=limits)

    @app.exception_handler(FinkError)
    async def fault(_: Request, error: FinkError) -> JSONResponse:
        return _said(str(error), {UsageError: 400, ServerUnavailable: 503}.get(type(error), 500))

    @app.exception_handler(RequestValidationError)
    async def wrong(_: Request, error: RequestValidationError) -> JSONResponse:
        return _said("; ".join(_line(list(one["loc"][1:]), str(one["msg"])) for one in error.errors()[:3]), 422)

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        return _said(str(error.detail), error.status_code, dict(error.headers or {}))


def _line(where: list[object], what: str) -> str:
    place = ".".join(str(part) for part in where if not isinstance(part, int))
    return f"{place}: {what.removeprefix('Value error, ')}" if place else what
