"""Parquet folders as streams: one folder, one query, one checkpoint.

Each row says which columns it was written with (`STAMP`); the columns themselves are in ``_schemas`` in the folder. A reader of
today's columns that meets a row of others stops before it has lost any of them (`NEW_COLUMNS`), and is started again with all of them.

Only the sink's root with its log (`_spark_metadata`) is exactly once; a night's folder may hold unreadable files after a crash. So nothing
here lists a night: Spark reads the root, and the other readers take the list of files from the log.
"""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.readwriter import DataStreamWriter
from pyspark.sql.types import LongType, StructField, StructType

from fink_broker.connectors import ledger
from fink_broker.connectors.sparklog import entries, newest
from fink_broker.connectors.widening import merged
from fink_broker.errors import ConfigError
from fink_broker.files import write_whole

LOG = "_spark_metadata"
STAMP = "columns_id"
NEW_COLUMNS = "FINK-NEW-COLUMNS"
_SCHEMAS = "_schemas"
_READERS = 4  # threads: pyarrow reads footers and columns beside the interpreter's lock
_OWNER = "_owner"
_PUBLISHING = threading.Lock()  # two queries of a process may write rows of the same columns


def stream(
    spark: SparkSession,
    folder: Path,
    schema: StructType,
    max_files: int,
    partitions: Sequence[str] = ("night",),
    *,
    like: Path | None = None,
) -> DataFrame:
    """Stream of the alerts in a folder that another service writes, from the first file on.

    Parameters
    ----------
    spark : SparkSession
        Session.
    folder : Path
        Root of the other service's sink; made if it is not there yet.
    schema : StructType
        Its columns, those of its partitions among them, as long as nothing is written there yet.
    max_files : int
        Files a batch takes at most, so that a backlog comes in pieces.
    partitions : sequence of str
        Columns by which the folder is partitioned, in the order of its paths. They come last: Spark puts the partitions that it
        finds in a batch last too, but matches columns by position, and knows no partitions if there are none when the query starts.
    like : Path, optional
        The folder that knows its columns, if it is not itself.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = schemas(like or folder)
    schema = columns(like or folder) or schema
    known = [_stamp(one) for one in written or [schema]]
    last = [schema[name] for name in partitions]
    ordered = StructType([field for field in schema.fields if field.name not in partitions] + [StructField(STAMP, LongType())] + last)
    rows = spark.readStream.schema(ordered).option("maxFilesPerTrigger", max_files).parquet(str(folder))
    stop = F.raise_error(F.lit(f"{NEW_COLUMNS} in {folder}")).cast("boolean")
    return rows.where(F.when(F.col(STAMP).isin(known), F.lit(True)).otherwise(stop)).select(*schema.names)


def batch(spark: SparkSession, folder: Path, files: Sequence[Path], schema: StructType) -> DataFrame:
    """Some files of a folder, with columns that its rows are known to have."""
    return spark.read.schema(schema).option("basePath", str(folder)).parquet(*map(str, files))


def schemas(folder: Path) -> list[StructType]:
    """The columns that the folder's rows were written with, oldest first."""
    files = sorted((folder / _SCHEMAS).glob("[0-9]*.json"))
    return [StructType.fromJson(json.loads(file.read_text(encoding="utf-8"))) for file in files]


def columns(folder: Path) -> StructType | None:
    """All columns of a folder, each of the widest type it was written with; None as long as nothing was."""
    written = schemas(folder)
    return reduce(merged, written) if written else None


def publish(folder: Path, schema: StructType) -> int:
    """Note columns, before the first row is written with them; their stamp."""
    with _PUBLISHING:
        if schema not in schemas(folder):
            notes = folder / _SCHEMAS
            write_whole(notes / f"{1 + len(list(notes.glob('[0-9]*.json'))):04}.json", schema.json())
    return _stamp(schema)


def _stamp(schema: StructType) -> int:
    return int.from_bytes(hashlib.sha256(schema.json().encode()).digest()[:8], signed=True)


