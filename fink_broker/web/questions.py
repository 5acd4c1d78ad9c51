"""What is asked of a survey's objects and alerts, and the answers, as Fink's public API has them (fink-object-api, ``apps/routes``)."""

from __future__ import annotations

import ast
import base64
import binascii
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from fastapi import APIRouter, Response

from fink_broker import query
from fink_broker.catalogues.coverage import Coverage
from fink_broker.errors import UsageError
from fink_broker.notices.received import skymap_of
from fink_broker.query import anomalies, computed, names, skymap
from fink_broker.query.bodies import bodies, of_object
from fink_broker.query.cone import SEPARATION
from fink_broker.query.named import KEY
from fink_broker.query.rates import RATES
from fink_broker.query.tables import Tables
from fink_broker.query.times import days
from fink_broker.surveys import Survey
from fink_broker.surveys.lookups import Lookups, Question
from fink_broker.web import asks
from fink_broker.web.answers import answered, both
from fink_broker.web.images import with_cutouts
from fink_broker.web.pool import Pool

_NO_ALERT = -1
"""Id of what is no alert, as Fink has it: with null in their column pandas would make numbers with a point of all, and round them."""
_ONE_MAP = threading.Lock()  # they are large
_WITH_RATES = (*computed.ALWAYS, *RATES)


def add(api: APIRouter, survey: Survey, pool: Pool) -> None:
    """Add the questions of a survey to its routes."""
    known = survey.lookups
    assert known is not None
    model = asks.named(asks.Objects, known.api)
    for path, question in known.api.paths.items():
        both(
            api,
            f"/{path}",
            partial(_objects, pool, question),
            model,
            "The rows of objects, the newest first.",
        )
    some: tuple[tuple[str, Any, type[asks.Ask], str], ...] = (
        ("/conesearch", _cone, asks.Cone, "Objects around a position, the nearest first."),
        ("/latests", _latests, asks.Latests, "The newest alerts of a class."),
        ("/sso", _sso, asks.Sso, "The alerts of known bodies of the solar system."),
        ("/tracklet", _tracklet, asks.Tracklet, "The alerts of tracks."),
        ("/resolver", _resolver, asks.Resolver, "An object's names in other catalogues."),
        ("/anomaly", _anomaly, asks.Anomaly, "The alerts with the lowest anomaly scores, ten a night."),
        ("/statistics", _statistics, asks.Statistics, "Counts of nights."),
        ("/skymap", _skymap, asks.Skymap, "Objects in the sky map of a gravitational wave, first seen around its time."),
    )
    for path, answer, other, about in some:
        both(api, path, partial(answer, pool), asks.named(other, known.api), about)


def _objects(pool: Pool, question: Question, ask: asks.Objects) -> Response:
    with pool.tables() as tables:
        known, table = tables.lookups, tables.lookup(question).table
        # What the answer is made with, and has only if it was asked for.
        helpers = [known.time, *((known.object, known.alert) if ask.withcutouts else ())]
        helpers = [one for one in helpers if one in tables.kinds(table) and one not in (tables.columns(table, _stored(ask)) or ())]
        columns = None if ask.names is None else [*ask.names, *helpers]
        found, rows = [], 0
        for name in ask.objects:
            of = partial(query.light_curve, tables, name, limits=ask.withupperlim)
            if question != "object":
                of = partial(query.of, tables, question, name)
            found.append(computed.answer(tables, table, columns, of, _WITH_RATES if question == "object" else ()))
            if (rows := rows + len(found[-1])) > ask.skip + asks.MOST:
                break
        answer = _newest_first(pa.concat_tables(found, promote_options="permissive"), known)
        if ask.withcutouts:
            answer = with_cutouts(tables, answer, ask.cutout_kind)
        if columns is not None:
            answer = answer.drop_columns([one for one in helpers if one in answer.column_names])
    return answered(answer, ask)


def _stored(ask: asks.Ask) -> list[str]:
    """The columns that were asked for and are not computed."""
    return [name for name in ask.names or () if not name.startswith(computed.FAMILY) and name.partition(":")[2] != "tag" and name != "tag"]


def _newest_first(rows: pa.Table, known: Lookups) -> pa.Table:
    if known.time in rows.column_names:
        rows = rows.sort_by([(known.time, "descending")])
    if known.tag in rows.column_names and known.alert in rows.column_names:
        ids: Any = pc.fill_null(rows[known.alert], pa.scalar(_NO_ALERT, rows[known.alert].type))
        rows = rows.set_column(rows.column_names.index(known.alert), known.alert, ids)
    return rows


def _cone(pool: Pool, ask: asks.Cone) -> Response:
    with pool.tables() as tables:
        since, until = _between(tables, ask.startdate, ask.stopdate)
        if ask.window is not None:
            if since is None or until is not None:
                raise UsageError("window goes with startdate, in place of stopdate")
            until = since + ask.window
        columns = None if ask.names is None else [name for name in ask.names if name != SEPARATION]
        of = partial(query.cone, tables, ask.ra, ask.dec, ask.radius / 3600, since=since, until=until)
        rows = computed.answer(tables, tables.lookups.cone.table, columns, of, ())
    return answered(rows, ask, ask.n)


def _latests(pool: Pool, ask: asks.Latests) -> Response:
    with pool.tables() as tables:
        question, name = _labelled(tables.lookups, ask.class_)
        return _newest(tables, question, name, ask, _WITH_RATES if ask.color else computed.ALWAYS)


