"""The pages: templates with little data in them; their script asks the API for the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from fastapi.templating import Jinja2Templates

from fink_broker import __version__
from fink_broker.config import Settings
from fink_broker.query.cone import SEPARATION
from fink_broker.surveys import Survey, get
from fink_broker.web.api import PREFIX
from fink_broker.web.state import State

_HERE = Path(__file__).parent
_PAGES = ("index", "live", "history", "aggregation", "classification", "sky", "filters", "rejected", "latest", "cone", "api")
_METHODS = ("get", "post")
_STRETCHES = ("asinh", "linear", "log", "sqrt")

Page = Callable[..., HTMLResponse]


def router(app: FastAPI, settings: Settings, state: State) -> APIRouter:
    """The routes of all pages.

    Parameters
    ----------
    app : FastAPI
        Whose API is described.
    settings : Settings
        Which broker.
    state : State
        What the servers do.
    """
    routes = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
    templates = Jinja2Templates(_HERE / "templates")
    survey = get(settings.survey)
    about = {
        "version": __version__,
        "survey": settings.survey,
        "pages": _PAGES,
        "columns": columns(survey),
        "topic": f"fink_{{}}_{survey.topic_suffix}",
    }

    def page(what: str, request: Request, **more: Any) -> HTMLResponse:
        return templates.TemplateResponse(request, f"{what}.html", about | {"page": what} | more)

    _simple(routes, page)

    @routes.get("/servers", response_class=JSONResponse)
    def servers() -> list[dict[str, Any]]:
        return state.servers()

    @routes.get("/api.html")
    def api(request: Request) -> HTMLResponse:
        return page("api", request, calls=list(calls(app.openapi(), settings.survey)), base=str(request.base_url).rstrip("/"))

    @routes.get("/object")
    def named(name: str) -> RedirectResponse:
        return RedirectResponse(f"/object/{quote(name.strip(), safe='')}", 303)

    @routes.get("/object/{name}")
    def an_object(request: Request, name: str) -> HTMLResponse:
        cutouts = [one.removeprefix("cutout") for one in survey.cutouts]
        return page("object", request, name=name, cutouts=cutouts, stretches=_STRETCHES)

    return routes


def _simple(routes: APIRouter, page: Page) -> None:
    def shown(name: str) -> Callable[[Request], HTMLResponse]:
        # The type of its argument tells FastAPI that it is no parameter.
        def show(request: Request) -> HTMLResponse:
            return page(name, request)

        return show

    for name in _PAGES:
        if name != "api":
            routes.add_api_route(f"/{name}.html", shown(name))
    routes.add_api_route("/", shown("index"))


def columns(survey: Survey) -> dict[str, Any]:
    """What the script has to know of a survey: what its columns are called in the API's answers; empty if it has no tables."""
    known, facts = survey.lookups, survey.facts
    if known is None or facts is None:
        return {}
    family = known.time.partition(":")[0]

    def named(fields: tuple[str, ...]) -> str:
        return f"{family}:{fields[0].rpartition('.')[2]}" if fields else ""

    return {
        "light_curve": next(path for path, question in known.api.paths.items() if question == "object"),
        "by": [known.api.object, known.api.alert],
        "object": known.object,
        "alert": known.alert,
        "time": known.time,
        "mjd_zero": facts.mjd_zero,
        "position": known.position,
        "first": known.first,
        "tag": known.tag,
        "separation": SEPARATION,
        "band": named(facts.band),
        "bands": facts.bands,
        "brightness": named(facts.brightness),
        "error": named(facts.error),
        "limit": named(facts.limit),
        "is_flux": facts.zero_point is not None,
    }


def calls(described: dict[str, Any], survey: str) -> Iterator[dict[str, Any]]:
    """The calls of the API, out of its own OpenAPI document: path, methods, what it answers, parameters.

    Those of the survey that is answered for by default are there without its name only.
    """
    for path, methods in described["paths"].items():
        spoken = [method for method in _METHODS if method in methods]
        if not spoken or path.startswith(f"{PREFIX}/{survey}/"):
            continue
        first = methods[spoken[0]]
        yield {
            "path": path,
            "methods": " ".join(method.upper() for method in spoken),
            "description": first.get("description", "").replace("`", ""),
            "parameters": [_parameter(one) for one in first.get("parameters", ())],
        }


def _parameter(one: dict[str, Any]) -> dict[str, Any]:
    schema = one["schema"]
    kinds = [kind for kind in schema.get("anyOf", [schema]) if kind.get("type") != "null"]
    values = [value for kind in kinds for value in kind.get("enum", [kind.get("const", kind.get("type", ""))])]
    about = {"name": one["name"], "kind": ", ".join(map(str, values)), "description": one.get("description", schema.get("description", ""))}
    default = "" if one.get("required") else json.dumps(schema.get("default")) if schema.get("default") not in (None, "") else "-"
    return about | {"required": bool(one.get("required")), "default": default}
