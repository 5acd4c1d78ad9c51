"""Bytes from the telescope to columns, in the JVM; what cannot be decoded gets a reason.

A container (Avro specification 1.12, "Object Container Files") starts with a header that is constant for one writer
schema, then come a 16-byte sync marker, the number of records, their size, the records, and the sync marker again.
ZTF sends one record in each message: where the header is a known one, the body is cut out in SQL and decoded by
Spark's `from_avro`. Anything else that may be a container takes the slow way, through fastavro.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.avro.functions import from_avro
from pyspark.sql.pandas.functions import pandas_udf
from pyspark.sql.types import ArrayType, BinaryType, DataType, StringType, StructField, StructType

from fink_broker.connectors import avro
from fink_broker.transforms.recode import recode
from fink_broker.transforms.schemas import reader_schema

SYNC = avro.SYNC_LENGTH
SLOW_NEEDED = "FINK-SLOW-DECODE"  # what a fast plan raises when an alert needs the slow way


@dataclass(frozen=True)
class Writer:
    """A known writer schema and the bytes that every container of it starts with."""

    version: str
    schema: str
    header: bytes


@dataclass(frozen=True)
class Codec:
    """How to decode one survey's containers.

    Parameters
    ----------
    writers : sequence of Writer
        The known writer schemas.
    slow : bool
        Whether the plan holds the slow way (fastavro in Python). Without it an alert of an unknown schema stops the query
        with `SLOW_NEEDED`, and the service starts it again with: so known schemas never pay for the unknown.
    max_bytes : int
        Longer messages are rejected.
    """

    writers: Sequence[Writer]
    slow: bool = False
    max_bytes: int = 16_000_000

    @cached_property
    def reader(self) -> str:
        """The reader schema, as JSON."""
        return json.dumps(reader_schema([json.loads(writer.schema) for writer in self.writers]))


def writers_of(schemas: Mapping[str, str]) -> list[Writer]:
    """Writers from schema texts by version."""
    return [Writer(version, text, avro.header(text)) for version, text in schemas.items()]


def decode(messages: DataFrame, codec: Codec, checks: Mapping[str, str]) -> DataFrame:
    """Decode the column `value`.

    Parameters
    ----------
    messages : DataFrame
        With `value` (binary); its other columns are kept.
    codec : Codec
        Known schemas and limits.
    checks : mapping
        Reason to the SQL condition over the alert's columns that a sound alert meets.

    Returns
    -------
    DataFrame
        The alert's columns, then those of `messages`, and `reason` (string): null for a sound alert; else why it is rejected, and
        the alert's columns are null. `value` is null for a sound alert, and the message as received for a rejected one.
    """
    others = [F.col(name) for name in messages.columns if name != "value"]
    # One plain column a step, none a struct: Spark keeps a step apart where its columns are used more than once, and would
    # write a struct's expressions out at every use.
    framed = (
        messages.select("value", *others, _fault(codec).alias("fault"), _writer(codec).alias("writer"))
        .withColumn("head", _header_length(codec))
        .withColumn("varint", _varint_length())
        .withColumn("body", F.length("value") - F.col("head") - 2 * SYNC - 1 - F.col("varint"))
        .withColumn("fast", _is_fast())
        .withColumn("slow", _slow(codec))
    )
    decoded = framed.select("value", *others, "fault", "slow", _alert(codec).alias("alert"))
    fields = decoded.schema["alert"].dataType.fieldNames()  # type: ignore[attr-defined]
    flat = decoded.select("*", *[F.col(f"alert.{name}").alias(name) for name in fields])
    # Written out three times, computed once: the alert is copied from step to step, so that a step less is worth it.
    reason = _reason(checks, flat.schema, fields)
    checked = flat.select(
        F.when(reason.isNull(), F.col("alert")).alias("alert"),
        *others,
        reason.alias("reason"),
        F.when(reason.isNotNull(), F.col("value")).alias("value"),
    )
    return checked.select("alert.*", *others, "reason", "value")


def _fault(codec: Codec) -> Column:
    value = F.col("value")
    return (
        F.when(value.isNull() | (F.length(value) == 0), F.lit("empty message"))
        .when(F.length(value) > codec.max_bytes, F.lit(f"larger than {codec.max_bytes} bytes"))
        .when(~value.startswith(F.lit(avro.MAGIC)), F.lit("not an Avro container"))
    )


def _writer(codec: Codec) -> Column:
    """Index of the writer whose header the message starts with, newest schema first.

    A hash is compared, not the header itself: a plan that carries headers of 20 KB is printed, with them, for every batch.
    """
    which = F.lit(None).cast("int")
    for index, writer in enumerate(codec.writers):
        known = F.xxhash64(F.substring("value", 1, len(writer.header))) == F.xxhash64(F.lit(writer.header))
        which = F.when(known, F.lit(index)).otherwise(which)
    return which


def _header_length(codec: Codec) -> Column:
    length = F.lit(None).cast("int")
    for index, writer in enumerate(codec.writers):
        length = F.when(F.col("writer") == index, F.lit(len(writer.header))).otherwise(length)
    return length


def _varint_length() -> Column:
    """Bytes that the size of the block takes, a zigzag varint, if the container holds one block.

    The message's length tells how long the size and the body are together, and so how long each is.
    """
    rest = F.length("value") - F.col("head") - 2 * SYNC - 1
    return F.when(rest <= 64, 1).when(rest <= 8_193, 2).when(rest <= 1_048_578, 3).when(rest <= 134_217_731, 4)


def _is_fast() -> Column:
    """Whether the container says of itself what was supposed: one record, of that size, the same sync marker at its end."""
    head, varint, body = F.col("head"), F.col("varint"), F.col("body")
    digits = [F.shiftright(body * 2, 7 * i).bitwiseAND(0x7F) + F.when(varint > i + 1, 0x80).otherwise(0) for i in range(4)]
    said = F.hex(F.substring("value", head + SYNC + 1, varint + 1))
    expected = F.concat(F.lit("02"), *[F.when(varint > i, F.lpad(F.hex(digit), 2, "0")).otherwise("") for i, digit in enumerate(digits)])
    sync = F.substring("value", head + 1, F.lit(SYNC)) == F.substring("value", F.lit(-SYNC), F.lit(SYNC))
    return F.col("fault").isNull() & F.coalesce(sync & (said == expected) & (body > 0), F.lit(False))


_SLOW_TYPE = StructType([StructField("body", BinaryType()), StructField("reason", StringType())])


def _slow(codec: Codec) -> Column:
    needs = F.col("fault").isNull() & ~F.col("fast")
    if not codec.slow:
        return F.when(needs, F.raise_error(F.lit(SLOW_NEEDED)).cast(_SLOW_TYPE)).otherwise(F.lit(None).cast(_SLOW_TYPE))
    reader = codec.reader

    def slowly(values: pd.Series) -> pd.DataFrame:
        return pd.DataFrame([recode(value, reader) for value in values], columns=["body", "reason"])

    # Fed with nulls where it is not needed: `when(needs, udf(value))` would run it for every row.
    return pandas_udf(slowly, _SLOW_TYPE)(F.when(needs, F.col("value")))  # type: ignore[call-overload,no-any-return]


def _alert(codec: Codec) -> Column:
    options = {"mode": "PERMISSIVE", "avroSchema": codec.reader}
    body = F.substring("value", F.col("head") + SYNC + 2 + F.col("varint"), F.col("body"))
    # Always true, but not deterministic in the optimizer's eyes: so no rule writes the decode out a second time, as it does
    # to push a filter on a decoded column down.
    once = F.spark_partition_id() >= 0
    alert = F.when(once, from_avro(F.col("slow.body"), codec.reader, {"mode": "PERMISSIVE"})) if codec.slow else F.lit(None)
    for index, writer in enumerate(codec.writers):
        alert = F.when(once & F.col("fast") & (F.col("writer") == index), from_avro(body, writer.schema, options)).otherwise(alert)
    return alert


def _reason(checks: Mapping[str, str], schema: StructType, fields: Sequence[str]) -> Column:
    undecodable = F.greatest(*[F.col(name).isNotNull() for name in fields]) == F.lit(False)
    reason = F.coalesce(F.col("fault"), F.col("slow.reason"), F.when(undecodable, F.lit("does not decode with its schema")))
    reason = F.coalesce(reason, F.when(~_strings_are_utf8(schema, fields), F.lit("text that is not UTF-8")))
    for text, condition in checks.items():
        reason = F.coalesce(reason, F.when(~F.coalesce(F.expr(condition), F.lit(False)), F.lit(text)))
    return reason


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
    if isinstance(kind, StructType):
        return [text for field in kind.fields for text in _texts(column[field.name], field.dataType, in_array=in_array)]
    return []
