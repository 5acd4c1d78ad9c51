"""One folder, one query, one checkpoint; and what lies there, by the sink's log."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from fink_broker.connectors import ledger, parquet, sparklog
from fink_broker.errors import ConfigError

SCHEMA = "candid long, night string, status string"


class Chain:
    """Two sinks in a row, as raw and science are; the folder's name is an awkward one."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        self.spark = spark
        self.source = folder / "in"
        self.first, self.second = folder / "a b%20é#1" / "first", folder / "second"
        self.checkpoints = folder / "checkpoints"
        self.source.mkdir()

    def add(self, number: int, *rows: tuple[int, str, str]) -> None:
        (self.source / f"{number}.csv").write_text("".join(f"{candid},{night},{status}\n" for candid, night, status in rows))

    def _sink(self, frame: DataFrame, folder: Path, partitions: list[str]) -> None:
        query = parquet.sink(frame, folder, self.checkpoints / folder.name, partitions).trigger(availableNow=True).start()
        query.awaitTermination()

    def run_first(self) -> None:
        self._sink(self.spark.readStream.schema(SCHEMA).csv(str(self.source)), self.first, ["status", "night"])

    def run_second(self, max_files: int = 100) -> None:
        schema = self.spark.createDataFrame([], SCHEMA).schema
        stream = parquet.stream(self.spark, self.first, schema, max_files, ("status", "night"))
        assert stream.columns == schema.names
        self._sink(stream.where("status = 'ok'").drop("status"), self.second, ["night"])


@pytest.fixture
def chain(spark: SparkSession, tmp_path: Path) -> Chain:
    return Chain(spark, tmp_path)


def ids(folder: Path) -> list[int]:
    return sorted(one for table in parquet.read(parquet.committed(folder), ["candid"]) for one in table["candid"].to_pylist())


def test_alerts_go_through_once_with_their_partitions(chain: Chain):
    assert parquet.committed(chain.first) == []
    # The second starts before the first has written anything.
    chain.run_second()
    chain.add(1, (1, "20260321", "ok"), (2, "20260322", "ok"), (3, "20260322", "rejected"))
    chain.run_first()
    chain.run_second(max_files=1)
    chain.add(2, (4, "20260321", "ok"))
    chain.run_first()
    # What a crash leaves in a night's folder, and what a batch appends, is not in the log: nobody reads or counts it.
    night = parquet.committed(chain.first)[0].path
    shutil.copy(night, night.with_name("part-stray.parquet"))
    night.with_name("part-half.parquet").write_bytes(b"PAR1 half a file")
    chain.spark.createDataFrame([(9, "20260321", "ok")], SCHEMA).write.mode("append").partitionBy("status", "night").parquet(
        str(chain.first)
    )
    assert sorted(row["candid"] for row in chain.spark.read.parquet(str(chain.first)).collect()) == [1, 2, 3, 4]
    chain.run_second()
    chain.run_second()
    files = parquet.committed(chain.first)
    assert {file.rows for file in files} == {1}
    assert sorted((file.batch, file.partition["status"], file.partition["night"]) for file in files) == [
        (0, "ok", "20260321"),
        (0, "ok", "20260322"),
        (0, "rejected", "20260322"),
        (1, "ok", "20260321"),
    ]
    assert ids(chain.first) == [1, 2, 3, 4]
    assert ids(chain.second) == [1, 2, 4]


def test_folder_and_checkpoint_belong_together(chain: Chain, tmp_path: Path):
    """A query with a new checkpoint would skip batches in silence; one with a new folder would never write those it has done."""
    chain.add(1, (1, "20260321", "ok"))
    chain.run_first()
    chain.add(2, (2, "20260321", "ok"))
    chain.run_first()
    checkpoint = chain.checkpoints / "first"
    checkpoint.rename(tmp_path / "lost")
    with pytest.raises(ConfigError, match=r"has 2 batches but the checkpoint .*first knows 0: put the checkpoint back"):
        chain.run_first()
    (tmp_path / "lost").rename(checkpoint)
    chain.first.rename(tmp_path / "gone")
    with pytest.raises(ConfigError, match=r"the checkpoint .*first has 2 batches but .*first only 0: put the folder back"):
        chain.run_first()
    chain.first.parent.mkdir(exist_ok=True)
    (tmp_path / "gone").rename(chain.first)
    chain.add(3, (3, "20260321", "ok"))
    chain.run_first()
    assert ids(chain.first) == [1, 2, 3]


def test_two_queries_do_not_write_one_folder(chain: Chain, tmp_path: Path):
    """Also where numbers of batches do not tell them apart."""
    chain.run_first()  # nothing there: no batch
    own = chain.checkpoints / "first"
    own.rename(tmp_path / "own")
    with pytest.raises(ConfigError, match=r"first is written by another query than that of the checkpoint .*first: put its own back"):
        chain.run_first()
    shutil.rmtree(own)
    (tmp_path / "own").rename(own)
    chain.add(1, (1, "20260321", "ok"))
    chain.run_first()
    # A checkpoint of another folder, with as many batches.
    chain.run_second()
    own.rename(tmp_path / "own")
    shutil.copytree(chain.checkpoints / "second", own)
    with pytest.raises(ConfigError, match="is written by another query"):
        chain.run_first()


def test_what_has_left_the_logs_is_not_read_again(chain: Chain):
    """Log of the sink and of its reader, cut while both are stopped, go on where they were."""
    names = [f"spark.sql.streaming.{kind}.log.compactInterval" for kind in ("fileSink", "fileSource")]
    for name in names:
        chain.spark.conf.set(name, "2")
    try:
        for number in range(1, 5):
            chain.add(number, (number, "20260321", "ok"), (10 + number, "20260322", "ok"))
            chain.run_first()
            chain.run_second()
        log, read = chain.first / parquet.LOG, chain.checkpoints / "second" / "sources" / "0"
        assert [file.name for file in log.glob("3*")] == ["3.compact"]
        gone = [file for file in parquet.committed(chain.first) if file.partition["night"] == "20260321"]
        book = ledger.Ledger(chain.first.parent, {"first/status=ok/night=20260321": max(file.closed for file in gone)})
        book.save()
        assert ids(chain.first) == [11, 12, 13, 14]  # at once
        assert sparklog.trim(log, lambda entry: book.has_left(parquet.local_path(entry["path"]), entry["modificationTime"] / 1000)) == 4
        assert sparklog.trim(read, lambda entry: book.has_left(parquet.local_path(entry["path"]), entry["timestamp"] / 1000)) == 4
        for file in gone:
            file.path.unlink()
        for number in range(5, 9):
            chain.add(number, (number, "20260321", "ok"))
            chain.run_first()
            chain.run_second()
    finally:
        for name in names:
            chain.spark.conf.unset(name)
    assert ids(chain.first) == [5, 6, 7, 8, 11, 12, 13, 14]
    assert sorted(row["candid"] for row in chain.spark.read.parquet(str(chain.first)).collect()) == ids(chain.first)
    assert ids(chain.second) == [1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14]
    assert len(list(parquet.logged(chain.first))) == len(list(sparklog.entries(read))) == 8


def test_paths_in_spark_logs_are_uris():
    assert parquet.local_path("file:///a%20b%2520%C3%A9%231/x.parquet") == Path("/a b%20é#1/x.parquet")
