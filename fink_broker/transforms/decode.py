"""Bytes from the telescope to columns, in the JVM; what cannot be decoded gets a reason.

Where the first bytes of a message are those of a known writer (see `framing`), its record is cut out in SQL and decoded by Spark's
`from_avro`. A container of an unknown writer, or of another form, takes the slow way, through fastavro (see `recode`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import pandas as pd
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.avro.functions import from_avro
from pyspark.sql.pandas.functions import pandas_udf
from pyspark.sql.types import ArrayType, BinaryType, BooleanType, DataType, MapType, StringType, StructField, StructType

from fink_broker.connectors import avro
from fink_broker.transforms.framing import Codec, framed, of_writer
from fink_broker.transforms.recode import recode

# What a plan raises, with topic, partition and offset of the message, when it meets a writer that it does not know.
UNKNOWN_WRITER = "FINK-UNKNOWN-WRITER"

# Columns that are added here or on the way, in lower case: no field of an alert may have such a name.
RESERVED = (
    *("value", "topic", "partition", "offset", "kafkatimestamp", "record", "reason", "status", "night"),
    *("brokeringesttimestamp", "brokeringestmjd", "lsst_schema_version"),
    *("fault", "writer", "place", "start", "size", "fast", "schema", "slow", "alert", "columns_id"),
)

_RECORD = StructType(
    [
        StructField("body", BinaryType()),
        StructField("reason", StringType()),
        StructField("new", BooleanType()),
        StructField("alone", BinaryType()),
        StructField("namespace", StringType()),
    ]
)


def decode(messages: DataFrame, codec: Codec, checks: Mapping[str, str], version: str | None = None) -> DataFrame:
    """Decode the column `value`.

    Parameters
    ----------
    messages : DataFrame
        With `value` (binary), `topic`, `partition` and `offset`; other columns are kept too.
    codec : Codec
        Known schemas and limits.
    checks : mapping
        Reason to the SQL condition over the alert's columns that a sound alert meets.
    version : str, optional
        Name of a column for the namespace of the schema that the alert was written with.

    Returns
    -------
    DataFrame
        The alert's columns, then those of `messages`, `record` (int; which of the message's records it is, from 0), `version` if it
        is asked for (string; null for an unknown writer), and `reason` (string):
        null for a sound alert; else why it is rejected, and the alert's columns are null. `value` is null for a sound alert, and the
        message as received for a rejected one (of a container that holds several records: a container of that record). A container of
        several records gives a row each.
    """
    others = [F.col(name) for name in messages.columns if name != "value"]
    found = framed(messages, codec)
    needs = F.col("fault").isNull() & ~F.col("fast")
    # The conditions say for themselves what they need: nothing here is evaluated for the others.
    found = _slowly(found, needs, codec) if codec.slow else _refused(found, needs, codec)
    others.append(F.col("record"))
    if version:
        spaces = of_writer([avro.namespace(writer.schema) for writer in codec.writers], "string")
        found = found.withColumn(version, F.coalesce("slow.namespace", spaces) if codec.slow else spaces)
        others.append(F.col(version))
    decoded = found.select("value", *others, "fault", *(["slow"] if codec.slow else []), _alert(codec).alias("alert"))
    fields = decoded.schema["alert"].dataType.fieldNames()  # type: ignore[attr-defined]
    flat = decoded.select("*", *[F.col(f"alert.{name}").alias(name) for name in fields])
    message = F.coalesce("slow.alone", "value") if codec.slow else F.col("value")
    reason = _reason(codec, checks, flat.schema, fields)
    judged = flat.select("alert", *others, reason.alias("reason"), message.alias("value"))
    sound = F.col("reason").isNull()
    kept = [F.when(sound, F.col(f"alert.{name}")).alias(name) for name in fields]
    return judged.select(*kept, *others, "reason", F.when(~sound, F.col("value")).alias("value"))


def _unknown() -> Column:
    return F.raise_error(F.concat_ws(" ", F.lit(UNKNOWN_WRITER), "topic", "partition", "offset")).cast("string")


def _refused(found: DataFrame, needs: Column, codec: Codec) -> DataFrame:
    """Stop at what would need the slow way."""
    stop = codec.ask or codec.form == "container"
    fault = F.when(needs, _unknown()).otherwise(F.col("fault")) if stop else F.col("fault")
    return found.withColumns({"record": F.lit(0), "fault": fault})


def _slowly(found: DataFrame, needs: Column, codec: Codec) -> DataFrame:
    """Send what needs it through Python; what does not is a null there: `when(needs, udf(value))` would run it for every row."""
    known, refused = [writer.schema for writer in codec.writers], dict(codec.refused)
    recoded = functools.partial(recode, reader=codec.reader, known=known, reserved=RESERVED, refused=refused, max_bytes=codec.max_bytes)

    def records(value: bytes | None) -> list[dict[str, object]] | None:
        return None if value is None else [record._asdict() for record in recoded(value)]

    def slowly(values: pd.Series) -> pd.Series:
        return pd.Series([records(value) for value in values])

    made = pandas_udf(slowly, ArrayType(_RECORD))(F.when(needs, F.col("value")))  # type: ignore[call-overload]
    # How many there were, and where the first: what comes again can be learned.
    place = F.when(needs, F.struct("topic", "partition", "offset"))
    watched = found.observe("slow", F.count_if(needs).alias("n"), F.min(place).alias("first"))
    exploded = watched.select("*", F.posexplode_outer(made).alias("place", "slow"))
    return exploded.withColumn("record", F.coalesce("place", F.lit(0))).drop("place")


def _alert(codec: Codec) -> Column:
    options = {"mode": "PERMISSIVE", "avroSchema": codec.reader}
    body = F.substring("value", F.col("start"), F.col("size"))
    # Always true, but not deterministic in the optimizer's eyes: so no rule writes the decode out a second time, as it does
    # to push a filter on a decoded column down.
    once = F.spark_partition_id() >= 0
    slow = F.col("slow.body") if codec.slow else F.lit(None).cast("binary")
    alert = F.when(once, from_avro(slow, codec.reader, {"mode": "PERMISSIVE"})) if codec.slow or not codec.schemas else F.lit(None)
    for index, schema in enumerate(codec.schemas):
        alert = F.when(once & F.col("fast") & (F.col("schema") == index), from_avro(body, schema, options)).otherwise(alert)
    return alert


def _reason(codec: Codec, checks: Mapping[str, str], schema: StructType, fields: Sequence[str]) -> Column:
    conditions = {
        "does not decode with its schema": F.greatest(*[F.col(name).isNotNull() for name in fields]),
        "text that is not UTF-8": _strings_are_utf8(schema, fields),
        **{text: F.coalesce(F.expr(condition), F.lit(False)) for text, condition in checks.items()},
    }
    # The first that is not met. One flat expression: of a chain Spark's optimizer would look at each link anew for every batch.
    first = F.array_position(F.array(*conditions.values()), F.lit(False))
    # All of it would be in the code twice if it were named twice: where all are met the place is 0, and the text none.
    failed = F.elt(first.cast("int") + 1, F.lit(None).cast("string"), *map(F.lit, conditions))
    if not codec.slow:
        return F.coalesce(F.col("fault"), failed)
    # An alert of a schema that says more: before it is taken in, the broker has to learn what.
    more = _unknown() if codec.ask else F.lit("its schema says more than the known ones, of which there are too many")
    # Its values may not fit today's columns; else it is asked for only if it is sound.
    unfit = F.when(F.col("slow.new") & F.col("slow.body").isNull(), more)
    return F.coalesce(F.col("fault"), F.col("slow.reason"), unfit, failed, F.when(F.col("slow.new"), more))


def _strings_are_utf8(schema: StructType, fields: Sequence[str]) -> Column:
    """Spark and Parquet carry any bytes as a string; pandas, pyarrow and fastavro refuse them later, in every service.

    All the text of an alert, joined by blanks, is UTF-8 if and only if each piece is: no character begins or ends in a blank.
    """
    return F.is_valid_utf8(F.concat_ws(" ", *[text for name in fields for text in _texts(F.col(name), schema[name].dataType)]))


def _texts(column: Column, kind: DataType, *, in_array: bool = False) -> list[Column]:
    """Every string in a column; below arrays, an array of strings."""
    if isinstance(kind, StringType):
        return [column]
    if isinstance(kind, ArrayType):
        return _texts(F.flatten(F.array_compact(column)) if in_array else column, kind.elementType, in_array=True)
    if isinstance(kind, MapType):
        keys, values = (F.map_keys, kind.keyType), (F.map_values, kind.valueType)
        parts = [(F.transform(F.array_compact(column), of) if in_array else of(column), ArrayType(one)) for of, one in (keys, values)]
        return [text for part, one in parts for text in _texts(part, one, in_array=in_array)]
    if isinstance(kind, StructType):
        return [text for field in kind.fields for text in _texts(column[field.name], field.dataType, in_array=in_array)]
    return []
