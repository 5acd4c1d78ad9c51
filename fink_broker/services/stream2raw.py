"""stream2raw: alerts from the telescope's Kafka to Parquet raw, decoded, checked and stamped; what is rejected is kept with its reason."""

from __future__ import annotations

import functools
import re

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.types import StructType

from fink_broker.config import Settings
from fink_broker.connectors import kafka, parquet
from fink_broker.connectors.avro import minified
from fink_broker.connectors.sparklog import newest, offsets
from fink_broker.errors import ConfigError
from fink_broker.infra.kafka import address
from fink_broker.services.context import Context, trigger
from fink_broker.surveys import Survey
from fink_broker.transforms.decode import SLOW_NEEDED, Codec, decode, writers_of
from fink_broker.transforms.provenance import with_ingest_time, with_night

NAME = "stream2raw"
OK = "ok"
PARTITIONS = ("status", "night")


def build(messages: DataFrame, survey: Survey, codec: Codec, night: str | None = None) -> DataFrame:
    """Messages to raw alerts and rejected ones.

    Parameters
    ----------
    messages : DataFrame
        As `connectors.kafka.stream` gives them.
    survey : Survey
        Checks and nights.
    codec : Codec
        Known schemas.
    night : str, optional
        Force the night.

    Returns
    -------
    DataFrame
        The alert's columns, those of the message, `brokerIngestTimestamp`, `reason` and `value` (of rejected ones), `status` and `night`.
    """
    alerts = with_ingest_time(decode(messages, codec, survey.checks))
    status = "case when reason is null then 'ok' else 'rejected' end as status"
    return with_night(alerts, survey.night, night).selectExpr("*", status)


def codec(survey: Survey, max_bytes: int, *, slow: bool = False) -> Codec:
    """Codec for the survey's known schemas, the newest first in line."""
    schemas = {file.stem: minified(file) for file in sorted(survey.schemas.glob("*.avsc"))}
    return Codec(writers_of(schemas), slow=slow, max_bytes=max_bytes)


@functools.lru_cache(maxsize=1)
def schema(spark: SparkSession, survey: Survey) -> StructType:
    """Columns of the raw folder, known before its first file; worked out once for all services of an application (1 s)."""
    message = "value binary, topic string, partition int, offset bigint, kafkaTimestamp timestamp"
    return build(spark.createDataFrame([], message), survey, codec(survey, 1)).schema


def start(context: Context) -> StreamingQuery:
    """Start the query without the slow way: known schemas do not pay for unknown ones."""
    return _start(context, slow=False)


def recover(context: Context, error: Exception) -> StreamingQuery | None:
    """Start again after an alert of an unknown schema, now with the slow way; its batch runs anew, nothing of it was written."""
    return _start(context, slow=True) if SLOW_NEEDED in str(error) else None


def _start(context: Context, *, slow: bool) -> StreamingQuery:
    settings, survey, options = context.settings, context.survey, context.options
    source = settings.kafka.input
    servers, topics = ("local", settings.simulator.topic) if options.simulator else (source.servers, source.topics)
    _same_topics(settings, topics)
    messages = kafka.stream(
        context.spark, address(settings, servers), topics, source.starting_offsets, settings.stream2raw.max_alerts_per_trigger
    )
    raw = build(messages, survey, codec(survey, settings.stream2raw.max_message_bytes, slow=slow), options.night)
    sink = parquet.sink(raw, settings.raw, settings.checkpoint(NAME), PARTITIONS)
    return sink.queryName(NAME).trigger(**trigger(options, settings.stream2raw.trigger_seconds)).start()


def _same_topics(settings: Settings, topics: str) -> None:
    """A query that goes on must still subscribe to what it has read: without it Spark plans a batch that can never run.

    Raises
    ------
    ConfigError
        It does not.
    """
    checkpoint = settings.checkpoint(NAME)
    planned = newest(checkpoint / "offsets")
    read = offsets(checkpoint, planned) if planned >= 0 else {}
    strange = [topic for topic in read if not re.fullmatch(topics, topic)]
    if strange:
        raise ConfigError(
            f"stream2raw in {settings.root} has read {', '.join(strange)}, which '{topics}' does not match: "
            "keep it in [kafka.input] topics, or use another home (the simulator's topic needs --simulator, and a home of its own)"
        )
