"""distribution: science alerts to users, every filter in one query, one topic a filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import DataFrame
from pyspark.sql.streaming.query import StreamingQuery

from fink_broker.connectors import kafka, parquet
from fink_broker.filters import Filter, active
from fink_broker.infra.kafka import connection
from fink_broker.services import raw2science
from fink_broker.services.context import Context, trigger
from fink_broker.surveys import Survey
from fink_broker.transforms.filters import with_topics
from fink_broker.transforms.serialise import messages

NAME = "distribution"


def build(science: DataFrame, survey: Survey, filters: Sequence[Filter], partitions: Mapping[str, int]) -> DataFrame:
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
    """
    return messages(with_topics(science, filters, survey), survey, partitions)


def start(context: Context) -> StreamingQuery:
    """Make the topics that are not there and start the query."""
    settings, survey = context.settings, context.survey
    filters = active(settings, survey)
    users = connection(settings, settings.kafka.output)
    topics = {one.topic(survey): settings.kafka.output.partitions for one in filters}
    partitions = kafka.make_topics(users, topics)
    max_files = settings.distribution.max_files_per_trigger
    science = parquet.stream(context.spark, settings.science, raw2science.schema(context), max_files)
    sink = kafka.sink(build(science, survey, filters, partitions), users).option("checkpointLocation", str(settings.checkpoint(NAME)))
    return sink.queryName(NAME).trigger(**trigger(context.options, settings.distribution.trigger_seconds)).start()
