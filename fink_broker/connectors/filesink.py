"""Spark's own file sink, for what a batch has made otherwise than by its query's plan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fink_broker.connectors import parquet


def add(alerts: DataFrame, folder: Path, batch: int, partitions: Sequence[str], like: Path) -> None:
    """Write what a query's batch has made otherwise than by its plan into a folder, exactly once: by Spark's own file sink.

    Parameters
    ----------
    alerts : DataFrame
        Not streaming.
    folder : Path
        Root of the sink.
    batch : int
        The batch; one that the folder has already is not written again.
    partitions : sequence of str
        Columns by which the folder is partitioned.
    like : Path
        The folder whose columns it shares.
    """
    stamp = F.lit(parquet.publish(like, alerts.schema)).alias(parquet.STAMP)
    session = alerts.sparkSession
    jvm: Any = session._jvm  # the sink has no other door
    execution = jvm.org.apache.spark.sql.execution
    columns, options = jvm.PythonUtils.toSeq(list(partitions)), jvm.PythonUtils.toScalaMap({})
    form = execution.datasources.parquet.ParquetFileFormat()
    sink = execution.streaming.FileStreamSink(session._jsparkSession, str(folder), form, columns, options)
    sink.addBatch(batch, alerts.select("*", stamp)._jdf)
