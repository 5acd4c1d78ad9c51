"""The dashboard's application: pages, API and metrics under one address."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from functools import lru_cache
from pathlib import Path

from fastapi import FastAPI, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from fastapi.staticfiles import StaticFiles

from fink_broker import __version__
from fink_broker.config import Settings
from fink_broker.monitoring import prometheus
from fink_broker.web import api, followup, guard, pages, writing
from fink_broker.web.pool import Pool
from fink_broker.web.state import FRESH_S, State

_HERE = Path(__file__).parent

log = logging.getLogger(__name__)


def create(settings: Settings) -> FastAPI:
    """The application.

    Parameters
    ----------
    settings : Settings
        Which broker it shows.
    """
    app = FastAPI(
        title="Fink",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        max_body_size=settings.dashboard.max_body_mb * 1_000_000,
    )
    state, exporter = State(settings), prometheus.Exporter()
    app.include_router(api.router(settings, state))
    app.include_router(followup.router(settings, Pool(settings), writing.allowed(writing.token(settings))))
    app.mount("/static", StaticFiles(directory=_HERE / "static"))
    guard.protect(app, settings.dashboard)
    app.include_router(pages.router(app, settings, state))

    @app.get("/static-plotly.js", include_in_schema=False)
    def plotly() -> Response:
        return Response(_plotly(), media_type="text/javascript", headers={"Cache-Control": "max-age=86400"})

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> Response:
        return Response(exporter.text(state.services()), media_type="text/plain; version=0.0.4")

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


@lru_cache(maxsize=1)
def _plotly() -> bytes:
    """Plotly's JavaScript, out of its Python package: nothing is fetched from elsewhere."""
    from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

    text: str = get_plotlyjs()
    return text.encode()  # once: it is long
