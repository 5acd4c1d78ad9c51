"""Science alerts to messages that an unmodified fink-client (12.3) reads.

Its contract: the message's key is the full Avro schema as JSON text, its value the record in plain Avro, without container or id;
times are strings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.avro.functions import to_avro
from pyspark.sql.types import StructType, TimestampType

from fink_broker.surveys import Survey
from fink_broker.transforms.rights import EVERYBODY, Audience

# What stays inside the broker.
INTERNAL = ("night", "science_errors", "science_cost", "topics")
_GRANTED = "granted_"


def messages(
    alerts: DataFrame,
    survey: Survey,
    partitions: Mapping[str, int],
    audiences: Sequence[Audience] = EVERYBODY,
    *,
    counted: bool = False,
    message_id: str | None = None,
) -> DataFrame:
    """One message for each alert and topic.

    Parameters
    ----------
    alerts : DataFrame
        Science alerts with `topics` (array of strings).
    survey : Survey
        Ids, histories.
    partitions : mapping
        Topic to its number of partitions. The partition is chosen by object: the key, which is constant, would put a topic into one.
    audiences : sequence of Audience
        Who gets which alert on which topic, and what of its history; the public first.
    counted : bool
        Whether there is also a message for each alert that the public may see on the topic that counts its night.

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
    schema = avro_schema(alerts.select(*public))
    granted = {f"{_GRANTED}{number}": one.granted(alerts) for number, one in enumerate(audiences)}
    alerts = alerts.withColumns(granted)
    # Serialised once for each audience that gets it, and only then.
    parts = [
        _part(F.col(name), F.when(F.size(name) > 0, to_avro(_record(alerts, public, one, survey), schema)), schema)
        for name, one in zip(granted, audiences, strict=True)
    ]
    if counted:
        parts.append(_count(alerts, survey, audiences[0]))
    id_header = F.struct(F.lit("fink-id").alias("key"), F.expr(message_id or survey.alert_id).cast("string").cast("binary").alias("value"))
    once_each = alerts.select(
        F.inline(F.array(*[part for part, _ in parts])),
        F.hash(F.expr(survey.object_id)).alias("object"),
        F.array(id_header).alias("headers"),
    )
    counts = F.create_map(*[F.lit(item) for pair in partitions.items() for item in pair]).cast("map<string,int>")
    schemas = list(dict.fromkeys(schema for _, schema in parts))
    key = F.lit(schema) if len(schemas) == 1 else F.when(F.col("counts"), F.lit(schemas[1])).otherwise(F.lit(schema))
    return once_each.select(F.explode("topics").alias("topic"), "value", "counts", "object", "headers").select(
        "topic",
        key.cast("binary").alias("key"),
        "value",
        F.when(F.col("counts"), 0).otherwise(F.pmod("object", counts[F.col("topic")])).alias("partition"),
        "headers",
    )


def _part(topics: Column, value: Column, schema: str, *, counts: bool = False) -> tuple[Column, str]:
    """What goes to some topics, and its schema."""
    return F.struct(topics.alias("topics"), value.alias("value"), F.lit(counts).alias("counts")), schema


def _record(alerts: DataFrame, public: Sequence[Column], audience: Audience, survey: Survey) -> Column:
    """The alert as an audience gets it."""
    if not audience.rule:
        return F.struct(*public)
    names = [name for name in alerts.columns if name in survey.histories]
    histories = {name: audience.history(name, alerts, survey) for name in names}
    shown = [name for name in alerts.columns if name not in INTERNAL and not name.startswith(_GRANTED)]
    return F.struct(*[histories.get(name, column) for name, column in zip(shown, public, strict=True)])


def _count(alerts: DataFrame, survey: Survey, audience: Audience) -> tuple[Column, str]:
    """The object's name for the topic of the night: readers count its messages (fink-broker's distribution for ZTF sends the same)."""
    record = F.struct(F.expr(survey.object_id).alias("objectId"))
    schema = avro_schema(alerts.select(record.alias("record")).select("record.*"))
    topics = F.when(audience.sees(alerts), F.array(F.concat(F.lit(survey.count_topics), "night")))
    return _part(topics, to_avro(record, schema), schema, counts=True)


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
