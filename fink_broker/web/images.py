"""Cutouts of alerts: as pictures, as files, as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pyarrow as pa
from fastapi import APIRouter, Response

from fink_broker import query
from fink_broker.errors import UsageError
from fink_broker.query.formats import encoded
from fink_broker.query.pictures import Look, pixels
from fink_broker.query.tables import Tables
from fink_broker.surveys import Survey
from fink_broker.web import asks
from fink_broker.web.answers import MEDIA, both
from fink_broker.web.pool import Pool

_ALL = "all"
_KINDS = ("Science", "Template", "Difference")


def add(api: APIRouter, survey: Survey, pool: Pool) -> None:
    """Add the question for cutouts to the routes of a survey."""
    assert survey.lookups is not None
    model = asks.named(asks.Cutouts, survey.lookups.api)
    both(api, "/cutouts", partial(_cutouts, pool), model, "A cutout: as a picture, as a FITS file, or its pixels.")


def _cutouts(pool: Pool, ask: asks.Cutouts) -> Response:
    kind = ask.kind.lower().removeprefix("cutout")
    if kind == _ALL and ask.output_format != "array":
        raise UsageError("kind All goes with output-format array only")
    with pool.tables() as tables:
        kinds = _KINDS if kind == _ALL else (kind.capitalize(),)
        fits = {one: query.cutout(tables, ask.objectId, one.lower(), ask.candid) for one in kinds}
    if ask.output_format == "array":
        # One record, not a list of them.
        rows = pa.table({_column(one): [pixels(image).tolist()] for one, image in fits.items()})
        return Response(encoded(rows, "json").strip()[1:-1], media_type=MEDIA["json"])
    [image] = fits.values()
    if ask.output_format == "FITS":
        return Response(image, media_type="image/fits", headers={"Content-Disposition": "attachment; filename=cutout.fits"})
    plain = not (ask.stretch or ask.convolution_kernel)
    look = None if plain else Look(ask.stretch or "sigmoid", ask.pmin, ask.pmax, ask.convolution_kernel or None)
    return Response(query.png(image, look=look), media_type="image/png")


def with_cutouts(tables: Tables, rows: pa.Table, kind: str) -> pa.Table:
    """Alerts with the pixels of their cutouts.

    Raises
    ------
    UsageError
        They are too many.
    """
    known = tables.lookups
    if len(rows) > asks.MOST_CUTOUTS:
        raise UsageError(f"that are {len(rows)} alerts, and cutouts come with {asks.MOST_CUTOUTS} at most: ask /cutouts for each")
    ids = rows.select([known.object, known.alert]).to_pylist() if len(rows) else []
    for one in _KINDS if kind.lower() == _ALL else (kind,):
        images = [None if row[known.alert] in (None, -1) else _image(tables, row, one) for row in ids]
        rows = rows.append_column(_column(one), pa.array(images, pa.list_(pa.list_(pa.float64()))))
    return rows


def _image(tables: Tables, row: Mapping[str, Any], kind: str) -> list[list[float]]:
    fits = query.cutout(tables, str(row[tables.lookups.object]), kind.lower(), row[tables.lookups.alert])
    found: list[list[float]] = pixels(fits).tolist()
    return found


def _column(kind: str) -> str:
    return f"b:cutout{kind}_stampData"
