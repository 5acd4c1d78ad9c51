"""Questions to the Parquet files: SQL on the archive, and the alerts of some nights. By DuckDB, in this process, within a second.

It may open the files of these nights and nothing else, and only reads: whoever asks may be somebody on the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

import duckdb
import pyarrow as pa

from fink_broker.config import Settings
from fink_broker.errors import FinkError, UsageError
from fink_broker.surveys import Survey, get
from fink_broker.surveys.lookups import Lookups

_KINDS = ("raw", "science")
# A merge takes away the files that it has put together: those who are about to open them ask again.
_TRIES = 3

Files = Mapping[str, Sequence[Path]]


def sql(settings: Settings, text: str, first: str | None = None, last: str | None = None, *, explain: bool = False) -> pa.Table:
    """What a SELECT on the tables `raw` and `science` gives: the nights that are in the archive.

    Parameters
    ----------
    settings : Settings
        Where the archive is.
    text : str
        SQL as DuckDB has it; fields of records by dots (``candidate.magpsf``); `year`, `month` and `day` are those of the night.
    first, last : str, optional
        Nights, ``YYYYMMDD``, both included; all without.
    explain : bool
        Run it, and answer with the plan: which filters reach the files, and how many row groups were read.

    Raises
    ------
    UsageError
        It is no single SELECT, or DuckDB refuses it.
    """

    def files() -> Files:
        found = {kind: archived(settings, kind, first, last) for kind in _KINDS}
        if not any(found.values()):
            raise UsageError("the archive has no such nights: fink merge puts them there")
        return found

    return asked(files, lambda connection: _answer(connection, text, explain=explain), nights=True)


def alerts(
    settings: Settings,
    first: str,
    last: str,
    columns: Sequence[str] | None = None,
    *,
    where: str | None = None,
    since: float | None = None,
    until: float | None = None,
    limit: int | None = None,
) -> pa.Table:
    """The science alerts of some nights, by time: those in the archive, and those that are not merged yet.

    Parameters
    ----------
    settings : Settings
        Where the alerts are, and of which survey.
    first, last : str
        Nights, ``YYYYMMDD``, both included.
    columns : sequence of str, optional
        Columns of the survey's main table, with or without the family; all that the alerts have without.
    where : str, optional
        Condition on the alert's own columns, such as ``candidate.magpsf < 18``, as DuckDB has it.
    since, until : float, optional
        Times of the exposure, both included; in days, as the survey counts them.
    limit : int, optional
        How many at most, the first.

    Raises
    ------
    UsageError
        There is no such column, or DuckDB refuses the condition.
    """
    survey = get(settings.survey)

    def answer(connection: duckdb.DuckDBPyConnection) -> pa.Table:
        places = published(survey, connection)
        names = list(places) if columns is None else [named(places, column) for column in columns]
        time = places[lookups(survey).time]
        conditions = [f"({where})"] if where else []
        conditions += [f"{time} {sign} {value}" for sign, value in ((">=", since), ("<=", until)) if value is not None]
        chosen = ", ".join(f'{places[name]} as "{name}"' for name in names)
        text = f"select {chosen} from science where {' and '.join(conditions) or 'true'} order by {time}"
        return _answer(connection, text if limit is None else f"{text} limit {limit}")

    return asked(lambda: {"science": science(settings, first, last)}, answer)


def asked(files: Callable[[], Files], question: Callable[[duckdb.DuckDBPyConnection], pa.Table], *, nights: bool = False) -> pa.Table:
    """The answer to a question to files; an empty one without files. If a merge has taken some away meanwhile, it is asked again.

    Parameters
    ----------
    files : callable
        Which files a table is made of.
    question : callable
        What is asked of a database with these tables.
    nights : bool
        With the columns `year`, `month` and `day`, as the archive's folders say them.

    Raises
    ------
    UsageError
        DuckDB refuses the question.
    FinkError
        The files cannot be read.
    """
    for left in reversed(range(_TRIES)):
        there = files()
        if not any(there.values()):
            return pa.table({})
        try:
            return question(_opened(there, nights=nights))
        except duckdb.Error as error:
            gone = not all(file.exists() for some in there.values() for file in some)
            if gone and left:
                continue
            kind = FinkError if gone or isinstance(error, duckdb.IOException) else UsageError
            raise kind(" ".join(str(error).split())[:300]) from error
    raise AssertionError


def archived(settings: Settings, kind: str, first: str | None = None, last: str | None = None) -> list[Path]:
    """Files of the archive; `kind` is ``raw`` or ``science``."""
    from fink_broker.connectors import archive  # not at the top: it brings PySpark, and most queries do without

    nights = [night for night in sorted(archive.nights(settings, kind)) if (first or night) <= night <= (last or night)]
    return [file for night in nights for file in archive.night(settings, kind, night).files]


def science(settings: Settings, first: str, last: str) -> list[Path]:
    """Files of the science alerts of some nights: of the archive, and those that it does not have yet."""
    from fink_broker.connectors import archive, parquet  # as above

    # In this order: what a merge meanwhile has taken in is in the night's own list.
    logged = parquet.committed(settings.science)
    nights = archive.nights(settings, "science") | {file.partition["night"] for file in logged}
    found: list[Path] = []
    for night in sorted(one for one in nights if first <= one <= last):
        merged = archive.night(settings, "science", night)
        known = set(merged.note.files)
        found += [*merged.files, *(file.path for file in logged if file.partition["night"] == night and file.path.name not in known)]
    return found


def published(survey: Survey, connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """The columns of the survey's main table to where they lie in the alerts of `science`; those that lie there."""
    fields = _fields(connection)
    places: dict[str, str] = {}
    for column, expression in survey.tables[0].columns.items():
        family, _, name = column.partition(":")
        if name.strip() != "*":
            known = {column: expression}
        elif expression == "fink.*":
            known = {f"{family}:{one}": added.source or one for one, added in survey.fink_columns.items()}
        else:
            struct = expression.removesuffix(".*")
            known = {f"{family}:{field[-1]}": ".".join(field) for field in fields if field[0] == struct and len(field) == 2}
        for name, place in known.items():
            path = tuple(part.strip("`") for part in place.split("."))
            if path in fields:
                places.setdefault(name, ".".join(f'"{part}"' for part in path))
    return places


