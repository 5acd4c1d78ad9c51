"""Questions by GET and by POST, and answers in the form that was asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pyarrow as pa
from fastapi import APIRouter, Query, Response

from fink_broker.query.formats import encoded
from fink_broker.web import asks

MEDIA = {
    "json": "application/json",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "votable": "application/x-votable+xml",
}
_NEXT = "X-Next-Skip"
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"description": about, "content": {"application/json": {"example": {"error": "one line that says what is wrong"}}}}
    for code, about in {
        400: "cannot be asked here",
        413: "too much was sent",
        422: "a parameter is wrong",
        429: "too often",
        503: "a server does not answer",
    }.items()
}


def both(api: APIRouter, path: str, answer: Callable[[Any], Response], model: type, about: str) -> None:
    """A question by GET, with parameters in the address, and by POST, with a JSON object."""

    def get_(ask: Any) -> Response:
        return answer(ask)

    def post(ask: Any) -> Response:
        return answer(ask)

    get_.__annotations__["ask"] = Annotated[model, Query()]
    post.__annotations__["ask"] = model
    for method, function in (("GET", get_), ("POST", post)):
        name = f"{path.strip('/')}_{method.lower()}"
        api.add_api_route(path, function, methods=[method], name=name, description=about, tags=["objects"], responses=_PROBLEMS)


def answered(rows: pa.Table, ask: asks.Ask, n: int = asks.MOST) -> Response:
    """Rows from the first that was asked for; where there are more than `n`, a header says how many to skip for those."""
    headers = {_NEXT: str(ask.skip + n)} if len(rows) > ask.skip + n else None
    return Response(encoded(rows.slice(ask.skip, n), ask.output_format), headers=headers, media_type=MEDIA[ask.output_format])
