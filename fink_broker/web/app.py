"""The dashboard's application: pages, API and metrics under one address."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import lru_cache
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles

from fink_broker import __version__
from fink_broker.config import Settings
from fink_broker.errors import FinkError, ServerUnavailable, UsageError
from fink_broker.monitoring import prometheus
from fink_broker.web import api, pages
from fink_broker.web.pool import Pool
from fink_broker.web.state import FRESH_S, State

_HERE = Path(__file__).parent
_HEADERS = {
    # Plotly sets styles of its own, and pictures of plots are data and blobs.
    "Content-Security-Policy": (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}

log = logging.getLogger(__name__)

Next = Callable[[Request], Awaitable[Response]]


def create(settings: Settings) -> FastAPI:
    """The application.

    Parameters
    ----------
    settings : Settings
        Which broker it shows.
    """
    app = FastAPI(title="Fink", version=__version__, docs_url=None, redoc_url=None, openapi_url="/api/v1/openapi.json")
    state, pool = State(settings), Pool(settings)
    app.include_router(api.router(settings, state, pool))
    app.mount("/static", StaticFiles(directory=_HERE / "static"))
    _guard(app)
    app.include_router(pages.router(app, settings, state, pool))

    @app.get("/static-plotly.js", include_in_schema=False)
    def plotly() -> Response:
        return Response(_plotly(), media_type="text/javascript", headers={"Cache-Control": "max-age=86400"})

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return Response(prometheus.text(state.services()), media_type="text/plain; version=0.0.4")

    @app.get("/events", include_in_schema=False)
    async def events() -> StreamingResponse:
        return StreamingResponse(_events(state), media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    return app


async def _events(state: State) -> AsyncIterator[str]:
    """The state of the services, again and again (server-sent events)."""
    while True:
        found = await run_in_threadpool(state.services)
        yield f"data: {json.dumps(found)}\n\n"
        await asyncio.sleep(FRESH_S)


def _guard(app: FastAPI) -> None:
    """Headers of every answer, and errors as one line each."""

    @app.middleware("http")
    async def headers(request: Request, follow: Next) -> Response:
        response = await follow(request)
        response.headers.update(_HEADERS)
        return response

    @app.exception_handler(FinkError)
    async def fault(_: Request, error: FinkError) -> JSONResponse:
        code = {UsageError: 400, ServerUnavailable: 503}.get(type(error), 500)
        return JSONResponse({"error": str(error)}, code)


@lru_cache(maxsize=1)
def _plotly() -> str:
    """Plotly's JavaScript, out of its Python package: nothing is fetched from elsewhere."""
    from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

    text: str = get_plotlyjs()
    return text
