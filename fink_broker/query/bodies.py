"""Known bodies of the solar system: asked for by number, designation or name, and by the alerts of an object."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa

from fink_broker.query import computed
from fink_broker.query.named import light_curve, of
from fink_broker.query.names import called
from fink_broker.query.tables import Tables

NAME, NUMBER = "sso_name", "sso_number"
"""Columns that Fink's API adds to the alerts of a body: its name, and its number if it has one."""


def bodies(tables: Tables, names: Iterable[str], columns: Sequence[str] | None = None) -> pa.Table:
    """The alerts of bodies of the solar system, by time for each.

    Parameters
    ----------
    tables : Tables
        Where to look.
    names : iterable of str
        Numbers, designations or names, with blanks or without; names are those that were brought in (`fink annotate --sso`).
    columns : sequence of str, optional
        All of the table without; with those that are computed.
    """
    lookup = tables.lookup("solar_system")
    found = []
    for name in names:
        # Alerts have designations without blanks: 2010JO69.
        direct = name.replace(" ", "")
        known = called(tables, name)
        keys = dict.fromkeys([direct, *(str(one[tables.lookups.body]) for one in known if one.get(tables.lookups.body))])
        title = next((str(one["i:name"]) for one in known if one.get("i:name")), name)
        number = next((int(key) for key in keys if key.isdigit()), None)
        for key in keys:

            def ask(some: Sequence[str] | None, key: str = key) -> pa.Table:
                return of(tables, "solar_system", key, some)

            rows = computed.answer(tables, lookup.table, columns, ask)
            if rows.num_rows:
                rows = rows.append_column(NAME, pa.array([title] * len(rows), pa.string()))
                found.append(rows.append_column(NUMBER, pa.array([number] * len(rows), pa.int64())))
    return pa.concat_tables(found, promote_options="permissive") if found else pa.table({})


def of_object(tables: Tables, name: str) -> list[str]:
    """The bodies that the alerts of an object were taken for."""
    body = tables.lookups.body
    rows = light_curve(tables, name, [body])
    return list(dict.fromkeys(str(one) for one in rows[body].to_pylist() if one not in (None, "null", 0)))
