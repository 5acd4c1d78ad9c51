"""Learning a writer schema from a message: whether it can be had, goes with the known ones, and is worth a place in the plan."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

import pyarrow as pa
from confluent_kafka import KafkaException
from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException

from fink_broker.connectors import avro, kafka, replay, schemas
from fink_broker.connectors.security import Connection
from fink_broker.errors import ConfigError, ServerUnavailable
from fink_broker.infra.retry import patiently
from fink_broker.services import known, telescope
from fink_broker.services.context import Context
from fink_broker.services.known import Known, Learned
from fink_broker.transforms.decode import RESERVED, decode
from fink_broker.transforms.framing import CONFLUENT_LENGTH

_NEIGHBOURS = 20  # messages among which a schema must come again to be worth a place in the plan
_REFUSED, _REFUSED_SINCE = "learning: refused", "learning: refused since"  # in the context's memory
_FORGET_S = 300.0
_LEARNING = threading.Lock()  # the queries of new alerts and of a backlog may meet the same schema

log = logging.getLogger(__name__)

T = TypeVar("T")


class Position(NamedTuple):
    """Where a message is."""

    topic: str
    partition: int
    offset: int


def refused(context: Context) -> dict[bytes, str]:
    """What messages start with whose schema could not be learned, and why; forgotten when the process ends."""
    prefixes: dict[bytes, str] = context.memory.setdefault(_REFUSED, {})
    return prefixes


def forget(context: Context) -> bool:
    """Give up refusals that are old: what was wrong may have been mended since. Whether there were any."""
    since: float = context.memory.setdefault(_REFUSED_SINCE, time.monotonic())
    if not refused(context):
        context.memory[_REFUSED_SINCE] = time.monotonic()
        return False
    if time.monotonic() < since + _FORGET_S:
        return False
    refused(context).clear()
    return True


def prepare(context: Context) -> None:
    """Learn, before the first start, the schema of the first message that is there; without one, the newest that is to be had.

    Raises
    ------
    ConfigError
        Alerts come without their schemas, and there is none to be had.
    """
    form = known.form(context.settings, context.survey)
    if form == "schemaless":
        _learn_configured(context, b"")
        return
    if known.load(context.settings, context.survey).learned:
        return
    place = _of_kafka(context, lambda connection: next(kafka.beginnings(connection, telescope.topics(context)), None))
    if place is not None:
        learn(context, Position(*place))
    if form == "confluent" and not known.load(context.settings, context.survey).learned:
        _learn_configured(context, None)


def learn(context: Context, position: Position, *, last_try: bool = False) -> bool:
    """Learn the schema of a message; whether there is something new for the plan.

    Parameters
    ----------
    context : Context
        What is learned is kept in its home.
    position : Position
        The message.
    last_try : bool
        Whether the message cannot be read, or rejected with a reason, without: if its schema is not learned, it is refused.
    """
    with _LEARNING:
        return _learn(context, position, last_try=last_try)


def _learn(context: Context, position: Position, *, last_try: bool) -> bool:
    messages = _fetch(context, position)
    knows = known.load(context.settings, context.survey)
    one = _writer(context, messages[0])
    if one is None or (knows.learned and knows.has(one.prefix)) or len(knows.learned) >= known.MOST:
        return False
    try:
        found = _worth(context, position, messages, knows, one)
        why = "its schema could not be learned"
    except TypeError as error:
        found, why = None, f"its schema does not go with the known ones: {error}"
    if found is not None:
        known.keep(context.settings, context.survey, found)
    elif last_try or knows.form == "confluent":
        refused(context)[one.prefix] = why
    return found is not None


def _fetch(context: Context, position: Position) -> list[bytes]:
    """The message, and those after it. One that goes through again may not be in Kafka any more."""
    offered = replay.find(context.settings.replay, *position)
    if offered is not None:
        return [offered]
    messages = _of_kafka(context, lambda connection: list(kafka.messages(connection, *position, 1 + _NEIGHBOURS)))
    return [value or b"" for value in messages] or [b""]


def _of_kafka(context: Context, ask: Callable[[Connection], T]) -> T:
    """Ask the telescope's Kafka: while it starts again its partitions have no leader."""
    connection = telescope.connection(context)
    faults = (KafkaException, ServerUnavailable)
    return patiently(lambda: ask(connection), faults, context.settings.wait.seconds, f"Kafka at {connection}")


