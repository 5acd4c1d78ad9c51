"""Rows of past alerts to where whoever asked for them reads them: a topic for fink-client's `finkctl transfer`, or a Parquet file.

The client takes the schema of a topic from the keys of another, `<topic>_schema`, a message each time that it runs.
"""

from __future__ import annotations

import logging
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fink_broker.config import Settings
from fink_broker.connectors import kafka
from fink_broker.connectors import topic as whole
from fink_broker.connectors.security import Connection
from fink_broker.connectors.topics import of_new
from fink_broker.errors import FinkError
from fink_broker.surveys import Survey
from fink_broker.transforms.serialise import avro_schema, messages
from fink_broker.transforms.transfer import flat, sendable

log = logging.getLogger(__name__)

KINDS = ("ftransfer", "fxmatch")
"""Beginnings of the topics' names: of transfers, and of matches with a table. `finkctl transfer` takes no others."""

# `finkctl transfer --restart_from_beginning` of fink-client 12.3 knows no more, without being told.
_PARTITIONS = 10
# As many as Fink's own service sends (its `spark_ztf_transfer.py`).
_SCHEMAS = 1_000


@dataclass(frozen=True)
class Arrived:
    """What is where it was sent to, read back: messages or rows, and how many alerts those are."""

    rows: int
    alerts: int


def topic_name(kind: str, survey: Survey) -> str:
    """A new name of a topic, such as ``ftransfer_ztf_2026-03-22_012345``, as Fink's service makes them; `kind` is its beginning."""
    return f"{kind}_{survey.topic_suffix}_{datetime.now(UTC):%Y-%m-%d}_{secrets.randbelow(1_000_000):06}"


def schema_topic(topic: str) -> str:
    """Where fink-client looks for the schema of a topic."""
    return f"{topic}_schema"


def forget(connection: Connection, survey: Survey, hours: int) -> None:
    """Delete the topics of earlier transfers whose messages Kafka has given up: it keeps the empty topics itself."""
    before = f"{datetime.now(UTC) - timedelta(hours=hours, days=1):%Y-%m-%d}"
    pattern = rf"({'|'.join(KINDS)})_{survey.topic_suffix}_[0-9-]{{10}}_[0-9]{{6}}(_schema)?"
    old = [name for name in kafka.partitions(connection, pattern) if name.split("_")[2] < before]
    if old:
        whole.delete(connection, old)


def to_topic(rows: DataFrame, survey: Survey, settings: Settings, connection: Connection, topic: str) -> Arrived:
    """Send rows to a new topic, and read it back; a topic that did not get all is deleted.

    Parameters
    ----------
    rows : DataFrame
        Rows of `packets` or `columns`.
    survey : Survey
        Ids.
    settings : Settings
        Partitions and retention of the topic.
    connection : Connection
        The users' Kafka.
    topic : str
        Name of the topic.

    Raises
    ------
    FinkError
        They could not be read or sent.
    """
    rows, survey = sendable(rows), flat(survey)
    schemas = schema_topic(topic)
    output = settings.kafka.output
    partitions = kafka.make_topics(connection, {topic: min(output.partitions, _PARTITIONS), schemas: 1}, of_new(output))
    try:
        with _told(f"the topic {topic} is deleted again"):
            kafka.write(_schema_messages(rows, schemas), connection)
            kafka.write(messages(rows.withColumn("topics", F.array(F.lit(topic))), survey, partitions), connection)
            back = whole.read(rows.sparkSession, connection, topic)
            [[count, alerts]] = back.agg(F.count("*"), F.count_distinct(F.col("headers")[0]["value"])).collect()
    except BaseException:
        whole.delete(connection, [topic, schemas])
        raise
    return Arrived(count, alerts)


def to_file(rows: DataFrame, survey: Survey, settings: Settings, file: Path) -> Arrived:
    """Write rows into a Parquet file, whole or not at all, and read it back.

    Raises
    ------
    FinkError
        They could not be read or written.
    """
    alert_id = flat(survey).alert_id
    folder = settings.root / "tmp" / "transfer" / secrets.token_hex(8)
    try:
        with _told(f"{file} is not written"):
            rows.coalesce(1).write.parquet(str(folder))
        [part] = folder.glob("*.parquet")
        ids = pq.ParquetFile(part).read([alert_id])[alert_id]
        shutil.move(part, file)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Arrived(len(ids), len(ids.unique()))


def count(rows: DataFrame) -> int:
    """How many rows there are.

    Raises
    ------
    FinkError
        They could not be read.
    """
    with _told("nothing is sent"):
        return rows.count()


def _schema_messages(rows: DataFrame, topic: str) -> DataFrame:
    key = F.lit(avro_schema(rows)).cast("binary")
    value = F.lit(topic).cast("binary")
    return rows.sparkSession.range(_SCHEMAS).coalesce(1).select(F.lit(topic).alias("topic"), key.alias("key"), value.alias("value"))


@contextmanager
def _told(consequence: str) -> Iterator[None]:
    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        log.exception("a transfer has failed")
        cause = str(error)
        if "FAILED_READ_FILE" in cause or "FileNotFound" in cause:
            raise FinkError(f"files of the night have changed meanwhile, as a merge does: {consequence}; start it again") from error
        raise FinkError(f"Spark has failed, {consequence}: {' '.join(cause.split())[:200]}") from error
