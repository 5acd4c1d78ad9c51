"""fink transfer: past alerts, or what they have in common with a table, to a topic of one's own or a file."""

from __future__ import annotations

import json
import shutil
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark.accumulators import Accumulator
from pyspark.sql import DataFrame, SparkSession

from fink_broker import config, surveys
from fink_broker.catalogues import read, store
from fink_broker.commands import Parser, filter_trial, parse_night, run
from fink_broker.config import Settings
from fink_broker.connectors import kafka
from fink_broker.connectors.security import Connection
from fink_broker.connectors.users import Users
from fink_broker.errors import UsageError
from fink_broker.filters import Filter
from fink_broker.filters.known import Known
from fink_broker.infra import kafka as kafka_server
from fink_broker.services import past, transfer
from fink_broker.session import session
from fink_broker.surveys import Survey
from fink_broker.transforms.crossmatch import ROW, by_name, nearest
from fink_broker.transforms.rights import PUBLIC, Audience, audiences
from fink_broker.transforms.transfer import PACKETS, columns, packets, selected, visible
from fink_broker.transforms.workers import Workers
from fink_broker.worker.tally import Adding, Tally

_RADIUS = 1.5  # arcsec, as Fink's crossmatch has it

Match = Callable[[DataFrame], DataFrame]


@dataclass(frozen=True)
class Choice:
    """Which alerts: what an audience may see, one of the filters takes, meets all conditions, and matches a table if there is one."""

    audience: Audience
    filters: list[Filter]
    conditions: list[Filter]
    match: Match | None


def main(argv: list[str] | None = None) -> int:
    """Transfer alerts.

    Returns
    -------
    int
        0 if all that were announced have arrived, each once; 1 if not; else the exit code of the error raised.
    """
    arguments = _arguments(argv)
    settings = config.load(arguments.conf)
    survey = surveys.get(settings.survey)
    filters = [one for name in arguments.filter for one in filter_trial.chosen(settings, survey, name)]
    known = Known(settings, survey)
    conditions = [known.sql(f"where_{number}", sql, f"--where {sql}") for number, sql in enumerate(arguments.where, 1)]
    table = None if arguments.crossmatch is None else read.table(arguments.crossmatch)
    audience = _audience(settings, survey, arguments.audience)
    users = None if arguments.output else _users(settings)
    if users is not None:
        transfer.forget(users, survey, settings.kafka.output.retention_hours)
        if arguments.user:
            check_user(users, arguments.user, audience)
    spark = session(settings, "transfer")
    try:
        with _matching(spark, settings, survey, table, arguments) as match:
            return _transfer(spark, settings, survey, Choice(audience, filters, conditions, match), users=users, arguments=arguments)
    finally:
        spark.stop()