def _fields(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, ...]]:
    """Columns of `science`, and fields of those that are records."""
    schema = cast("pa.Table", connection.sql("select * from science limit 0").to_arrow_table()).schema
    found: list[tuple[str, ...]] = []
    for field in schema:
        found.append((field.name,))
        if pa.types.is_struct(field.type):
            found += [(field.name, inner.name) for inner in field.type.fields]
    return found


def _opened(files: Files, *, nights: bool = False) -> duckdb.DuckDBPyConnection:
    """A database whose tables are these files, and that opens no other; with the columns that their folders say, if so."""
    connection = duckdb.connect()
    for name, some in files.items():
        if some:
            connection.read_parquet([str(file) for file in some], union_by_name=True, hive_partitioning=nights).create_view(name)
    connection.execute("set timezone = 'UTC'")
    connection.execute("set python_enable_replacements = false")  # else names of Python's variables are tables
    quoted = ["'" + str(file).replace("'", "''") + "'" for some in files.values() for file in some]
    connection.execute(f"set allowed_paths = [{', '.join(quoted)}]")
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    return connection


def _answer(connection: duckdb.DuckDBPyConnection, text: str, *, explain: bool = False) -> pa.Table:
    statements = connection.extract_statements(text)
    # Reading is all that is allowed: a COPY could write over the archive's files.
    if [one.type for one in statements] != [duckdb.StatementType.SELECT]:
        raise UsageError("the query must be one SELECT")
    if explain:
        [(_, plan)] = connection.execute(f"explain analyze {statements[0].query}").fetchall()
        return pa.table({"plan": plan.splitlines()})
    return cast("pa.Table", connection.sql(statements[0].query).to_arrow_table())


def named(places: Mapping[str, str], column: str) -> str:
    """A column of `published`, by its name with or without the family."""
    name = next((one for one in places if column in (one, one.partition(":")[2])), None)
    if name is None:
        raise UsageError(f"the alerts have no column '{column}'; they have {', '.join(places)}"[:600])
    return name


def lookups(survey: Survey) -> Lookups:
    """What its tables are called, and their columns."""
    if survey.lookups is None:
        raise UsageError(f"{survey.name} has no tables yet")
    return survey.lookups
