"""Where an alert's bytes lie in a message, and which known schema they were written with: the three wire forms.

A container (Avro specification 1.12, "Object Container Files") starts with a header that is constant for one writer
schema, then come a 16-byte sync marker, the number of records, their size, the records, and the sync marker again.
Confluent's form is a zero byte, the id of a schema in a registry (4 bytes, big-endian), and the record. The third form is the bare record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Literal

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from fink_broker.connectors import avro
from fink_broker.transforms.resolved import essence

Form = Literal["container", "confluent", "schemaless"]

SYNC = avro.SYNC_LENGTH
CONFLUENT_LENGTH = 5


@dataclass(frozen=True)
class Writer:
    """A known writer schema (JSON text) and the bytes that every message written with it starts with."""

    schema: str
    prefix: bytes


@dataclass(frozen=True)
class Codec:
    """How to decode one survey's alerts.

    Parameters
    ----------
    form : {"container", "confluent", "schemaless"}
        Wire form.
    reader : str
        Reader schema, JSON: the columns of a decoded alert.
    writers : tuple of Writer
        Those that the plan decodes in the JVM.
    slow : bool
        Whether the plan also holds the slow way (fastavro in Python, containers only). Without it an alert of an unknown writer stops the
        query with `UNKNOWN_WRITER`, and the service starts it again with another plan: so known schemas never pay for the unknown.
    refused : tuple of (bytes, str)
        Prefixes whose schema cannot be had or learned, and why: their alerts are rejected.
    ask : bool
        Whether an alert of an unknown schema (Confluent's form: with an unknown id) stops the query; else it is rejected.
    max_bytes : int
        Longer messages are rejected.
    """

    form: Form
    reader: str
    writers: tuple[Writer, ...] = ()
    slow: bool = False
    refused: tuple[tuple[bytes, str], ...] = ()
    ask: bool = True
    max_bytes: int = 16_000_000

    @cached_property
    def schemas(self) -> list[str]:
        """The distinct schemas of the writers, written out: headers that differ in a comment only share a decoder."""
        return list(dict.fromkeys(essence(writer.schema) for writer in self.writers))

    @cached_property
    def schema_of(self) -> list[int]:
        """For each writer, which of the `schemas` it has."""
        return [self.schemas.index(essence(writer.schema)) for writer in self.writers]


def framed(messages: DataFrame, codec: Codec) -> DataFrame:
    """Add what a message's first and last bytes tell.

    Parameters
    ----------
    messages : DataFrame
        With `value` (binary).
    codec : Codec
        Wire form and known writers.

    Returns
    -------
    DataFrame
        With `fault` (string; why it is no alert), `schema` (int; which of the codec's schemas, null for none), `start` and `size` (int;
        of the record, from 1), `fast` (boolean; whether schema, start and size are certain), and `writer` (int; which of the codec's
        writers, null for none).
    """
    # One plain column a step, none a struct: Spark keeps a step apart where its columns are used more than once, and would
    # write a struct's expressions out at every use.
    return _FRAMED[codec.form](messages.withColumn("fault", _fault(codec)).withColumn("writer", _writer(codec)), codec)


def _container(messages: DataFrame, codec: Codec) -> DataFrame:
    return (
        messages.withColumn("head", of_writer([len(writer.prefix) for writer in codec.writers]))
        .withColumn("varint", varint_length())
        .withColumn("size", F.length("value") - F.col("head") - 2 * SYNC - 1 - F.col("varint"))
        .withColumn("fast", is_fast())
        .withColumn("start", F.col("head") + SYNC + 2 + F.col("varint"))
        .withColumn("schema", _schema(codec))
        .drop("head", "varint")
    )


def _confluent(messages: DataFrame, codec: Codec) -> DataFrame:
    return _bare(messages, codec, CONFLUENT_LENGTH)


def _schemaless(messages: DataFrame, codec: Codec) -> DataFrame:
    return _bare(messages, codec, 0)


def _bare(messages: DataFrame, codec: Codec, head: int) -> DataFrame:
    return messages.withColumns(
        {
            "start": F.lit(head + 1),
            "size": F.length("value") - head,
            "fast": F.col("fault").isNull() & F.col("writer").isNotNull(),
            "schema": _schema(codec),
        }
    )


_FRAMED = {"container": _container, "confluent": _confluent, "schemaless": _schemaless}


def _fault(codec: Codec) -> Column:
    value = F.col("value")
    fault = F.when(value.isNull() | (F.length(value) == 0), F.lit("empty message")).when(
        F.length(value) > codec.max_bytes, F.lit(f"larger than {codec.max_bytes} bytes")
    )
    if codec.form == "container":
        return fault.when(~value.startswith(F.lit(avro.MAGIC)), F.lit("not an Avro container"))
    if codec.form == "schemaless":
        return fault
    fault = fault.when(~value.startswith(F.lit(b"\0")) | (F.length(value) <= CONFLUENT_LENGTH), F.lit("not in Confluent's wire form"))
    start = F.substring("value", 1, CONFLUENT_LENGTH)
    for prefix, reason in codec.refused:
        fault = fault.when(start == F.lit(prefix), F.lit(reason))
    if not codec.ask:
        fault = fault.when(~start.isin([writer.prefix for writer in codec.writers]), F.lit("no schema has its id, as those of many before"))
    return fault


def _writer(codec: Codec) -> Column:
    """Index of the writer whose prefix the message starts with, the newest first.

    Of long ones a hash is compared, not the prefix itself: a plan that carries headers of 20 KB is printed, with them, for every batch.
    """
    which = F.lit(None).cast("int")
    for index, writer in enumerate(codec.writers):
        start, prefix = F.substring("value", 1, len(writer.prefix)), F.lit(writer.prefix)
        known = F.xxhash64(start) == F.xxhash64(prefix) if len(writer.prefix) > CONFLUENT_LENGTH else start == prefix
        which = F.when(known, F.lit(index)).otherwise(which)
    return which


def of_writer(values: Sequence[int | str | None], kind: str = "int") -> Column:
    """The value of each of the codec's writers, chosen by the column `writer`; null for none."""
    start = F.lit(None).cast(kind)
    return reduce(lambda other, pair: F.when(F.col("writer") == pair[0], F.lit(pair[1])).otherwise(other), enumerate(values), start)


def _schema(codec: Codec) -> Column:
    return of_writer(codec.schema_of)


def varint_length() -> Column:
    """Bytes that the size of the block takes, a zigzag varint, if the container holds one block.

    The message's length tells how long the size and the body are together, and so how long each is.
    """
    rest = F.length("value") - F.col("head") - 2 * SYNC - 1
    return F.when(rest <= 64, 1).when(rest <= 8_193, 2).when(rest <= 1_048_578, 3).when(rest <= 134_217_731, 4)


def is_fast() -> Column:
    """Whether the container says of itself what was supposed: one record, of that size, the same sync marker at its end."""
    head, varint, size = F.col("head"), F.col("varint"), F.col("size").cast("long")
    # As numbers: one byte for how many records there are (zigzag, so 2), then the size, seven bits a byte, the lowest first; all
    # but its last byte have the highest bit set. Shifted to the left, as if it had four bytes.
    said = F.conv(F.hex(F.substring("value", head + SYNC + 1, varint + 1)), 16, 10).cast("long")
    missing = (4 - varint) * 8
    digits = [F.expr(f"shiftleft(shiftright(2L * size, {7 * i}) & 127L, {24 - 8 * i})") for i in range(4)]
    more = F.expr(f"shiftleft(shiftright({0x80808080}L, 40 - 8 * varint), 40 - 8 * varint)")
    expected = reduce(Column.__add__, digits, F.lit(2 << 32) + more)
    sync = F.substring("value", head + 1, F.lit(SYNC)) == F.substring("value", F.lit(-SYNC), F.lit(SYNC))
    same = F.call_function("shiftleft", said, missing) == expected
    return F.col("fault").isNull() & F.coalesce(sync & same & (size > 0), F.lit(False))
