"""distribution: science alerts to users, every filter in one query, one topic a filter and audience."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql.streaming.query import StreamingQuery

from fink_broker.connectors import kafka, parquet
from fink_broker.connectors.security import Connection
from fink_broker.connectors.topics import of_new
from fink_broker.connectors.users import Users
from fink_broker.errors import ConfigError, ServerUnavailable
from fink_broker.filters import Filter, active
from fink_broker.infra.kafka import connection
from fink_broker.services import raw2science
from fink_broker.services.context import Context, trigger
from fink_broker.services.delivery import Delivery
from fink_broker.surveys import Survey
from fink_broker.transforms import rights
from fink_broker.transforms.filters import with_topics
from fink_broker.transforms.rights import EVERYBODY, Audience
from fink_broker.transforms.serialise import messages

NAME = "distribution"
_DELIVERY = "delivery"

log = logging.getLogger(__name__)


def build(
    science: DataFrame,
    survey: Survey,
    filters: Sequence[Filter],
    partitions: Mapping[str, int],
    audiences: Sequence[Audience] = EVERYBODY,
    *,
    counted: bool = False,
) -> DataFrame:
    """Science alerts to messages.

    Parameters
    ----------
    science : DataFrame
        As raw2science writes it.
    survey : Survey
        Columns and ids.
    filters : sequence of Filter
        Who gets what.
    partitions : mapping
        Topic to its number of partitions.
    audiences : sequence of Audience
        Who may see what; the public first.
    counted : bool
        Whether the alerts are counted on topics too, one a night.
    """
    return messages(with_topics(science, filters, survey), survey, partitions, audiences, counted=counted)


def start(context: Context) -> StreamingQuery:
    """Make the topics that are not there and start the query."""
    settings, survey = context.settings, context.survey
    filters = active(settings, survey)
    audiences = rights.audiences(settings, survey, filters)
    users, output = connection(settings, settings.kafka.output), settings.kafka.output
    names = [topic for one in audiences for topic in rights.topics(one, filters, survey)]
    partitions = kafka.make_topics(users, dict.fromkeys(names, output.partitions), of_new(output))
    for name, number in partitions.items():
        if number < output.partitions:
            log.warning("%s has %d partitions, less than [kafka.output] partitions = %d: it is left so", name, number, output.partitions)
    _grant(users, rights.readable(audiences, filters, survey))
    max_files = settings.distribution.max_files_per_trigger
    science = parquet.stream(context.spark, settings.science, raw2science.schema(context), max_files)
    made = partial(
        build, survey=survey, filters=filters, partitions=partitions, audiences=audiences, counted=survey.count_topics is not None
    )
    delivery = Delivery(context, users, partitions, made, science.schema)
    context.memory[_DELIVERY] = delivery
    sink = delivery.sink(made(science)).option("checkpointLocation", str(settings.checkpoint(NAME)))
    return sink.queryName(NAME).trigger(**trigger(context.options, settings.distribution.trigger_seconds)).start()


def _grant(connection: Connection, topics: Mapping[str, Sequence[str]]) -> None:
    """Users may read topics that are new; where there are no users or others look after them, that is no reason to stop."""
    try:
        Users(kafka.admin(connection), connection).grant(topics)
    except (ConfigError, ServerUnavailable) as error:
        log.info("users' rights stay as they are: %s", error)


def review(context: Context, _query: StreamingQuery) -> bool:
    """Now and then: the topics that are held are tried again; the plan stays as it is."""
    context.memory[_DELIVERY].catch_up()
    return False


def settle(context: Context, _query: StreamingQuery) -> None:
    """At the end of a run that works off all there is: also what topics have missed, if they take it."""
    while context.options.once and context.memory[_DELIVERY].catch_up():
        pass
