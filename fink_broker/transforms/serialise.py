"""Science alerts to messages that an unmodified fink-client (12.3) reads.

Its contract: the message's key is the full Avro schema as JSON text, its value the record in plain Avro, without container or id;
times are strings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.avro.functions import to_avro
from pyspark.sql.types import StructType, TimestampType

from fink_broker.surveys import Survey

# What stays inside the broker.
INTERNAL = ("night", "science_errors", "science_cost", "topics")


def messages(alerts: DataFrame, survey: Survey, partitions: Mapping[str, int], *, message_id: str | None = None) -> DataFrame:
    """One message for each alert and topic.

    Parameters
    ----------
    alerts : DataFrame
        Science alerts with `topics` (array of strings).
    survey : Survey
        Ids.
    partitions : mapping
        Topic to its number of partitions. The partition is chosen by object: the key, which is constant, would put a topic into one.

    message_id : str, optional
        Expression of the id of a message; that of its alert without.

    Returns
    -------
    DataFrame
        `topic`, `key`, `value`, `partition`, `headers` (`fink-id`: the id as text, so that a reader can drop repeats).
    """
    # Clients look for the id at the top level, where not every version of an alert has it.
    alerts = alerts.withColumn(survey.alert_id.rpartition(".")[2], F.col(survey.alert_id))
    public = [_public(alerts, name) for name in alerts.columns if name not in INTERNAL]
    record = F.struct(*public)
    selected = alerts.where(F.size("topics") > 0)
    schema = avro_schema(selected.select(*public))
    id_header = F.struct(F.lit("fink-id").alias("key"), F.expr(message_id or survey.alert_id).cast("string").cast("binary").alias("value"))
    once_each = selected.select(
        "topics",
        to_avro(record, schema).alias("value"),
        F.hash(F.expr(survey.object_id)).alias("object"),
        F.array(id_header).alias("headers"),
    )
    counts = F.create_map(*[F.lit(item) for pair in partitions.items() for item in pair]).cast("map<string,int>")
    return once_each.select(F.explode("topics").alias("topic"), "value", "object", "headers").select(
        "topic",
        F.lit(schema).cast("binary").alias("key"),
        "value",
        F.pmod("object", counts[F.col("topic")]).alias("partition"),
        "headers",
    )


def _public(alerts: DataFrame, name: str) -> Column:
    kind = alerts.schema[name].dataType
    return F.col(name).cast("string").alias(name) if isinstance(kind, TimestampType) else F.col(name)


def avro_schema(alerts: DataFrame) -> str:
    """Avro schema of the rows as compact JSON, by Spark's own conversion: what `to_avro` writes by."""
    jvm = alerts.sparkSession._jvm
    assert jvm is not None
    kind = jvm.org.apache.spark.sql.types.DataType.fromJson(StructType.json(alerts.schema))
    converted = jvm.org.apache.spark.sql.avro.SchemaConverters.toAvroType(kind, False, "alert", "fink")
    return json.dumps(json.loads(converted.toString()), separators=(",", ":"))
