"""The backlog's query, beside stream2raw's: the offsets that were left to it (see `handover`), decoded as ever, to a folder of its own.

A batch is a file of ranges. Just these offsets are read from Kafka, and written by Spark's own file sink under the batch's number: when it
runs again, after a crash, the folder has it already or nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable

from pyspark.sql import DataFrame
from pyspark.sql.streaming.query import StreamingQuery

from fink_broker.connectors import backlog, filesink, parquet, ranges
from fink_broker.connectors.ranges import Range
from fink_broker.connectors.sparklog import newest
from fink_broker.monitoring import gaps, reach
from fink_broker.services import stream2raw, telescope
from fink_broker.services.context import Context

NAME = "backlog"

_POOL = "spark.scheduler.pool"


def wanted(context: Context) -> bool:
    """Whether something was left."""
    return bool(reach.left(context.settings, newest(context.settings.raw_backlog / parquet.LOG)))


def start(context: Context) -> StreamingQuery:
    """Start the query; it ends when it has worked off what was left."""
    settings, spark = context.settings, context.spark
    checkpoint = settings.checkpoint(NAME)
    parquet.belong_together(settings.raw_backlog, checkpoint)
    left = backlog.stream(spark, settings.backlog).writeStream.foreachBatch(_batch(context))
    # A pool of its own: the jobs of the new alerts do not queue behind these.
    spark.sparkContext.setLocalProperty(_POOL, NAME)
    try:
        return left.option("checkpointLocation", str(checkpoint)).queryName(NAME).trigger(availableNow=True).start()
    finally:
        spark.sparkContext.setLocalProperty(_POOL, None)  # type: ignore[arg-type]


def _batch(context: Context) -> Callable[[DataFrame, int], None]:
    """What is done with each file of ranges."""
    settings = context.settings

    def write(left: DataFrame, batch: int) -> None:
        places = [Range(*row) for row in left.collect()]
        connection = telescope.connection(context)

        def run(slow: bool) -> None:
            alerts = stream2raw.raw(context, ranges.batch(context.spark, connection, places), slow=slow)
            filesink.add(alerts, settings.raw_backlog, batch, stream2raw.PARTITIONS, like=settings.raw)

        stream2raw.knowingly(context, run)
        files = [file for file in parquet.committed(settings.raw_backlog) if file.batch == batch]
        gaps.note(settings, connection, f"{NAME}-{batch}", places, files)

    return write
