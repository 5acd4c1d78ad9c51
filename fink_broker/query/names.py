"""Names that others have for what Fink sees: brought in from files, and looked up."""

from __future__ import annotations

import csv
import io
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from fink_broker import __version__
from fink_broker.connectors.hbase import SCHEMA_PREFIX, Row
from fink_broker.connectors.hbase_read import Stretch
from fink_broker.errors import UsageError
from fink_broker.query.tables import Tables
from fink_broker.surveys import Table
from fink_broker.surveys.lookups import Lookup

# A name of the TNS: year and letters, before them what it is taken for.
_TNS = re.compile(r"(?:[a-z]+ ?)?(?P<name>(?:19|20)\d\d[a-z]{1,7})")
_PREFIXES = ("sn", "at", "tde", "frb")
_NEW = "AT "  # nothing is known yet
_SALT = "salt"  # part of a key
_MOST_CALLED = 100
_TNS_COLUMNS = ("name_prefix", "name", "internal_names")


def resolve(tables: Tables, name: str) -> pa.Table:
    """What is known by a name: an object of the TNS by its name or by Fink's, a body of the solar system by its name.

    Upper and lower case are the same. Of several resolvers the first that knows the name answers.
    """
    tns, bodies = tables.lookups.tns, tables.lookups.solar_system
    low = " ".join(name.lower().split())
    designation = _TNS.fullmatch(low)
    # Names are unique without what is before them, and that changes when an object has a spectrum: AT 2023vwy became SN 2023vwy.
    begins = [f"{prefix} {designation['name']}" for prefix in _PREFIXES] if designation else [low]
    table = _table(tables, tns.table)
    found = tables.stretches(table.name, [Stretch.prefix(tns.begin(begin)) for begin in begins])
    if not found.num_rows:
        internal = next(column for column, source in table.columns.items() if source == "internalname")
        found = tables.values(table.name, tables.reader.containing(table.name, internal, name))
    if found.num_rows:
        fullname = next(column for column, source in table.columns.items() if source == "fullname")
        full = [str(one) for one in found[fullname].to_pylist()]
        known = {one.partition(" ")[2] for one in full if not one.startswith(_NEW)}
        found = found.filter(pa.array([not (one.startswith(_NEW) and one.partition(" ")[2] in known) for one in full]))
    if not found.num_rows:
        table = _table(tables, bodies.table)
        found = tables.stretches(table.name, [Stretch.prefix(bodies.begin(low))])
    return _known(table, found)


def tns(tables: Tables, name: str, n: int, *, reverse: bool = False) -> pa.Table:
    """Objects of the TNS whose names begin so; with `reverse` the one that a survey calls so."""
    lookup = tables.lookups.tns
    table = _table(tables, lookup.table)
    if reverse:
        internal = next(column for column, source in table.columns.items() if source == "internalname")
        found = tables.values(table.name, tables.reader.containing(table.name, internal, name))
    else:
        begin = lookup.begin(name.lower()).removesuffix("_")
        found = tables.stretches(table.name, [Stretch.prefix(begin)], limit=n)
    return _known(table, found).slice(0, n)


def solar_system(tables: Tables, name: str, n: int) -> pa.Table:
    """Bodies of the solar system whose names begin so."""
    table = _table(tables, tables.lookups.solar_system.table)
    begin = tables.lookups.solar_system.begin(name.lower())
    return _known(table, tables.stretches(table.name, [Stretch.prefix(begin)], limit=n))


def body(tables: Tables, key: str) -> pa.Table:
    """What is known of a body, by the name that its alerts have."""
    table = _table(tables, tables.lookups.solar_system.table)
    return _known(table, tables.values(table.name, tables.reader.containing(table.name, tables.lookups.body, key)))


def called(tables: Tables, name: str) -> list[dict[str, object]]:
    """The bodies that are called so: by a name, number or designation, capitals and blanks aside."""

    def plain(text: object) -> str:
        return str(text).lower().replace(" ", "")

    rows = solar_system(tables, name, _MOST_CALLED).to_pylist()
    return [row for row in rows if plain(name) in map(plain, row.values())]


def _known(table: Table, found: pa.Table) -> pa.Table:
    return found.select([column for column in table.columns if column in found.column_names])


def add_tns(tables: Tables, path: Path) -> int:
    """Bring in the TNS's public list of objects (``tns_public_objects.csv``): a row for each name that a survey has for an object.

    Returns
    -------
    int
        Rows put.

    Raises
    ------
    UsageError
        It is not that list.
    """
    return _add(tables, tables.lookups.tns, _tns(path))


def add_solar_system(tables: Tables, path: Path) -> int:
    """Bring in names of bodies of the solar system: a CSV file whose columns are called as those of the table."""
    return _add(tables, tables.lookups.solar_system, _read(path))


def _tns(path: Path) -> Iterator[dict[str, str]]:
    for row in _read(path):
        if missing := [name for name in _TNS_COLUMNS if name not in row]:
            raise UsageError(f"{path} has no column {', '.join(missing)}: it is not the TNS's list of public objects")
        for internal in row["internal_names"].split(","):
            yield row | {"fullname": f"{row['name_prefix']} {row['name']}".strip(), "internalname": internal.strip()}


def _read(path: Path) -> Iterator[dict[str, str]]:
    text = path.read_text(encoding="utf-8-sig")
    first, _, rest = text.partition("\n")
    # The TNS says in a line before the names of the columns of which time its list is.
    yield from csv.DictReader(io.StringIO(text if "," in first else rest))


def _add(tables: Tables, lookup: Lookup, entries: Iterator[Mapping[str, str]]) -> int:
    table = _table(tables, lookup.table)
    if table.streamed:
        raise UsageError(f"what {table.name} has comes with the alerts")
    tables.kinds(table.name)  # fails at once if there is no such table
    rows: dict[bytes, Row] = {}
    now = time.time_ns() // 1_000_000
    parts = [part for part in table.key if part != _SALT]
    for entry in entries:
        if not entry.get(parts[0]):
            raise UsageError(f"{table.name} needs the column {parts[0]}, and a value in each row")
        # Readers look keys up in small letters; a salt comes from the first part.
        first, *others = (entry.get(part, "").lower() for part in parts)
        key = "_".join([lookup.begin(first).rstrip("_"), *others]).encode()
        cells = {column.encode(): entry[place].encode() for column, place in table.columns.items() if entry.get(place)}
        rows[key] = Row(key, now, cells)
    if rows:
        kinds = dict.fromkeys((column.encode() for column in table.columns), b"string")
        tables.reader.write(table.name, [Row(SCHEMA_PREFIX + __version__.encode(), now, kinds)])
        tables.reader.write(table.name, rows.values())
    return len(rows)


def _table(tables: Tables, name: str) -> Table:
    return next(one for one in tables.survey.tables if one.name == name)
