"""Small nights in folders that a real file sink wrote."""

from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from fink_broker.config import Settings

NIGHT = "20260322"
JD = 2461122.0073843  # 2026-03-22 12:10:38.003540 UTC, as Fink has it

INTERNAL = ("cast(null as string) as reason", "cast(null as binary) as value", "'ztf' as topic", "0 as partition", "id as offset")


class Sink:
    """A folder and the query that appends to it."""

    def __init__(self, spark: SparkSession, folder: Path, scratch: Path, partitions: list[str]) -> None:
        self.spark, self.folder, self.scratch, self.partitions = spark, folder, scratch, partitions

    def append(self, alerts: DataFrame) -> None:
        source = self.scratch / "source"
        alerts.write.mode("append").parquet(str(source))
        stream = self.spark.readStream.schema(alerts.schema).parquet(str(source))
        query = (
            stream.writeStream.format("parquet")
            .partitionBy(*self.partitions)
            .option("checkpointLocation", str(self.scratch / "checkpoint"))
            .option("path", str(self.folder))
            .trigger(availableNow=True)
            .start()
        )
        query.awaitTermination()


def raw_alerts(spark: SparkSession, start: int, end: int, night: str = NIGHT, status: str = "ok") -> DataFrame:
    return spark.range(start, end, 1, 3).selectExpr(
        "id as candid",
        "'ZTF' || id as objectId",
        f"named_struct('jd', {JD}D + id, 'ra', 359.99D, 'dec', 10D) as candidate",
        f"'{status}' as status",
        f"'{night}' as night",
        *INTERNAL,
    )


def science_alerts(spark: SparkSession, start: int, end: int, night: str = NIGHT, extra: tuple[str, ...] = ("'RR' as gcvs",)) -> DataFrame:
    return spark.range(start, end, 1, 3).selectExpr(
        "id as candid",
        "'ZTF' || id as objectId",
        # Those of the first seconds are one exposure, in which the first six new ones are on one line and others beside it.
        f"named_struct('jd', {JD}D + id div 100, 'ra', 359.99D + id * 0.004, 'dec', 10D + id * 0.003 + if(id < 6, 0, id * id * 0.01), "
        "'ssnamenr', if(id = 8, '123', 'null'), 'ndethist', 1 + id div 8, 'isdiffpos', 't', "
        "'distnr', 5f, 'magnr', 20f, 'magpsf', 19f) as candidate",
        f"'{night}' as night",
        "cast(null as array<string>) as science_errors",
        *extra,
    )


def archived(spark: SparkSession, home: Settings, kind: str) -> DataFrame:
    return spark.read.parquet(str(home.archive_folder / kind))


def candids(alerts: DataFrame) -> list[int]:
    return sorted(row["candid"] for row in alerts.select("candid").collect())
