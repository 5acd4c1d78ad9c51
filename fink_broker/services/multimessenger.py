"""multimessenger: science alerts matched with the notices of other observatories, to the topics that fink-client knows.

An alert meets each notice once, whichever came first: see `fink_broker.notices.book`.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from pathlib import Path

from confluent_kafka import KafkaException
from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql.streaming.query import StreamingQuery

from fink_broker.connectors import gcn, kafka, parquet
from fink_broker.connectors.security import Connection
from fink_broker.connectors.sparklog import newest
from fink_broker.connectors.topics import of_new
from fink_broker.connectors.users import grant
from fink_broker.errors import ConfigError, FinkError, ServerUnavailable
from fink_broker.infra.kafka import connection
from fink_broker.monitoring import reach
from fink_broker.notices.book import Book
from fink_broker.notices.notice import Notice
from fink_broker.services import raw2science
from fink_broker.services.context import Context, trigger
from fink_broker.surveys import Survey
from fink_broker.transforms.counterparts import counterparts, message_id
from fink_broker.transforms.rights import PUBLIC, everybody
from fink_broker.transforms.serialise import messages

NAME = "multimessenger"
_INBOX = "notices of Kafka"

log = logging.getLogger(__name__)


def check(survey: Survey) -> None:
    """Whether there is anything to do.

    Raises
    ------
    ConfigError
        The survey does not say which alerts to match.
    """
    if survey.counterparts is None:
        raise ConfigError(f"{survey.name} has no topics for counterparts of other observatories' notices: start without {NAME}")


def start(context: Context) -> StreamingQuery:
    """Make the topics that are not there, take in the notices that are, and start the query."""
    settings, checkpoint = context.settings, context.settings.checkpoint(NAME)
    assert context.survey.counterparts is not None
    settings.notices_folder.mkdir(parents=True, exist_ok=True)
    output = settings.kafka.output
    users = connection(settings, output)
    partitions = kafka.make_topics(users, dict.fromkeys(context.survey.counterparts.topics, output.partitions), of_new(output))
    grant(users, {PUBLIC: list(partitions)})
    book = Book(settings.notices_book, settings.notices_folder, newest(checkpoint / "offsets"))
    outlet = _Outlet(context, users, partitions)
    context.memory[NAME] = (book, outlet)
    _take_in(context)
    science = parquet.stream(context.spark, settings.science, raw2science.schema(context), settings.notices.max_files_per_trigger)

    def batch(alerts: DataFrame, number: int) -> None:
        outlet.send(alerts, book.begin(number))

    sink = science.writeStream.foreachBatch(batch).option("checkpointLocation", str(checkpoint))
    return sink.queryName(NAME).trigger(**trigger(context.options, settings.notices.trigger_seconds)).start()


def review(context: Context, _query: StreamingQuery) -> bool:
    """Take in new notices, and match those that came late with the alerts before them; the plan stays as it is."""
    _take_in(context)
    _catch_up(context)
    return False


def settle(context: Context, _query: StreamingQuery) -> None:
    """With all alerts worked off: what came late too."""
    if context.options.once:
        _catch_up(context)
    if _INBOX in context.memory:
        context.memory.pop(_INBOX).close()


class _Outlet:
    """Where counterparts go."""

    def __init__(self, context: Context, users: Connection, partitions: dict[str, int]) -> None:
        self._context, self._users, self._partitions = context, users, partitions

    def send(self, alerts: DataFrame, found: Sequence[Notice]) -> None:
        """Match alerts with notices and send what goes to a topic."""
        if not found:
            return
        survey, settings = self._context.survey, self._context.settings.notices
        public = alerts.where(everybody(self._context.settings, survey).sees(alerts))
        pairs = counterparts(public, found, survey, settings.days, settings.level)
        kafka.write(messages(pairs, survey, self._partitions, message_id=message_id(survey)), self._users)


def _take_in(context: Context) -> None:
    settings, memory = context.settings, context.memory
    book, _ = memory[NAME]
    if settings.notices.topics:
        try:
            if _INBOX not in memory:
                source, folder = connection(settings, settings.notices), settings.notices_folder
                memory[_INBOX] = gcn.Inbox(source, settings.notices.topics, folder, gcn.login(source, settings.notices.token_url))
            memory[_INBOX].fetch()
        except (KafkaException, ServerUnavailable) as error:
            # It comes again in a moment, and the notices wait there.
            _say_once(context, f"the Kafka with the notices does not answer: {error}")
        gcn.forget(settings.notices_folder, settings.notices.days + 1)
    book.look(lambda batch: reach.position(settings.checkpoint(NAME), batch))


def _say_once(context: Context, what: str) -> None:
    if context.memory.get(f"{NAME} said") != what:
        context.memory[f"{NAME} said"] = what
        log.warning("%s", what)


def _catch_up(context: Context) -> None:
    """Match late notices with the alerts whose batches had begun before they came."""
    book, outlet = context.memory[NAME]
    late: list[tuple[str, int, Notice]] = sorted(book.late(), key=lambda one: one[1])
    for end, group in itertools.groupby(late, key=lambda one: one[1]):
        names, found = zip(*((name, notice) for name, _, notice in group), strict=True)
        files = [str(path) for path in _files(context, end)]
        if files:
            schema = parquet.columns(context.settings.science)
            assert schema is not None
            try:
                outlet.send(context.spark.read.schema(schema).parquet(*files), found)
            except (PySparkException, Py4JJavaError) as error:
                raise FinkError(f"{NAME}: the late notices {names} were not matched with the alerts before them: {error}"[:300]) from error
        book.done(names)
        log.info("the notices %s came late: they were matched with the alerts of %d files before them", ", ".join(names), len(files))


def _files(context: Context, end: int) -> list[Path]:
    """The science files up to a place in the query's log that are still there."""
    places = reach.positions(context.settings.checkpoint(NAME))
    return [
        file.path for file in parquet.committed(context.settings.science) if places.get(file.path, end + 1) <= end and file.path.exists()
    ]
