"""The REST API, ``/api/v1``: questions and answers as Fink's public API has them, so that users' scripts need another address only."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import pyarrow as pa
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from fink_broker import query
from fink_broker.config import Settings
from fink_broker.errors import UsageError
from fink_broker.filters import registry as filters
from fink_broker.query.formats import encoded
from fink_broker.query.pictures import pixels
from fink_broker.query.times import days
from fink_broker.surveys import get
from fink_broker.web import asks
from fink_broker.web.pool import Pool
from fink_broker.web.state import State

_MEDIA = {
    "json": "application/json",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "votable": "application/x-votable+xml",
}

A = TypeVar("A", bound=BaseModel)


def router(settings: Settings, state: State, pool: Pool) -> APIRouter:
    """All routes of the API.

    Parameters
    ----------
    settings : Settings
        Survey and filters.
    state : State
        What the services do.
    pool : Pool
        Connections to the tables.
    """
    api = APIRouter(prefix="/api/v1")
    _questions(api, pool)
    _cutouts(api, pool)

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

    @api.get("/classes", tags=["objects"])
    def classes() -> dict[str, int]:
        """The classes of alerts, with how many there are."""
        return state.counted().get("class", {})

    @api.get("/history", tags=["broker"])
    def history(seconds: Annotated[float | None, Query(gt=0)] = None) -> dict[str, Any]:
        """Alerts over time; all of it without `seconds`."""
        return state.history(seconds)

    @api.get("/sky", tags=["objects"])
    def sky(night: Annotated[str, Query(pattern="^[0-9]{8}$")], n: Annotated[int, Query(ge=1, le=asks.MOST)] = 5_000) -> Response:
        """Where the alerts of a night fell: object, right ascension and declination, degrees."""
        lookups = get(settings.survey).lookups
        if lookups is None:
            raise UsageError(f"{settings.survey} has no HBase tables yet")
        rows = query.alerts(settings, night, night, [lookups.object, *lookups.position], limit=n)
        return Response(encoded(rows.rename_columns(["object", "ra", "dec"]), "json"), media_type=_MEDIA["json"])

    @api.get("/tags", tags=["broker"])
    def tags() -> dict[str, dict[str, str]]:
        """The filters in use."""
        found = filters.active(settings, get(settings.survey))
        return {one.name: {"description": one.sql or f"function in {one.origin or one.reference}"} for one in found}

    @api.get("/schema", tags=["objects"])
    def schema() -> dict[str, str]:
        """The columns of an object's alerts, with their types."""
        with pool.tables() as tables:
            return dict(tables.kinds(tables.lookup("object").table))

    return api


def _questions(api: APIRouter, pool: Pool) -> None:
    def objects(ask: asks.Objects) -> Response:
        """The alerts of objects, by time."""
        with pool.tables() as tables:
            found = [query.light_curve(tables, name, ask.names, limits=ask.withupperlim) for name in ask.objects]
        return _answer(pa.concat_tables(found, promote_options="permissive") if found else pa.table({}), ask)

    def cone(ask: asks.Cone) -> Response:
        """Objects around a position, the nearest first."""
        with pool.tables() as tables:
            return _answer(query.cone(tables, ask.ra, ask.dec, ask.radius / 3600, ask.names).slice(0, ask.n), ask)

    def latests(ask: asks.Latests) -> Response:
        """The newest alerts of a class."""
        with pool.tables() as tables:
            since, until = (days(text.strip(), tables.zero) if text.strip() else None for text in (ask.startdate, ask.stopdate))
            rows = query.of(tables, "class", ask.class_, ask.names, since=since, until=until, limit=ask.n, newest=True)
        return _answer(rows, ask)

    def sso(ask: asks.Sso) -> Response:
        """The alerts of a solar-system object."""
        with pool.tables() as tables:
            return _answer(query.of(tables, "solar_system", ask.n_or_d.replace(" ", ""), ask.names), ask)

    def tracklet(ask: asks.Tracklet) -> Response:
        """The alerts of a track."""
        with pool.tables() as tables:
            return _answer(query.of(tables, "tracklet", ask.id, ask.names), ask)

    def statistics(ask: asks.Statistics) -> Response:
        """Counts of nights."""
        with pool.tables() as tables:
            return _answer(query.of(tables, "statistics", ask.date, ask.names), ask)

    def resolver(ask: asks.Resolver) -> Response:
        """An object's names in other catalogues."""
        with pool.tables() as tables:
            return _answer(query.resolve(tables, ask.name), ask)

    for path, answer in (
        ("/objects", objects),
        ("/conesearch", cone),
        ("/latests", latests),
        ("/sso", sso),
        ("/tracklet", tracklet),
        ("/statistics", statistics),
        ("/resolver", resolver),
    ):
        _both(api, path, answer)


def _cutouts(api: APIRouter, pool: Pool) -> None:
    def cutouts(ask: asks.Cutouts) -> Response:
        """A cutout: as a picture, as a FITS file, or its pixels."""
        with pool.tables() as tables:
            fits = query.cutout(tables, ask.objectId, ask.kind.lower().removeprefix("cutout"), ask.candid)
        if ask.output_format == "FITS":
            return Response(fits, media_type="image/fits")
        if ask.output_format == "PNG":
            return Response(query.png(fits, stretch=ask.stretch), media_type="image/png")
        return Response(_pixels(fits, ask.kind), media_type="application/json")

    _both(api, "/cutouts", cutouts)


def _pixels(fits: bytes, kind: str) -> bytes:
    rows = pa.table({f"b:cutout{kind.capitalize()}_stampData": [pixels(fits).tolist()]})
    return encoded(rows, "json")


def _both(api: APIRouter, path: str, answer: Callable[[A], Response]) -> None:
    """A question by GET, with parameters in the address, and by POST, with a JSON object."""
    model = answer.__annotations__["ask"]

    def get_(ask: Any) -> Response:
        return answer(ask)

    def post(ask: Any) -> Response:
        return answer(ask)

    get_.__annotations__["ask"] = Annotated[model, Query()]
    post.__annotations__["ask"] = model
    for method, function in (("GET", get_), ("POST", post)):
        name = f"{path.strip('/')}_{method.lower()}"
        api.add_api_route(path, function, methods=[method], name=name, description=answer.__doc__ or "", tags=["objects"])


def _answer(rows: pa.Table, ask: asks.Ask) -> Response:
    return Response(encoded(rows, ask.output_format), media_type=_MEDIA[ask.output_format])
