"""distribution: science alerts to users, every filter in one query, one topic a filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from pyspark.accumulators import Accumulator
from pyspark.sql import DataFrame
from pyspark.sql.streaming.query import StreamingQuery

from fink_broker.config import Settings
from fink_broker.connectors import kafka, parquet
from fink_broker.filters import Filter
from fink_broker.infra.kafka import connection
from fink_broker.services import raw2science
from fink_broker.services.context import Context, trigger
from fink_broker.services.live import Live
from fink_broker.surveys import Survey
from fink_broker.transforms.filters import with_topics
from fink_broker.transforms.serialise import messages
from fink_broker.transforms.workers import Workers
from fink_broker.worker.place import forget
from fink_broker.worker.tally import Tally

NAME = "distribution"


def build(
    science: DataFrame,
    survey: Survey,
    filters: Sequence[Filter],
    partitions: Mapping[str, int],
    *,
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
    workers : Workers, optional
        Where functions run.
    tally : Accumulator, optional
        Gets what they cost.
    """
    return messages(with_topics(science, filters, survey, workers, tally), survey, partitions)


def start(context: Context) -> StreamingQuery:
    """Make the topics that are not there and start the query."""
    settings, survey = context.settings, context.survey
    place = Workers(settings.root / "tmp" / "filters", settings.science_section.worker_memory_mb)
    forget(place.folder)
    science = parquet.stream(context.spark, settings.science, raw2science.schema(context), settings.distribution.max_files_per_trigger)
    live = _live(context, science)
    users = connection(settings, settings.kafka.output)
    messages = build(science, survey, live.filters, _topics(context, live.filters), workers=place, tally=live.tally)
    sink = kafka.sink(messages, users).option("checkpointLocation", str(settings.checkpoint(NAME)))
    return sink.queryName(NAME).trigger(**trigger(context.options, settings.distribution.trigger_seconds)).start()


def review(context: Context, query: StreamingQuery) -> bool:
    """Whether there are other filters to go on with: the folder has changed, or one was switched off or on.

    Whatever is wrong with them is found before the query is touched.
    """
    live: Live = context.memory[NAME]
    live.review()
    return live.refresh(partial(_topics, context))


def settle(context: Context, query: StreamingQuery) -> None:
    """Write down what the last batches have cost."""
    if NAME in context.memory:
        context.memory[NAME].review()


def _live(context: Context, science: DataFrame) -> Live:
    """The filters in use; a restart of the query does not lose them."""
    if NAME not in context.memory:
        context.memory[NAME] = Live(context, science)
    live: Live = context.memory[NAME]
    live.alerts = science
    return live


def _topics(context: Context, filters: Sequence[Filter]) -> dict[str, int]:
    settings: Settings = context.settings
    topics = {one.topic(context.survey): settings.kafka.output.partitions for one in filters}
    return kafka.make_topics(connection(settings, settings.kafka.output), topics)
