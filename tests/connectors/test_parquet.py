"""One folder, one query, one checkpoint; and what lies there, by the sink's log."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from fink_broker.connectors import parquet
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
    # What a crash leaves in a night's folder is not in the log and is not counted.
    shutil.copy(files[0].path, files[0].path.with_name("part-stray.parquet"))
    assert ids(chain.first) == [1, 2, 3, 4]


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


def test_paths_in_spark_logs_are_uris():
    assert parquet.local_path("file:///a%20b%2520%C3%A9%231/x.parquet") == Path("/a b%20é#1/x.parquet")