def tagged(pool: Pool, ask: asks.Tags) -> Response:
    """The newest alerts that a filter has chosen, where a survey has tables of them."""
    with pool.tables() as tables:
        if tables.survey.tag is None:
            raise UsageError(f"{tables.survey.name} has no tables of what filters have chosen: read the filter's topic, or ask /latests")
        return _newest(tables, "class", ask.tag, ask, computed.ALWAYS)


def _newest(tables: Tables, question: Question, name: str, ask: asks.Latests | asks.Tags, default: Sequence[str]) -> Response:
    since, until = _between(tables, ask.startdate, ask.stopdate)

    def of(some: Sequence[str] | None) -> pa.Table:
        return query.of(tables, question, name, some, since=since, until=until, limit=ask.skip + ask.n + 1, newest=True)

    return answered(computed.answer(tables, tables.lookup(question).table.format(name), ask.names, of, default), ask, ask.n)


def _labelled(known: Lookups, label: str) -> tuple[Question, str]:
    """Which question a class is, by what is before its name."""
    for begin, question in known.api.labels.items():
        if label.startswith(begin):
            return question, label.removeprefix(begin)
    return "class", label


def _sso(pool: Pool, ask: asks.Sso) -> Response:
    with pool.tables() as tables:
        return answered(bodies(tables, ask.objects, ask.names), ask)


def _tracklet(pool: Pool, ask: asks.Tracklet) -> Response:
    name = ask.id.strip() or "TRCK_" + ask.date.strip().translate({ord("-"): None, ord(":"): None, ord(" "): "_", ord("T"): "_"})
    if not (ask.id.strip() or ask.date.strip()):
        raise UsageError("say which: id (TRCK_20211022_091949_00, or its beginning), or date (2021-10-22 09:19:49)")
    with pool.tables() as tables:
        of = partial(query.of, tables, "tracklet", name, limit=ask.skip + asks.MOST + 1, begins=True)
        return answered(computed.answer(tables, tables.lookup("tracklet").table, ask.names, of), ask)


def _resolver(pool: Pool, ask: asks.Resolver) -> Response:
    with pool.tables() as tables:
        if ask.resolver == "tns":
            return answered(names.tns(tables, ask.name, ask.nmax, reverse=ask.reverse), ask)
        if ask.resolver == "ssodnet":
            if not ask.reverse:
                return answered(names.solar_system(tables, ask.name, ask.nmax), ask)
            found = [names.body(tables, key) for key in of_object(tables, ask.name)]
            return answered(pa.concat_tables(found, promote_options="permissive") if found else pa.table({}), ask, ask.nmax)
        if ask.resolver == "simbad":
            if not (ask.reverse and tables.lookups.catalogued):
                raise UsageError("names of SIMBAD are not kept here: ask Sesame (https://cds.unistra.fr/cgi-bin/Sesame), then /conesearch")
            return answered(query.light_curve(tables, ask.name, tables.lookups.catalogued), ask, ask.nmax)
        return answered(query.resolve(tables, ask.name), ask)


def _anomaly(pool: Pool, ask: asks.Anomaly) -> Response:
    with pool.tables() as tables:
        since, until = _between(tables, ask.start_date, ask.stop_date)
        until = None if until is None else until + 1
        of = partial(anomalies.anomalies, tables, ask.n, since=since, until=until)
        return answered(computed.answer(tables, tables.lookup("anomaly").table, ask.names, of), ask)


def _statistics(pool: Pool, ask: asks.Statistics) -> Response:
    with pool.tables() as tables:
        if ask.schema_:
            return answered(pa.table({"schema": list(tables.kinds(tables.lookup("statistics").table))}), ask)
        night = tables.lookups.api.night
        columns = None if ask.names is None else [name for name in ask.names if name != night]
        rows = query.of(tables, "statistics", ask.date, columns, keys=True)
    return answered(rows.rename_columns([night if name == KEY else name for name in rows.column_names]), ask)


def _skymap(pool: Pool, ask: asks.Skymap) -> Response:
    if bool(ask.file) == bool(ask.event_name):
        raise UsageError("send the sky map as file, or say event_name")
    with pool.tables() as tables:
        with _ONE_MAP:
            found = skymap.read(_bytes(ask.file)) if ask.file else _received(tables, ask.event_name)
        of = partial(skymap.inside, tables, *found, ask.credible_level, before=ask.n_day_before, after=ask.n_day_after)
        return answered(computed.answer(tables, tables.lookups.cone.table, ask.names, of, ()), ask)


def _received(tables: Tables, event: str) -> tuple[Coverage, float]:
    found = skymap_of(tables.settings.notices_folder, event)
    if found is None:
        raise UsageError(f"no notice of {event[:40]} with a sky map was received here: send the sky map as file")
    return found


def _bytes(text: str) -> bytes:
    """Bytes as Python writes them, which Fink's clients send, or in base64."""
    if text.startswith(("b'", 'b"')):
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise UsageError("file is not as Python writes bytes") from error
        if not isinstance(value, bytes):
            raise UsageError("file is not as Python writes bytes")
        return value
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise UsageError(f"file is neither base64 nor as Python writes bytes: {error}") from error


def _between(tables: Tables, since: str, until: str) -> tuple[float | None, float | None]:
    first, last = (days(text.strip(), tables.zero) if text.strip() else None for text in (since, until))
    return first, last