def _arguments(argv: list[str] | None) -> Namespace:
    parser = Parser("transfer")
    parser.add_argument("--night", type=parse_night)
    parser.add_argument("--to", type=parse_night)
    parser.add_argument("--filter", action="append", default=[])
    parser.add_argument("--where", action="append", default=[])
    content = parser.add_mutually_exclusive_group()
    content.add_argument("--content", choices=PACKETS)
    content.add_argument("--columns", type=lambda text: [name.strip() for name in text.split(",")])
    parser.add_argument("--crossmatch", type=Path)
    parser.add_argument("--radius", type=float)
    for option in ("--ra", "--dec", "--ids"):
        parser.add_argument(option)
    parser.add_argument("--audience", default=PUBLIC)
    target = parser.add_mutually_exclusive_group()
    target.add_argument("--user")
    target.add_argument("--output", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    if arguments.night is None and (arguments.to or not arguments.crossmatch):
        parser.error("which night? --night YYYYMMDD, and --to YYYYMMDD for several")
    if arguments.to and arguments.to < arguments.night:
        parser.error(f"--to {arguments.to} is before --night {arguments.night}")
    of_match = [f"--{name}" for name in ("radius", "ra", "dec", "ids") if getattr(arguments, name) is not None]
    if of_match and not arguments.crossmatch:
        parser.error(f"{of_match[0]} goes with --crossmatch FILE")
    if arguments.ids and len(of_match) > 1:
        parser.error("--ids matches by the objects' names, without position and radius")
    if arguments.radius is not None and not 0 < arguments.radius <= 3600:
        parser.error("--radius is in arcsec, above 0 and up to 3600")
    if arguments.output and (arguments.output.suffix != ".parquet" or not arguments.output.parent.is_dir()):
        parser.error(f"--output {arguments.output}: the name of a file that ends in .parquet, in a folder that is there")
    return arguments


def _users(settings: Settings) -> Connection:
    found = kafka_server.connection(settings, settings.kafka.output)
    kafka.wait_for(found, min(kafka.ANSWER_S, settings.wait.seconds), "Kafka")
    return found


def _audience(settings: Settings, survey: Survey, name: str) -> Audience:
    known = {one.name: one for one in audiences(settings, survey, [])}
    if name not in known:
        raise UsageError(f"there is no audience '{name}'; there are: {', '.join(known)}")
    return known[name]


def check_user(connection: Connection, name: str, audience: Audience) -> None:
    """Whether a user belongs to the audience whose alerts they would get.

    Raises
    ------
    UsageError
        They do not, or there is no such user.
    """
    members = Users(kafka.admin(connection), connection).members()
    if audience.name not in members.get(name, ()):
        there = f"belongs to: {', '.join(sorted(members[name]))}" if name in members else "is no user (fink user list)"
        raise UsageError(f"'{name}' {there}; they may not get what is for the audience '{audience.name}'")


def _transfer(
    spark: SparkSession, settings: Settings, survey: Survey, choice: Choice, *, users: Connection | None, arguments: Namespace
) -> int:
    tally = spark.sparkContext.accumulator({}, Adding())
    rows = _rows(spark, settings, survey, choice, tally=tally, arguments=arguments)
    announced = transfer.count(rows)
    failures = {name: f"no answer for {one.failures:,} alerts: {one.reason}" for name, one in tally.value.items() if one.failures}
    target = str(arguments.output or transfer.topic_name("fxmatch" if choice.match else "ftransfer", survey))
    if not arguments.json:
        print(f"{announced:,} alerts go to {target}" if announced else "no alerts: nothing is sent", flush=True)
    for name, text in failures.items():
        print(f"fink: the filter {name} had {text}", file=sys.stderr)
    if not announced:
        arrived = transfer.Arrived(0, 0)
    elif users is None:
        arrived = transfer.to_file(rows, survey, settings, arguments.output)
    else:
        arrived = transfer.to_topic(rows, survey, settings, users, target)
        if arguments.user:
            Users(kafka.admin(users), users).share(arguments.user, [target, transfer.schema_topic(target)])
    ok = announced == arrived.rows == arrived.alerts
    if arguments.json:
        found = {"to": target if announced else None, "announced": announced, "arrived": arrived.rows, "alerts": arrived.alerts}
        print(json.dumps({"ok": ok, **found, "failures": failures}))
    elif announced:
        print(f"{arrived.rows:,} have arrived, {arrived.alerts:,} different ones" + ("" if ok else f": NOT the {announced:,} announced"))
        if users is not None:
            print(f"kept for {settings.kafka.output.retention_hours} hours; to read them:\n")
            print(f"  finkctl transfer -survey {survey.topic_suffix} -topic {target} -outdir {target}")
    return 0 if ok else 1


def _rows(
    spark: SparkSession, settings: Settings, survey: Survey, choice: Choice, *, tally: Accumulator[Tally], arguments: Namespace
) -> DataFrame:
    """What is sent."""
    workers = Workers(settings.root / "tmp" / "transfer-workers", settings.science_section.worker_memory_mb)
    alerts = visible(past.alerts(spark, settings, survey, arguments.night, arguments.to or arguments.night), survey, choice.audience)
    alerts = selected(alerts, choice.filters, choice.conditions, survey, workers=workers, tally=tally)
    if choice.match is not None:
        alerts = choice.match(alerts)
    if arguments.columns is None and (arguments.content or choice.match is None):
        return packets(alerts, survey, arguments.content or "full")
    return columns(alerts, survey, arguments.columns or [])


@contextmanager
def _matching(
    spark: SparkSession, settings: Settings, survey: Survey, table: pa.Table | None, arguments: Namespace
) -> Iterator[Match | None]:
    """How alerts are matched with the table, while what workers need of it is there; nothing without a table."""
    if table is None:
        yield None
        return
    table = read.trimmed(table.replace_schema_metadata(None))
    if arguments.ids:
        if arguments.ids not in table.column_names:
            raise UsageError(f"there is no column '{arguments.ids}': say --ids; there are {', '.join(table.column_names[:40])}")
        names = spark.createDataFrame(table)
        yield lambda alerts: by_name(alerts, survey, names, arguments.ids)
        return
    numbered = table.append_column(ROW, pa.array(np.arange(table.num_rows)))
    catalogue, without = read.catalogue(numbered, arguments.ra, arguments.dec)
    if without:
        print(f"fink: {without:,} rows of {arguments.crossmatch} have no position", file=sys.stderr)
    folder = settings.root / "tmp" / "transfer" / transfer.topic_name("fxmatch", survey)
    try:
        store.keep(folder, catalogue, str(arguments.crossmatch))
        others = spark.createDataFrame(numbered)
        yield lambda alerts: nearest(alerts, survey, others, folder, arguments.radius or _RADIUS)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    run(main)
