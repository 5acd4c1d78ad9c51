"""fink query: questions to the tables and the archive, answered as a table, CSV, JSON, Parquet or VOTable."""

from __future__ import annotations

import os
import re
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from fink_broker import config, query
from fink_broker.commands import Parser, parse_night, positive, run
from fink_broker.config import Settings
from fink_broker.errors import UsageError
from fink_broker.query import formats
from fink_broker.query.tables import Tables
from fink_broker.query.times import days, mjd_zero, night
from fink_broker.surveys import get

_ENDS = {".csv": "csv", ".json": "json", ".parquet": "parquet", ".vot": "votable", ".xml": "votable", ".votable": "votable"}
_UNITS = {"": 3600, "s": 3600, "m": 60, "d": 1}  # of a degree

Answer = Callable[[Settings, Namespace], pa.Table]


def main(argv: list[str] | None = None) -> int:
    """Ask one question.

    Returns
    -------
    int
        0, also if nothing was found, which is said on the standard error; else the exit code of the error raised.
    """
    what, *rest = (sys.argv[1:] if argv is None else argv) or [""]
    if what not in _QUESTIONS:
        raise UsageError(f"fink query {' | '.join(_QUESTIONS)} (fink query -h says more)")
    add, answer = _QUESTIONS[what]
    parser = Parser("query")
    add(parser)
    parser.add_argument("--columns", type=lambda text: [name.strip() for name in text.split(",")])
    parser.add_argument("--limit", type=positive)
    parser.add_argument("--format", choices=list(formats.FORMATS))
    parser.add_argument("--no-family", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args(rest)
    found = answer(config.load(arguments.conf), arguments)
    if arguments.limit is not None:
        found = found[: arguments.limit]
    if not found.num_rows:
        print("fink: nothing found", file=sys.stderr)
    _show(found, arguments)
    return 0


def _show(found: pa.Table, arguments: Namespace) -> None:
    if arguments.no_family:
        bare = [re.sub("^[a-z]+:", "", name) for name in found.column_names]
        found = found.rename_columns(
            [short if bare.count(short) == 1 else name for short, name in zip(bare, found.column_names, strict=True)]
        )
    output: Path | None = arguments.output
    form = arguments.format or (_ENDS.get(output.suffix, "csv") if output else "table")
    if form == "table":
        if not found.num_rows and output is None:
            return
        width = 0 if output or arguments.columns or not sys.stdout.isatty() else os.get_terminal_size().columns
        content = formats.text(found, width).encode()
    else:
        content = formats.encoded(found, form)
    if output is None:
        sys.stdout.buffer.write(content)
    else:
        output.write_bytes(content)


def _object(settings: Settings, arguments: Namespace) -> pa.Table:
    with Tables(settings) as tables:
        beside: dict[str, Any] = {"limits": arguments.limits, "annotations": arguments.annotations}
        return query.light_curve(tables, arguments.name, arguments.columns, **beside)


def _latest(settings: Settings, arguments: Namespace) -> pa.Table:
    with Tables(settings) as tables:
        since, until = _window(arguments, tables.zero)
        limit = arguments.limit or arguments.n
        return query.of(tables, "class", arguments.name, arguments.columns, since=since, until=until, limit=limit, newest=True)


def _solar_system(settings: Settings, arguments: Namespace) -> pa.Table:
    with Tables(settings) as tables:
        since, until = _window(arguments, tables.zero)
        return query.of(tables, "solar_system", arguments.name, arguments.columns, since=since, until=until)


def _tracklet(settings: Settings, arguments: Namespace) -> pa.Table:
    with Tables(settings) as tables:
        return query.of(tables, "tracklet", arguments.name, arguments.columns)


def _statistics(settings: Settings, arguments: Namespace) -> pa.Table:
    with Tables(settings) as tables:
        return query.of(tables, "statistics", arguments.begin, arguments.columns, keys=True)


def _cone(settings: Settings, arguments: Namespace) -> pa.Table:
    with Tables(settings) as tables:
        return query.cone(tables, arguments.ra, arguments.dec, arguments.radius, arguments.columns, alerts=arguments.alerts)


def _date(settings: Settings, arguments: Namespace) -> pa.Table:
    zero = mjd_zero(get(settings.survey))
    since, until = _window(arguments, zero)
    first = arguments.night or (None if since is None else night(since, zero, -1))
    if first is None:
        raise UsageError("which night? fink query date YYYYMMDD, or --since and --until")
    last = arguments.to or (first if arguments.night else "99999999" if until is None else night(until, zero))
    chosen: dict[str, Any] = {"where": arguments.where, "since": since, "until": until, "limit": arguments.limit}
    return query.alerts(settings, first, last, arguments.columns, **chosen)


def _sql(settings: Settings, arguments: Namespace) -> pa.Table:
    if arguments.columns:
        raise UsageError("the columns are those that the SQL selects")
    return query.sql(settings, arguments.sql, arguments.night, arguments.to or arguments.night, explain=arguments.explain)


def _crossmatch(settings: Settings, arguments: Namespace) -> pa.Table:
    place: dict[str, Any] = {"ra": arguments.ra, "dec": arguments.dec, "first": arguments.night, "last": arguments.to or arguments.night}
    return query.crossmatch(settings, arguments.file, arguments.radius * 3600, arguments.columns, **place)


def _resolve(settings: Settings, arguments: Namespace) -> pa.Table:
    with Tables(settings) as tables:
        return query.resolve(tables, arguments.name)


def _annotations(settings: Settings, arguments: Namespace) -> pa.Table:
    with Tables(settings) as tables:
        return query.annotations(tables, arguments.name)


def _window(arguments: Namespace, zero: float) -> tuple[float | None, float | None]:
    since, until = (None if text is None else days(text, zero) for text in (arguments.since, arguments.until))
    return since, until


def _angle(text: str) -> float:
    """An angle above 0 in degrees, from arcsec or with its unit: 5m, 0.1d."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "")
    try:
        return float(number) / _UNITS[unit]
    except ValueError as error:
        raise ArgumentTypeError(f"'{text}' is no angle: 5 or 5s is in arcsec, 5m in arcmin, 0.1d in degrees") from error


def _with_name(parser: ArgumentParser) -> None:
    parser.add_argument("name")


def _with_window(parser: ArgumentParser) -> None:
    parser.add_argument("--since")
    parser.add_argument("--until")


def _with_nights(parser: ArgumentParser) -> None:
    parser.add_argument("--night", type=parse_night)
    parser.add_argument("--to", type=parse_night)


def _of_object(parser: ArgumentParser) -> None:
    _with_name(parser)
    parser.add_argument("--limits", action="store_true")
    parser.add_argument("--annotations", action="store_true")


def _of_class(parser: ArgumentParser) -> None:
    _with_name(parser)
    parser.add_argument("-n", type=positive, default=20)
    _with_window(parser)


def _of_body(parser: ArgumentParser) -> None:
    _with_name(parser)
    _with_window(parser)


def _of_cone(parser: ArgumentParser) -> None:
    parser.add_argument("ra", type=float)
    parser.add_argument("dec", type=float)
    parser.add_argument("radius", type=_angle)
    parser.add_argument("--alerts", action="store_true")


def _of_date(parser: ArgumentParser) -> None:
    parser.add_argument("night", type=parse_night, nargs="?")
    parser.add_argument("--to", type=parse_night)
    parser.add_argument("--where")
    _with_window(parser)


def _of_statistics(parser: ArgumentParser) -> None:
    parser.add_argument("begin", nargs="?", default="")


def _of_sql(parser: ArgumentParser) -> None:
    parser.add_argument("sql")
    parser.add_argument("--explain", action="store_true")
    _with_nights(parser)


def _of_crossmatch(parser: ArgumentParser) -> None:
    parser.add_argument("file", type=Path)
    parser.add_argument("--radius", type=_angle, default=1.5 / 3600)
    parser.add_argument("--ra")
    parser.add_argument("--dec")
    _with_nights(parser)


_QUESTIONS: dict[str, tuple[Callable[[ArgumentParser], None], Answer]] = {
    "object": (_of_object, _object),
    "latest": (_of_class, _latest),
    "cone": (_of_cone, _cone),
    "date": (_of_date, _date),
    "sso": (_of_body, _solar_system),
    "tracklet": (_with_name, _tracklet),
    "statistics": (_of_statistics, _statistics),
    "sql": (_of_sql, _sql),
    "crossmatch": (_of_crossmatch, _crossmatch),
    "resolve": (_with_name, _resolve),
    "annotations": (_with_name, _annotations),
}


if __name__ == "__main__":
    run(main)