def sink(alerts: DataFrame, folder: Path, checkpoint: Path, partitions: Sequence[str]) -> DataStreamWriter:
    """Writer of a stream into a folder, exactly once.

    Raises
    ------
    ConfigError
        Folder and checkpoint do not belong together: a query with a new checkpoint would skip, in silence, as many
        batches as the folder's log has.
    """
    belong_together(folder, checkpoint)
    stamp = F.lit(publish(folder, alerts.schema)).alias(STAMP)
    return (
        alerts.select("*", stamp)
        .writeStream.format("parquet")
        .option("path", str(folder))
        .option("checkpointLocation", str(checkpoint))
        .partitionBy(*partitions)
        .outputMode("append")
    )


def belong_together(folder: Path, checkpoint: Path) -> None:
    """See `sink`."""
    written = newest(folder / LOG)
    planned, done = newest(checkpoint / "offsets"), newest(checkpoint / "commits")
    if written > planned:
        raise ConfigError(
            f"{folder} has {written + 1} batches but the checkpoint {checkpoint} knows {planned + 1}: "
            "put the checkpoint back, or move both away"
        )
    if done > written:
        raise ConfigError(
            f"the checkpoint {checkpoint} has {done + 1} batches but {folder} only {written + 1}: put the folder back, or move both away"
        )
    _claim(folder, checkpoint)


def _claim(folder: Path, checkpoint: Path) -> None:
    """Folder and checkpoint bear the same mark: numbers of batches do not tell two queries apart that begin on an empty folder."""
    for place in (folder, checkpoint):
        place.mkdir(parents=True, exist_ok=True)
    mark = checkpoint / _OWNER
    if not mark.exists():
        mark.write_text(uuid.uuid4().hex, encoding="utf-8")
    try:
        with (folder / _OWNER).open("x", encoding="utf-8") as file:
            file.write(mark.read_text(encoding="utf-8"))
    except FileExistsError:
        if (folder / _OWNER).read_text(encoding="utf-8") != mark.read_text(encoding="utf-8"):
            raise ConfigError(
                f"{folder} is written by another query than that of the checkpoint {checkpoint}: put its own back, or move both away"
            ) from None


@dataclass(frozen=True)
class File:
    """A committed file of a sink: in which batch it came, where it is, and when it was closed (Unix time in seconds)."""

    batch: int
    path: Path
    closed: float = 0.0

    @property
    def partition(self) -> dict[str, str]:
        """Partition values, from the names of its folders."""
        return dict(part.split("=", 1) for part in self.path.parent.parts if "=" in part)

    @cached_property
    def rows(self) -> int:
        """Number of rows, from the footer."""
        return int(pq.read_metadata(self.path).num_rows)


def committed(folder: Path) -> list[File]:
    """The files that the sink's log names and that have not left it, in the order of their batches."""
    left = ledger.load(folder.parent)
    return [file for file in logged(folder) if not left.has_left(file.path, file.closed)]


def logged(folder: Path) -> Iterator[File]:
    """All files that the sink's log names."""
    for number, entry in entries(folder / LOG):
        if entry.get("action", "add") == "add":
            yield File(number, local_path(entry["path"]), entry["modificationTime"] / 1000)


def snapshot(folder: Path) -> tuple[int, list[File]]:
    """Number of the newest batch (-1 for none), and the files that had been committed with it."""
    while True:
        batch, files = newest(folder / LOG), committed(folder)
        if newest(folder / LOG) == batch:
            return batch, files


@lru_cache(maxsize=100_000)
def local_path(uri: str) -> Path:
    """Path of a file from its URI in one of Spark's logs. Each is in many logs, and a path works out its hash once."""
    return Path(unquote(urlparse(uri).path))


def read(files: Sequence[File], columns: Sequence[str]) -> Iterator[pa.Table]:
    """Some columns of committed files (dotted names reach into structs, see `column`), one table a file."""
    with ThreadPoolExecutor(_READERS) as pool:
        yield from pool.map(lambda file: _read(file, list(columns)), files)


def _read(file: File, columns: list[str]) -> pa.Table:
    table = pq.ParquetFile(file.path).read(columns=columns, use_threads=False)
    # A footer is long: whoever has read the file need not open it again to know how many rows it has.
    vars(file)["rows"] = table.num_rows
    return table


def column(table: pa.Table, name: str) -> pa.ChunkedArray[Any]:
    """A column of a table by its dotted name.

    Raises
    ------
    KeyError
        There is none.
    """
    outer, *inner = name.split(".")
    found: pa.ChunkedArray[Any] = pc.struct_field(table[outer], inner) if inner else table[outer]
    return found
