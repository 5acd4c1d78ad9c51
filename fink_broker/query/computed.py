"""Columns of family ``v``: worked out of the others when they are asked for, as Fink's public API does.

Names and formulas are those of fink-object-api (``apps/utils/decoding.py``: `format_hbase_output`, `extract_rate_and_color`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fink_broker.errors import UsageError
from fink_broker.query.decoded import arrow_type
from fink_broker.query.named import VALID
from fink_broker.query.rates import RATES, rates
from fink_broker.query.tables import Tables
from fink_broker.query.times import mjd_zero
from fink_broker.science.sphere import unit_vectors
from fink_broker.surveys.conditions import Columns
from fink_broker.surveys.lookups import Computed

FAMILY = "v:"
CLASS, LAST, FIRST, LAPSE = "v:classification", "v:lastdate", "v:firstdate", "v:lapse"
CONSTELLATION = "v:constellation"
ALWAYS = (CLASS, LAST, FIRST, LAPSE, CONSTELLATION)
"""What comes with all columns."""
DOCS = {
    CLASS: ("string", "class by Fink's rule"),
    LAST: ("string", "time of the alert, UTC"),
    FIRST: ("string", "time of the object's first detection, UTC"),
    LAPSE: ("double", "days between first detection and alert"),
    CONSTELLATION: ("string", "constellation that the position lies in"),
    **{name: ("double", text) for name, text in RATES.items()},
}
_STORED_CLASS = "d:classification"
_UNKNOWN = "Unknown"
_JD_ZERO = 2_400_000.5
_UNIX_MJD = 40_587
_DAY_MS = 86_400_000

Ask = Callable[[Sequence[str] | None], pa.Table]


def answer(tables: Tables, table: str, columns: Sequence[str] | None, ask: Ask, default: Sequence[str] = ALWAYS) -> pa.Table:
    """An answer with columns of family ``v``.

    Parameters
    ----------
    tables : Tables
        Where it comes from.
    table : str
        Table that it comes from.
    columns : sequence of str, optional
        What was asked for; all without.
    ask : callable
        Asks for columns of the table.
    default : sequence of str
        The computed columns that come with all others.

    Raises
    ------
    UsageError
        There is no such column.
    """
    computed = tables.lookups.computed
    if computed is None or (columns is not None and not any(name.startswith(FAMILY) for name in columns)):
        return ask(columns)
    wanted = list(default) if columns is None else [name for name in columns if name in DOCS]
    kinds = tables.kinds(table)
    needed = dict.fromkeys(name for one in wanted for name in needs(tables, computed, one, kinds))
    # In the order in which they were asked for; what others the answer brings (a distance, a tag) comes behind.
    stored = None if columns is None else [name for name in columns if name not in DOCS]
    rows = ask(None if stored is None else list(dict.fromkeys([*stored, *needed])))
    tag = tables.lookups.tag
    valid = np.array([one == VALID for one in rows[tag].to_pylist()], bool) if tag in rows.column_names else np.ones(len(rows), bool)
    places = pa.array(np.cumsum(valid) - 1, mask=~valid)
    # Limits, and what is of bad quality, have none.
    every = bool(valid.all())
    made = _values(tables, computed, rows if every else rows.filter(pa.array(valid)), wanted, kinds)
    added = {name: values if every else values.take(places) for name, values in made.items()}
    rows = pa.table(dict(zip(rows.column_names, rows.columns, strict=True)) | added)
    if columns is None or stored is None:
        return rows
    full = tables.columns(table, stored) or []
    hidden = {name for name in needed if name not in full}
    order = [name if name in DOCS else full[stored.index(name)] for name in columns if name in DOCS or kinds]
    rest = [name for name in rows.column_names if name not in order and name not in hidden]
    return rows.select(list(dict.fromkeys([*order, *rest])))


def needs(tables: Tables, computed: Computed, name: str, kinds: dict[str, str]) -> list[str]:
    """The columns that a computed one is made of.

    Raises
    ------
    UsageError
        The table lacks one.
    """
    known = tables.lookups
    found = {
        LAST: [known.time],
        FIRST: [computed.begins],
        LAPSE: [known.time, computed.begins],
        CONSTELLATION: list(known.position),
    }.get(name, [known.object, known.time, computed.band, computed.magnitude, computed.error])
    if name == CLASS:
        found = [_STORED_CLASS] if _STORED_CLASS in kinds else _of_class(computed, kinds)
    if kinds and (missing := [one for one in found if one not in kinds]):
        raise UsageError(f"'{name}' is made of {', '.join(missing)}, which this table has not")
    return [*found, known.object]


def _of_class(computed: Computed, kinds: dict[str, str]) -> list[str]:
    family = {name.partition(":")[2]: name for name in kinds}
    names = dict.fromkeys(name for one in (computed.catalogued, *computed.classes.values()) for name in one.columns)
    return [computed.kind, *(family.get(name, name) for name in names)]


def _values(tables: Tables, computed: Computed, rows: pa.Table, wanted: Sequence[str], kinds: dict[str, str]) -> dict[str, Any]:
    known, held = tables.lookups, set(rows.column_names)

    def column(name: str) -> Any:
        there = rows[name] if name in held else pa.nulls(len(rows), arrow_type(kinds.get(name, "double")))
        return pc.cast(there, pa.float64()).to_numpy(zero_copy_only=False)

    zero = mjd_zero(tables.survey)
    makers: dict[str, Callable[[], Any]] = {
        LAST: lambda: _date(column(known.time) - zero),
        FIRST: lambda: _date(column(computed.begins) - zero),
        LAPSE: lambda: pa.array(column(known.time) - column(computed.begins), from_pandas=True),
        CONSTELLATION: lambda: constellation(column(known.position[0]), column(known.position[1])),
        CLASS: lambda: classes(computed, rows, kinds),
    }
    found = {name: makers[name]() for name in wanted if name in makers}
    if some := [name for name in wanted if name not in makers]:
        names = rows[known.object].to_pylist() if known.object in rows.column_names else []
        made = rates(computed, names, [column(name) for name in (known.time, computed.band, computed.magnitude, computed.error)])
        found |= {name: pa.array(made[name], from_pandas=True) for name in some}
    return {name: found[name] for name in wanted}


def classes(computed: Computed, rows: pa.Table, kinds: dict[str, str]) -> Any:
    """The class of each alert: what is stored of it, or else by Fink's rule."""
    if _STORED_CLASS in rows.column_names:
        return rows[_STORED_CLASS]
    needed, held = _of_class(computed, kinds), set(rows.column_names)
    parts: dict[str, Any] = {
        name.partition(":")[2]: rows[name] if name in held else pa.nulls(len(rows), arrow_type(kinds.get(name, "double")))
        for name in needed
    }
    plain = pa.table(parts)
    columns = Columns(plain)
    found: Any = pa.array([_UNKNOWN] * len(rows), pa.string())
    for name, condition in reversed(list(computed.classes.items())):
        found = pc.if_else(condition.holds(plain, columns), name, found)
    return pc.if_else(computed.catalogued.holds(plain, columns), plain[computed.kind.partition(":")[2]].combine_chunks(), found)


