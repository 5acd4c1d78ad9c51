"""Quality cuts and repeats."""

from __future__ import annotations

import json
from pathlib import Path

from pyspark.sql import functions as F

from fink_broker.surveys import get
from fink_broker.transforms.quality import drop_repeats, passes

SURVEY = get("ztf")


def test_cuts_at_their_borders_and_at_missing_values(spark):
    rows = [
        (1, 0, 0.55, 1, True),
        (2, 0, 0.99, 2, True),
        (3, 0, 0.5499, 1, False),
        (4, 1, 0.9, 1, False),
        (5, 0, 0.9, 3, False),
        (6, None, 0.9, 1, False),
        (7, 0, None, 1, False),
        (8, 0, 0.9, None, False),
        (9, 0, float("nan"), 1, True),  # Spark orders NaN above all numbers
    ]
    alerts = spark.createDataFrame(rows, "id int, nbad int, rb float, fid int, expected boolean").select(
        "id", F.struct("nbad", "rb", "fid").alias("candidate"), "expected"
    )
    assert {(row.id, row.passes) for row in alerts.select("id", passes(SURVEY.cuts).alias("passes")).collect()} == {
        (row[0], row[4]) for row in rows
    }


def test_no_cuts_pass_everything(spark):
    assert spark.range(3).where(passes({})).count() == 3


def test_repeats_within_a_batch(spark):
    alerts = spark.createDataFrame([(1, "a"), (2, "b"), (1, "a"), (3, "c"), (2, "b")], "candid long, objectId string")
    assert sorted(drop_repeats(alerts, "candid", "2 days").collect()) == [(1, "a"), (2, "b"), (3, "c")]


def test_an_id_in_a_struct(spark):
    alerts = spark.createDataFrame([((1, 5), "a"), ((2, 5), "b"), ((1, 5), "a")], "source struct<id: long, x: int>, name string")
    found = drop_repeats(alerts, "source.id", "2 days")
    assert found.columns == ["source", "name"]
    assert sorted(found.collect()) == [((1, 5), "a"), ((2, 5), "b")]


def test_repeats_over_batches_are_dropped_and_alerts_of_any_age_are_kept(spark, tmp_path: Path):
    """The clock is the broker's: an alert of an old night that comes late is not lost."""
    source = tmp_path / "in"
    source.mkdir()

    def run(number: int, *alerts: tuple[int, float]) -> None:
        lines = [json.dumps({"candid": candid, "jd": jd}) for candid, jd in alerts]
        (source / f"{number}.json").write_text("\n".join(lines))
        stream = spark.readStream.schema("candid long, jd double").json(str(source))
        query = (
            drop_repeats(stream, "candid", "2 days")
            .writeStream.format("parquet")
            .option("path", str(tmp_path / "out"))
            .option("checkpointLocation", str(tmp_path / "checkpoint"))
            .trigger(availableNow=True)
            .start()
        )
        query.awaitTermination()

    run(1, (1, 2461122.0), (2, 2461122.1), (1, 2461122.0))
    run(2, (2, 2461122.1), (3, 2461122.2), (4, 2458000.5), (3, 2461122.2))
    found = spark.read.parquet(str(tmp_path / "out"))
    assert found.columns == ["candid", "jd"]
    assert sorted(tuple(row) for row in found.collect()) == [(1, 2461122.0), (2, 2461122.1), (3, 2461122.2), (4, 2458000.5)]
