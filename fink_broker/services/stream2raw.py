"""stream2raw: alerts from the telescope's Kafka to Parquet raw, decoded, checked and stamped; what is rejected is kept with its reason.

The plan decodes, in the JVM, what known writers wrote. A message of another writer stops the query before anything of its batch is
written; its schema is learned if it can be, and the query goes on with a new plan, in this process. What cannot be learned is decoded, or
rejected, the slow way, until no such message has come for a while.
"""

from __future__ import annotations

import functools
import re

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.types import StructType

from fink_broker.config import Settings
from fink_broker.connectors import parquet, replay
from fink_broker.connectors.replay import MESSAGE
from fink_broker.connectors.sparklog import newest, offsets
from fink_broker.errors import ConfigError
from fink_broker.services import known, learning, telescope
from fink_broker.services.context import Context, trigger
from fink_broker.services.learning import Position
from fink_broker.surveys import Survey
from fink_broker.transforms.decode import UNKNOWN_WRITER, decode
from fink_broker.transforms.framing import Codec
from fink_broker.transforms.provenance import with_ingest_time, with_night

NAME = "stream2raw"
OK = "ok"
PARTITIONS = ("status", "night")

_SLOW = "stream2raw: slow"  # in the context's memory: whether the plan holds the slow way
_QUIET = 20  # batches without a message that needs the slow way, until the plan does without


def build(messages: DataFrame, survey: Survey, codec: Codec, night: str | None = None) -> DataFrame:
    """Messages to raw alerts and rejected ones.

    Parameters
    ----------
    messages : DataFrame
        As `connectors.kafka.stream` gives them.
    survey : Survey
        Checks, nights, and the names of what the broker adds.
    codec : Codec
        Known schemas.
    night : str, optional
        Force the night.

    Returns
    -------
    DataFrame
        The alert's columns, those of the message, when it was decoded and what with, `reason` and `value` (of rejected ones), `status` and
        `night`.
    """
    alerts = decode(with_ingest_time(messages, survey), codec, survey.checks, survey.schema_version)
    status = "case when reason is null then 'ok' else 'rejected' end as status"
    return with_night(alerts, survey.night, night).selectExpr("*", status)


def schema(context: Context) -> StructType:
    """Columns of the raw folder, known before its first file."""
    return _schema(context.spark, context.survey, known.load(context.settings, context.survey).codec(1))


@functools.lru_cache(maxsize=1)  # worked out once for all services of an application: it takes a second
def _schema(spark: SparkSession, survey: Survey, codec: Codec) -> StructType:
    return build(spark.createDataFrame([], MESSAGE), survey, codec).schema


def start(context: Context) -> StreamingQuery:
    """Start the query without the slow way: known schemas do not pay for unknown ones."""
    _same_topics(context.settings, telescope.topics(context))
    learning.prepare(context)
    return _start(context, slow=False)


def recover(context: Context, error: Exception) -> StreamingQuery | None:
    """Start again after a message of an unknown writer, knowing it or with the slow way; its batch runs anew, nothing of it was written."""
    found = re.search(rf"{UNKNOWN_WRITER} (\S+) (\d+) (\d+)", str(error))
    if found is None:
        return None
    position = Position(found[1], int(found[2]), int(found[3]))
    learned = learning.learn(context, position, last_try=context.memory[_SLOW])
    return _start(context, slow=not learned and known.form(context.settings, context.survey) == "container")


def review(context: Context, query: StreamingQuery) -> bool:
    """Whether the query had better have another plan.

    Refusals have become old, the slow way has not been needed for a while, or a schema comes again and again.
    """
    if learning.forget(context):
        return True
    if not context.memory.get(_SLOW):
        return False
    batches = [progress["observedMetrics"]["slow"] for progress in query.recentProgress if "slow" in progress["observedMetrics"]]
    if len(batches) >= _QUIET and not any(batch["n"] for batch in batches[-_QUIET:]):
        return True
    last = batches[-1] if batches else None
    return last is not None and last["n"] > 1 and learning.learn(context, Position(**last["first"]))


def _start(context: Context, *, slow: bool) -> StreamingQuery:
    settings, survey, options = context.settings, context.survey, context.options
    context.memory[_SLOW] = slow
    messages = telescope.stream(context, settings.kafka.input.starting_offsets, settings.stream2raw.max_alerts_per_trigger)
    # What was rejected and is to go through again comes through the same query: one folder, one query.
    messages = messages.unionByName(replay.stream(context.spark, settings.replay))
    refused = learning.refused(context)
    codec = known.load(settings, survey).codec(settings.stream2raw.max_message_bytes, slow=slow, refused=refused)
    # Each task writes a file a night: as many as there are partitions in Kafka would be small ones.
    alerts = build(messages, survey, codec, options.night).coalesce(settings.stream2raw.writers)
    sink = parquet.sink(alerts, settings.raw, settings.checkpoint(NAME), PARTITIONS)
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