def _worth(context: Context, position: Position, messages: Sequence[bytes], knows: Known, one: Learned) -> Learned | None:
    """What to learn of the first message's writer, if it is worth it. Raises TypeError if its schema does not go with the known ones."""
    value = messages[0]
    adds = knows.adds(one.schema_text, RESERVED)
    if knows.form == "confluent":
        return one if _is_readable(context, position, value, knows.plus(one)) else None
    # What only says the same in other words is worth a place in the plan if it comes again.
    again = adds or not knows.learned or any(other.startswith(one.prefix) for other in messages[1:])
    if again and _is_readable(context, position, value, knows.plus(one), sound=True):
        return one
    slow = one.model_copy(update={"fast": False})
    return slow if adds and _is_readable(context, position, value, knows.plus(slow), sound=True, slow=True) else None


def _learn_configured(context: Context, prefix: bytes | None) -> None:
    """Take a schema that lies where the configuration says, without having seen an alert: the newest."""
    where = context.settings.kafka.input.schemas
    column = context.survey.alert_id.partition(".")[0]
    there = _patiently(context, lambda: schemas.source(where, context.settings).known())
    # A registry may hold the schemas of others too.
    found = {number: text for number, text in there.items() if column in (field["name"] for field in json.loads(text).get("fields", ()))}
    if not found:
        raise ConfigError(f"no schema of {context.survey.name} is known: put one where [kafka.input] schemas says ({where})")
    number = max(found)
    one = Learned(prefix=b"\0" + number.to_bytes(CONFLUENT_LENGTH - 1) if prefix is None else prefix, schema_text=found[number])
    knows = known.load(context.settings, context.survey)
    if not knows.learned or knows.learned[-1] != one:
        known.keep(context.settings, context.survey, one)


def _writer(context: Context, value: bytes) -> Learned | None:
    """The writer of a message, if it says it."""
    if known.form(context.settings, context.survey) == "container":
        try:
            header = avro.read_header(value)
        except ValueError:
            return None
        return Learned(prefix=header.prefix, schema_text=header.schema)
    prefix = value[:CONFLUENT_LENGTH]
    number = int.from_bytes(prefix[1:])
    where = context.settings.kafka.input.schemas
    text = _patiently(context, lambda: schemas.source(where, context.settings).by_id(number))
    if text is None:
        refused(context)[prefix] = f"no schema has the id {number}"
        return None
    return Learned(prefix=prefix, schema_text=text)


def _patiently(context: Context, ask: Callable[[], T]) -> T:
    where = context.settings.kafka.input.schemas
    return patiently(ask, (ServerUnavailable,), context.settings.wait.seconds, f"the schema registry ({where})")


def _is_readable(context: Context, position: Position, value: bytes, knows: Known, *, sound: bool = False, slow: bool = False) -> bool:
    """Whether a plan that knows that much reads a message, and finds it a sound alert: tried, in the JVM."""
    # By way of Arrow: a frame made of Python rows starts Python workers, which this service needs for nothing else.
    row = zip(replay.COLUMNS, (value, *position, datetime.now(UTC)), strict=False)
    one = context.spark.createDataFrame(pa.table({name: [field] for name, field in row}), replay.MESSAGE)
    codec = knows.codec(context.settings.stream2raw.max_message_bytes, slow=slow)
    try:
        found = decode(one, codec, context.survey.checks).select("reason").collect()
    except (PySparkException, Py4JError) as error:
        log.info("the schema of %s is not one for the JVM: %s", position, str(error).partition("\n")[0])
        return False
    return not sound or all(row.reason is None for row in found)
