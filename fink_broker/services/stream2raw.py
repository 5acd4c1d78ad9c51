"""stream2raw: alerts from the telescope's Kafka to Parquet raw, decoded, checked and stamped; what is rejected is kept with its reason.

The plan decodes, in the JVM, what known writers wrote. A message of another writer stops the query before anything of its batch is
written; its schema is learned if it can be, and the query goes on with a new plan, in this process. What cannot be learned is decoded, or
rejected, the slow way, until no such message has come for a while.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.streaming.readwriter import DataStreamWriter
from pyspark.sql.types import StructType

from fink_broker.config import Settings
from fink_broker.connectors import parquet, replay
from fink_broker.connectors.replay import MESSAGE
from fink_broker.connectors.sparklog import newest, offsets
from fink_broker.errors import ConfigError
from fink_broker.monitoring import gaps
from fink_broker.services import handover, known, learning, telescope
from fink_broker.services.context import Context, trigger
from fink_broker.services.learning import Position
from fink_broker.surveys import Survey
from fink_broker.transforms.decode import UNKNOWN_WRITER, decode
from fink_broker.transforms.framing import Codec
from fink_broker.transforms.provenance import with_ingest_time, with_night

NAME = "stream2raw"
BESIDE = ("fink_broker.services.backlog",)
OK = "ok"
PARTITIONS = ("status", "night")

_SLOW = "stream2raw: slow"  # in the context's memory: whether the plan holds the slow way
_ALL = 2**40  # messages, more than any Kafka has
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
    gaps.check(context.settings, telescope.connection(context))
    handover.hand_over(context, lambda: _pass_over(context))
    return _start(context, slow=False)


def settle(context: Context, query: StreamingQuery) -> None:
    """Look at what the query's last batches have read."""
    gaps.check(context.settings, telescope.connection(context), query)


def recover(context: Context, error: Exception) -> StreamingQuery | None:
    """Start again after a message of an unknown writer, knowing it or with the slow way; its batch runs anew, nothing of it was written."""
    slow = needs_slow_way(context, error, slow=context.memory[_SLOW])
    return None if slow is None else _start(context, slow=slow)


def needs_slow_way(context: Context, error: Exception, *, slow: bool) -> bool | None:
    """After an error of a plan with or without the slow way: whether the next needs it; None if no unknown writer was the cause."""
    found = re.search(rf"{UNKNOWN_WRITER} (\S+) (\d+) (\d+)", str(error))
    if found is None:
        return None
    position = Position(found[1], int(found[2]), int(found[3]))
    learned = learning.learn(context, position, last_try=slow)
    return not learned and known.form(context.settings, context.survey) == "container"


def review(context: Context, query: StreamingQuery) -> bool:
    """Whether the query had better have another plan.

    Refusals have become old, the slow way has not been needed for a while, or a schema comes again and again.
    """
    gaps.check(context.settings, telescope.connection(context), query)
    if learning.forget(context):
        return True
    if not context.memory.get(_SLOW):
        return False
    batches = [progress["observedMetrics"]["slow"] for progress in query.recentProgress if "slow" in progress["observedMetrics"]]
    if len(batches) >= _QUIET and not any(batch["n"] for batch in batches[-_QUIET:]):
        return True
    last = batches[-1] if batches else None
    return last is not None and last["n"] > 1 and learning.learn(context, Position(**last["first"]))


def knowingly(context: Context, run: Callable[[bool], None]) -> None:
    """Run a plan, with the slow way or without, until no unknown writer is in its way."""
    slow = False
    for last in (*[False] * known.MOST, True):
        try:
            run(slow)
            return
        except (PySparkException, Py4JError) as error:
            again = None if last else needs_slow_way(context, error, slow=slow)
            if again is None:
                raise
            slow = again


def raw(context: Context, messages: DataFrame, *, slow: bool) -> DataFrame:
    """Messages to raw alerts by all that is known now, see `build`."""
    settings, survey = context.settings, context.survey
    refused = learning.refused(context)
    codec = known.load(settings, survey).codec(settings.stream2raw.max_message_bytes, slow=slow, refused=refused)
    # Each task writes a file a night: as many as there are partitions in Kafka would be small ones.
    return build(messages, survey, codec, context.options.night).coalesce(settings.stream2raw.writers)


def _start(context: Context, *, slow: bool) -> StreamingQuery:
    settings = context.settings
    context.memory[_SLOW] = slow
    messages = telescope.stream(context, settings.kafka.input.starting_offsets, settings.stream2raw.max_alerts_per_trigger)
    return _sink(context, messages, slow=slow).trigger(**trigger(context.options, settings.stream2raw.trigger_seconds)).start()


def _pass_over(context: Context) -> None:
    """Run the query up to the newest message without taking any: Spark plans it all as one batch, and `limit(0)` leaves nothing to read."""

    def run(slow: bool) -> None:
        none = telescope.stream(context, context.settings.kafka.input.starting_offsets, _ALL).limit(0)
        _sink(context, none, slow=slow).trigger(availableNow=True).start().awaitTermination()

    knowingly(context, run)  # what is replayed goes through as ever


def _sink(context: Context, messages: DataFrame, *, slow: bool) -> DataStreamWriter:
    settings = context.settings
    # What was rejected and is to go through again comes through the same query: one folder, one query.
    messages = messages.unionByName(replay.stream(context.spark, settings.replay))
    return parquet.sink(raw(context, messages, slow=slow), settings.raw, settings.checkpoint(NAME), PARTITIONS).queryName(NAME)


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
