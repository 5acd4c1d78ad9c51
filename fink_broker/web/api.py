"""The REST API, ``/api/v1``: questions and answers as Fink's public API has them, so that users' scripts need another address only.

``/api/v1/...`` is the survey of the configuration, ``/api/v1/<survey>/...`` each.
"""

import math
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from fink_broker import query, surveys
from fink_broker.config import Settings
from fink_broker.errors import ConfigError, UsageError
from fink_broker.filters import registry
from fink_broker.filters.known import Known
from fink_broker.query.described import labels, schema
from fink_broker.query.formats import encoded
from fink_broker.surveys import Survey
from fink_broker.web import asks, images, questions, writing
from fink_broker.web.answers import MEDIA, both
from fink_broker.web.pool import Pool
from fink_broker.web.state import Cached, State

PREFIX = "/api/v1"
_CLASSES_S = 60.0


def router(settings: Settings, state: State) -> APIRouter:
    """All routes of the API.

    Parameters
    ----------
    settings : Settings
        Which broker.
    state : State
        What the services do.

    Raises
    ------
    ConfigError
        The token by which may be written cannot be read.
    """
    api = APIRouter(prefix=PREFIX)
    check = writing.allowed(writing.token(settings))
    _broker(api, settings, state)
    writing.switches(api, settings, check)
    for name in surveys.names():
        survey = surveys.get(name)
        if survey.lookups is None:
            continue
        pool = Pool(settings.model_copy(update={"survey": name}))
        for prefix in ("", f"/{name}") if name == settings.survey else (f"/{name}",):
            part = APIRouter(prefix=prefix)
            _survey(part, survey, pool)
            writing.said(part, survey, pool, check)
            api.include_router(part)
    return api


def _broker(api: APIRouter, settings: Settings, state: State) -> None:
    """What is asked of the broker, whatever the survey."""

    @api.get("/status", tags=["broker"])
    def status() -> dict[str, Any]:
        """What each service took in, gave out and dropped; whether the sums meet."""
        return state.services()

    @api.get("/nights", tags=["broker"])
    def nights() -> list[dict[str, Any]]:
        """Alerts by night."""
        return state.nights()

    @api.get("/counts", tags=["broker"])
    def counts(night: Annotated[str | None, Query(pattern="^[0-9]{8}$")] = None) -> dict[str, dict[str, int]]:
        """Science alerts by class, field, band, hour and filter, as `fink start aggregation` counts them; of all nights without `night`."""
        return state.counted(night)

    @api.get("/history", tags=["broker"])
    def history(seconds: Annotated[float | None, Query(gt=0, le=1e10)] = None) -> dict[str, Any]:
        """Alerts over time; all of it without `seconds`."""
        return state.history(seconds)

    @api.get("/sky", tags=["objects"])
    def sky(night: Annotated[str, Query(pattern="^[0-9]{8}$")], n: Annotated[int, Query(ge=1, le=asks.MOST)] = 5_000) -> Response:
        """Where the alerts of a night fell: object, right ascension and declination, degrees; of about `n` of them if there are more."""
        survey = surveys.get(settings.survey)
        lookups = survey.lookups
        if lookups is None:
            raise UsageError(f"{settings.survey} has no HBase tables yet")
        number = next((one["science"] for one in state.nights() if one["night"] == night), 0)
        # From all of the night and of the sky.
        where = f"hash({survey.alert_id}) % {math.ceil(number / n)} = 0" if number > n else None
        rows = query.alerts(settings, night, night, [lookups.object, *lookups.position], where=where, limit=n)
        names = ["object", "ra", "dec"] if rows.num_columns else []
        return Response(encoded(rows.rename_columns(names), "json"), media_type=MEDIA["json"])


def _survey(api: APIRouter, survey: Survey, pool: Pool) -> None:
    """What is asked of a survey's objects, alerts and filters."""
    questions.add(api, survey, pool)
    images.add(api, survey, pool)
    listed = Cached(lambda: _labels(pool), _CLASSES_S)
    described = Cached(lambda: _schema(pool), _CLASSES_S)

    def tags(ask: asks.Tags) -> Any:
        """The filters in use or, with `tag`, the newest alerts that one has chosen."""
        return questions.tagged(pool, ask) if ask.tag else _filters(pool.settings, survey)

    both(api, "/tags", tags, asks.Tags, tags.__doc__ or "")

    @api.get("/blocks", tags=["objects"])
    def blocks() -> dict[str, str]:
        """The building blocks that filters may name."""
        return _blocks(pool.settings, survey)

    @api.get("/classes", tags=["objects"])
    def classes() -> dict[str, list[str]]:
        """The classes of alerts, by where they come from."""
        return listed()

    @api.get("/schema", tags=["objects"])
    def columns() -> dict[str, dict[str, dict[str, str]]]:
        """The columns of an object's alerts by family, with their types and what they are."""
        return described()


def _labels(pool: Pool) -> dict[str, list[str]]:
    with pool.tables() as tables:
        return labels(tables)


def _schema(pool: Pool) -> dict[str, dict[str, dict[str, str]]]:
    with pool.tables() as tables:
        return schema(tables)


def _filters(settings: Settings, survey: Survey) -> dict[str, dict[str, str]]:
    found = _sound(lambda: registry.active(settings, survey))
    return {one.name: {"description": one.sql or f"function in {one.origin or one.reference}"} for one in found}


def _blocks(settings: Settings, survey: Survey) -> dict[str, str]:
    found = _sound(lambda: Known(settings, survey).blocks)
    return {name: f"function in {reference}" for name, (_, reference) in found.items()}


def _sound(load: Callable[[], Any]) -> Any:
    """What the configuration says of filters; it may be that of another survey."""
    try:
        return load()
    except ConfigError as error:
        raise UsageError(str(error)) from error
