"""stream2raw: alerts from the telescope's Kafka to Parquet raw, decoded, checked and stamped; what is rejected is kept with its reason.

The plan decodes, in the JVM, what known writers wrote. A message of another writer stops the query before anything of its batch is
written; its schema is learned if it can be, and the query goes on with a new plan, in this process. What cannot be learned is decoded, or
rejected, the slow way, until no such message has come for a while.
"""

from __future__ import annotations

import functools
import logging
import re
from datetime import UTC, datetime
from typing import NamedTuple

from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.types import StructType

from fink_broker.config import Settings
from fink_broker.connectors import avro, kafka, parquet
from fink_broker.connectors.security import Connection
from fink_broker.connectors.sparklog import newest, offsets
from fink_broker.errors import ConfigError
from fink_broker.infra import kafka as kafka_server
from fink_broker.services import known
from fink_broker.services.context import Context, trigger
from fink_broker.services.known import Known, Learned
from fink_broker.surveys import Survey
from fink_broker.transforms.decode import UNKNOWN_WRITER, decode
from fink_broker.transforms.framing import Codec
from fink_broker.transforms.provenance import with_ingest_time, with_night

NAME = "stream2raw"
OK = "ok"
PARTITIONS = ("status", "night")
MESSAGE = "value binary, topic string, partition int, offset bigint, kafkaTimestamp timestamp"

# No field of an alert may have the name of a column that is added here or on the way.
RESERVED = (
    *("value", "topic", "partition", "offset", "kafkatimestamp", "brokeringesttimestamp", "record", "reason", "status", "night"),
    *("fault", "place", "start", "size", "fast", "schema", "slow", "alert", parquet.STAMP),
)

_SLOW, _REFUSED = "stream2raw: slow", "stream2raw: refused"  # in the context's memory: a flag, and a list of prefixes
_NEIGHBOURS = 20  # messages among which a schema must come again to be worth a place in the plan
_QUIET = 20  # batches without a message that needs the slow way, until the plan does without

log = logging.getLogger(__name__)


class Position(NamedTuple):
    """Where a message is."""

    topic: str
    partition: int
    offset: int


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
    alerts = with_ingest_time(decode(messages, codec, survey.checks, RESERVED))
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
    _same_topics(context.settings, _topics(context))
    context.memory.setdefault(_REFUSED, [])
    if not known.load(context.settings, context.survey).learned:
        _learn_first(context)
    return _start(context, slow=False)


def recover(context: Context, error: Exception) -> StreamingQuery | None:
    """Start again after a message of an unknown writer, knowing it or with the slow way; its batch runs anew, nothing of it was written."""
    found = re.search(rf"{UNKNOWN_WRITER} (\S+) (\d+) (\d+)", str(error))
    if found is None:
        return None
    position = Position(found[1], int(found[2]), int(found[3]))
    return _start(context, slow=not _learn(context, position))


def review(context: Context, query: StreamingQuery) -> bool:
    """Whether the query had better have another plan: the slow way has not been needed for a while, or a schema comes again and again."""
    if not context.memory.get(_SLOW):
        return False
    batches = [progress["observedMetrics"]["slow"] for progress in query.recentProgress if "slow" in progress["observedMetrics"]]
    if len(batches) >= _QUIET and not any(batch["n"] for batch in batches[-_QUIET:]):
        return True
    last = batches[-1] if batches else None
    return last is not None and last["n"] > 1 and _learn(context, Position(**last["first"]))


def _topics(context: Context) -> str:
    return context.settings.simulator.topic if context.options.simulator else context.settings.kafka.input.topics


def _servers(context: Context) -> Connection:
    ends = context.settings.kafka
    return kafka_server.connection(context.settings, ends.simulated if context.options.simulator else ends.input)


def _start(context: Context, *, slow: bool) -> StreamingQuery:
    settings, survey, options = context.settings, context.survey, context.options
    first, most = settings.kafka.input.starting_offsets, settings.stream2raw.max_alerts_per_trigger
    messages = kafka.stream(context.spark, _servers(context), _topics(context), first, most)
    refused = context.memory[_REFUSED]
    context.memory[_SLOW] = slow
    codec = known.load(settings, survey).codec(settings.stream2raw.max_message_bytes, slow=slow, refused=refused)
    sink = parquet.sink(build(messages, survey, codec, options.night), settings.raw, settings.checkpoint(NAME), PARTITIONS)
    return sink.queryName(NAME).trigger(**trigger(options, settings.stream2raw.trigger_seconds)).start()


def _learn_first(context: Context) -> None:
    """Learn the schema of the first message that is there, instead of stopping at it."""
    position = next((Position(*place) for place in kafka.beginnings(_servers(context), _topics(context))), None)
    if position is not None:
        _learn(context, position)


def _learn(context: Context, position: Position) -> bool:
    """Learn the schema of a message, if the message is a sound alert; whether there is something new for the plan."""
    messages = kafka.messages(_servers(context), *position, 1 + _NEIGHBOURS)
    value = next(messages, b"") or b""
    knows = known.load(context.settings, context.survey)
    one = _read(context, value)
    if one is None or knows.has(one.prefix) or len(knows.learned) >= known.MOST:
        return False
    try:
        adds = knows.adds(one.schema_text, RESERVED)
    except TypeError as error:
        log.info("the schema of %s is not learned: %s", position, error)
        return False
    # What only says the same in other words is worth a place in the plan if it comes again.
    again = not knows.learned or any((other or b"").startswith(one.prefix) for other in messages)
    if again and _is_sound(context, position, value, knows.plus(one)):
        known.keep(context.settings, context.survey, one)
        return True
    if not adds:
        return False
    slow = one.model_copy(update={"fast": False})
    if _is_sound(context, position, value, knows.plus(slow), slow=True):
        known.keep(context.settings, context.survey, slow)
        return True
    context.memory[_REFUSED].append(one.prefix)
    return False


def _read(context: Context, value: bytes) -> Learned | None:
    """The writer of a message, if it says it."""
    if context.survey.form == "container":
        try:
            header = avro.read_header(value)
        except ValueError:
            return None
        return Learned(prefix=header.prefix, schema_text=header.schema)
    return None


def _is_sound(context: Context, position: Position, value: bytes, knows: Known, *, slow: bool = False) -> bool:
    """Whether a message is a sound alert if that much is known: tried, in the JVM, as it would be."""
    message = context.spark.createDataFrame([(value, *position, datetime.now(UTC))], MESSAGE)
    codec = knows.codec(context.settings.stream2raw.max_message_bytes, slow=slow)
    try:
        found = build(message, context.survey, codec).select("reason").collect()
    except (PySparkException, Py4JError) as error:
        log.info("the schema of %s is not one for the JVM: %s", position, str(error).partition("\n")[0])
        return False
    return all(row.reason is None for row in found)


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
