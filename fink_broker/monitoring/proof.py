"""Proof by reading back: what lies on every output is compared, id by id, with what was sent."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import fastavro
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from fink_broker.config import Settings
from fink_broker.connectors import kafka, parquet
from fink_broker.connectors.hbase import SCHEMA_PREFIX, Client
from fink_broker.connectors.security import Connection
from fink_broker.filters import Filter
from fink_broker.filters.registry import active
from fink_broker.surveys import Survey, with_cuts
from fink_broker.transforms import rights
from fink_broker.transforms.filters import with_topics
from fink_broker.transforms.quality import passes
from fink_broker.transforms.rows import ROW_KEY, filled, rows


@dataclass
class Proof:
    """What was found, and what does not agree.

    Parameters
    ----------
    sent : list of int
        Ids of the alerts that were sent.
    topics, tables, archive : dict
        Messages by topic, rows by HBase table, alerts in the Parquet archive by kind.
    faults : list of str
        One line for each thing that is missing, there twice, or there without reason.
    first_message_s : float or None
        When the first message came to a user's topic, Unix time in seconds.
    """

    sent: list[int]
    topics: dict[str, int] = field(default_factory=dict)
    tables: dict[str, int] = field(default_factory=dict)
    archive: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    first_message_s: float | None = None

    def expect(self, what: str, found: Iterable[Any], expected: Iterable[Any]) -> None:
        """Compare ids; each is expected once."""
        found, expected = list(found), list(expected)
        missing, strange, twice = set(expected) - set(found), set(found) - set(expected), len(found) - len(set(found))
        for number, fault in ((len(missing), "missing"), (len(strange), "not expected"), (twice, "there more than once")):
            if number:
                self.faults.append(f"{what}: {number:,} {fault}, of {len(expected):,}")


def parquet_folders(proof: Proof, spark: SparkSession, settings: Settings, survey: Survey) -> DataFrame:
    """Compare raw with what was sent, science with what of it passes the cuts, the archive with both.

    Returns
    -------
    DataFrame
        The science alerts, for further comparison.
    """
    identity = F.col(survey.alert_id)
    sound = [file for folder in settings.raws for file in parquet.committed(folder) if file.partition["status"] == "ok"]
    raw = spark.read.option("mergeSchema", "true").parquet(*[str(file.path) for file in sound])
    science = spark.read.parquet(str(settings.science))
    # Read by pyarrow from the files that the sinks' logs name: not the way that wrote them.
    raw_ids = _ids(sound, survey.alert_id)
    science_ids = _ids(parquet.committed(settings.science), survey.alert_id)
    proof.expect("raw", raw_ids, proof.sent)
    good = [row[0] for row in raw.where(passes(with_cuts(survey, settings.raw2science.cuts).cuts)).select(identity).distinct().collect()]
    proof.expect("science", science_ids, good)
    for kind, ids in (("raw", raw_ids), ("science", science_ids)):
        files = sorted((settings.archive_folder / kind).rglob("*.parquet"))
        archived = _ids([parquet.File(0, file) for file in files], survey.alert_id)
        proof.archive[kind] = len(archived)
        proof.expect(f"archive {kind}", archived, ids)
    return science


def _ids(files: Iterable[parquet.File], column: str) -> list[Any]:
    return [one for table in parquet.read(list(files), [column]) for one in parquet.column(table, column).to_pylist()]


def user_topics(proof: Proof, science: DataFrame, settings: Settings, survey: Survey, connection: Connection) -> None:
    """Consume and decode every message as fink-client does, and compare with what each filter selects for each audience."""
    filters: list[Filter] = active(settings, survey)
    audiences = rights.audiences(settings, survey, filters)
    expected: dict[str, list[int]] = {topic: [] for one in audiences for topic in rights.topics(one, filters, survey)}
    selected = with_topics(science, filters, survey)
    for one in audiences:
        for alert, topic in selected.select(survey.alert_id, F.explode(one.granted(selected))).collect():
            expected[topic].append(alert)
    times = []
    for topic, ids in expected.items():
        found = []
        for message in kafka.read_all(connection, topic):
            key, value = message.key(), message.value()
            assert isinstance(key, bytes) and isinstance(value, bytes)  # noqa: PT018 - for the types
            record: Any = fastavro.schemaless_reader(io.BytesIO(value), _schema(key), None)
            found.append(record[survey.alert_id.rpartition(".")[2]])
            times.append(message.timestamp()[1] / 1000)
        proof.topics[topic] = len(found)
        proof.expect(f"topic {topic}", found, ids)
    proof.first_message_s = min(times, default=None)


@cache
def _schema(key: bytes) -> Any:
    return fastavro.parse_schema(json.loads(key))


def hbase_tables(proof: Proof, science: DataFrame, settings: Settings, survey: Survey, client: Client) -> None:
    """Scan every table that is written and compare its row keys with those that the science alerts have."""
    wanted = settings.archive.tables
    for table in (one for one in filled(survey, science) if not wanted or one.name in wanted):
        expected = {row[0] for row in rows(science, table, survey).select(ROW_KEY).collect()}
        found = [key.decode() for key, _ in client.scan(table.name) if not key.startswith(SCHEMA_PREFIX)]
        proof.tables[table.name] = len(found)
        proof.expect(f"table {table.name}", found, expected)


def prove(
    sent: Iterable[int],
    *,
    spark: SparkSession,
    settings: Settings,
    survey: Survey,
    connection: Connection,
    client: Client,
    say: Callable[[str], None],
) -> Proof:
    """Read every output back.

    Parameters
    ----------
    sent : iterable of int
        Ids of the alerts that were sent, sound and each once.
    spark : SparkSession
        Works out, in one batch over what lies in science, what topics and tables should hold.
    settings, survey : Settings, Survey
        Folders, filters, tables.
    connection : Connection
        Kafka of the users' topics.
    client : Client
        HBase.
    say : callable
        Told what is being read.
    """
    proof = Proof(list(sent))
    say("reading back raw, science and the archive")
    science = parquet_folders(proof, spark, settings, survey)
    say("consuming the users' topics")
    user_topics(proof, science, settings, survey, connection)
    say("scanning the HBase tables")
    hbase_tables(proof, science, settings, survey, client)
    return proof
