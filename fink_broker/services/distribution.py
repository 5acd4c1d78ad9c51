"""distribution: science alerts to users, every filter in one query, one topic a filter and audience."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial

from pyspark.accumulators import Accumulator
from pyspark.sql import DataFrame
from pyspark.sql.streaming.query import StreamingQuery

from fink_broker.connectors import kafka
from fink_broker.connectors.topics import of_new
from fink_broker.connectors.users import grant
from fink_broker.filters import Filter
from fink_broker.infra.kafka import connection
from fink_broker.services import raw2science
from fink_broker.services.context import Context, trigger
from fink_broker.services.delivery import Delivery
from fink_broker.services.live import Live
from fink_broker.surveys import Survey
from fink_broker.transforms import rights
from fink_broker.transforms.filters import with_topics
from fink_broker.transforms.rights import EVERYBODY, Audience
from fink_broker.transforms.serialise import messages
from fink_broker.transforms.workers import Workers
from fink_broker.worker.place import forget
from fink_broker.worker.tally import Tally

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
    workers: Workers | None = None,
    tally: Accumulator[Tally] | None = None,
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
    workers : Workers, optional
        Where functions run.
    tally : Accumulator, optional
        Gets what they cost.
    """
    return messages(with_topics(science, filters, survey, workers, tally), survey, partitions, audiences, counted=counted)


def start(context: Context) -> StreamingQuery:
    """Make the topics that are not there and start the query."""
    settings, survey = context.settings, context.survey
    place = Workers(settings.root / "tmp" / "filters", settings.science_section.worker_memory_mb)
    forget(place.folder)
    science = raw2science.stream(context, settings.distribution.max_files_per_trigger)
    live = _live(context, science)
    partitions, audiences = _topics(context, live.filters)
    made = partial(
        build,
        survey=survey,
        filters=live.filters,
        partitions=partitions,
        audiences=audiences,
        counted=survey.count_topics is not None,
        workers=place,
        tally=live.tally,
    )
    delivery = Delivery(context, connection(settings, settings.kafka.output), partitions, made, science.schema)
    context.memory[_DELIVERY] = delivery
    sink = delivery.sink(made(science)).option("checkpointLocation", str(settings.checkpoint(NAME)))
    return sink.queryName(NAME).trigger(**trigger(context.options, settings.distribution.trigger_seconds)).start()


def review(context: Context, query: StreamingQuery) -> bool:
    """Whether there are other filters to go on with: the folder has changed, or one was switched off or on.

    Whatever is wrong with them is found before the query is touched. Topics that are held are tried again.
    """
    context.memory[_DELIVERY].catch_up()
    live: Live = context.memory[NAME]
    live.review()
    return live.refresh(partial(_topics, context))


def settle(context: Context, query: StreamingQuery) -> None:
    """Write down what the last batches have cost; after a run that works off all there is, also send what topics have missed."""
    if NAME in context.memory:
        context.memory[NAME].review()
    while context.options.once and _DELIVERY in context.memory and context.memory[_DELIVERY].catch_up():
        pass


def _live(context: Context, science: DataFrame) -> Live:
    """The filters in use; a restart of the query does not lose them."""
    if NAME not in context.memory:
        context.memory[NAME] = Live(context, science)
    live: Live = context.memory[NAME]
    live.alerts = science
    return live


def _topics(context: Context, filters: Sequence[Filter]) -> tuple[dict[str, int], list[Audience]]:
    """Make the topics that are not there, and let those read them who may; their partitions, and who gets which."""
    settings, survey = context.settings, context.survey
    audiences = rights.audiences(settings, survey, filters)
    users, output = connection(settings, settings.kafka.output), settings.kafka.output
    names = [topic for one in audiences for topic in rights.topics(one, filters, survey)]
    partitions = kafka.make_topics(users, dict.fromkeys(names, output.partitions), of_new(output))
    for name, number in partitions.items():
        if number < output.partitions:
            log.warning("%s has %d partitions, less than [kafka.output] partitions = %d: it is left so", name, number, output.partitions)
    grant(users, rights.readable(audiences, filters, survey))
    return partitions, audiences