def _date(mjd: np.ndarray[Any, Any]) -> pa.Array[Any]:
    """Times as astropy writes them: ``2026-03-22 04:42:06.088``, UTC."""
    known = np.isfinite(mjd)
    ms = np.rint((np.where(known, mjd, _UNIX_MJD) - _UNIX_MJD) * _DAY_MS).astype("datetime64[ms]")
    texts = [text.replace("T", " ") for text in np.datetime_as_string(ms, unit="ms").tolist()]
    return pa.array(texts, pa.string(), mask=~known)


def constellation(ra: np.ndarray[Any, Any], dec: np.ndarray[Any, Any]) -> pa.Array[Any]:
    """Constellations of positions (J2000, degrees), by the borders of Roman 1987 (PASP 99, 695) for the equinox B1875.

    They are those of `astropy.coordinates.get_constellation`, a hundred times as fast; it moves positions by the aberration of one
    moment (20 arcsec) as well, which is left out.
    """
    turn, low, high, south, names = _borders()
    known = np.isfinite(ra) & np.isfinite(dec)
    x, y, z = turn @ unit_vectors(np.where(known, ra, 0.0), np.where(known, dec, 0.0)).T
    hours, degrees = np.degrees(np.arctan2(y, x)) % 360 / 15, np.degrees(np.arcsin(np.clip(z, -1, 1)))
    inside = (low < hours[:, None]) & (hours[:, None] < high) & (degrees[:, None] > south)
    return pa.array(names[np.argmax(inside, axis=1)].tolist(), pa.string(), mask=~known)


@lru_cache(maxsize=1)
def _borders() -> tuple[Any, ...]:
    """The rotation to B1875, and of each stretch of sky its ends in right ascension (hours), its south (degrees) and its name."""
    from astropy.coordinates import FK5, SkyCoord
    from astropy.utils.data import get_pkg_data_contents

    axes = SkyCoord(*np.eye(3), representation_type="cartesian").transform_to(FK5(equinox="B1875")).cartesian.xyz.value
    borders = get_pkg_data_contents("data/constellation_data_roman87.dat", package="astropy.coordinates")
    lines = [line.split() for line in borders.splitlines()]
    rows = [line for line in lines if len(line) == 4]
    long = get_pkg_data_contents("data/constellation_names.dat", package="astropy.coordinates", encoding="UTF8")
    names = {line[:3]: line[4:].strip() for line in long.splitlines() if not line.startswith("#")}
    low, high, south = np.array([row[:3] for row in rows], float).T
    return axes, low, high, south, np.array([names[row[3]] for row in rows])
