"""The archive service against the real HBase."""

import math
import shutil
import struct
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import happybase
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from datasim import TEMPLATES
from fink_broker import __version__, surveys
from fink_broker.config import Settings
from fink_broker.config.sections import Distribution, HBase, Raw2science, Wait
from fink_broker.connectors import parquet
from fink_broker.connectors.archive import folder
from fink_broker.connectors.hbase import Client, Place, Row, wait_for
from fink_broker.errors import ConfigError, ServerUnavailable, UsageError
from fink_broker.infra import hbase
from fink_broker.monitoring import archived, statistics
from fink_broker.monitoring.counts import Books
from fink_broker.services import aggregation, archive, tables
from fink_broker.services.context import Context, RunOptions
from fink_broker.services.writer import OUTCOME, writer
from fink_broker.surveys import Survey
from fink_broker.transforms.rows import filled, puts, rows

pytestmark = pytest.mark.integration

ZTF = surveys.get("ztf")
# HBase takes half a second to make a table: most tests need two.
NAMES = ("ztf", "ztf.class", "ztf.tracklet")
SMALL = replace(ZTF, tables=ZTF.tables[:2])
PROCESSED = datetime(2026, 3, 22, 4, 42, 6, 87623, tzinfo=UTC)
FORMATS = {"integer": ">i", "long": ">q", "float": ">f", "double": ">d"}


@pytest.fixture
def place(hbase_server, settings, request) -> Place:
    """The server, with table names that no other test has."""
    host, port = hbase.address(settings)
    return Place(host, port, prefix=f"{request.node.name[:40].replace('[', '_').replace(']', '')}.", batch_cells=1_000, patience_s=20)


@pytest.fixture
def client(place):
    with Client(place) as opened:
        yield opened


@pytest.fixture
def context(spark, place, tmp_path) -> Context:
    """A HOME of its own, and the common server."""
    here = HBase(thrift=f"{place.host}:{place.port}", table_prefix=place.prefix, batch_cells=place.batch_cells)
    return Context(spark, Settings(home=tmp_path, hbase=here, wait=Wait(seconds=20)), SMALL, RunOptions(once=True))


def science(spark: SparkSession, processed: datetime = PROCESSED) -> DataFrame:
    return spark.read.parquet(str(TEMPLATES)).withColumns(
        {
            "publisher": F.lit("Fink"),
            "fink_broker_version": F.lit("5.0.0"),
            "fink_science_version": F.lit("5.0.0"),
            "brokerEndProcessTimestamp": F.lit(processed),
            "gcvs": F.expr("case when candid % 2 = 0 then 'RR' else 'Unknown' end"),
            "nalerthist": F.lit(3),
            "jd_first_real_det": F.lit(None).cast("double"),
            "jdstarthist_dt": F.lit(0.25),
            "night": F.lit("20260322"),
        }
    )


def sink(alerts: DataFrame, folder: Path, scratch: Path) -> None:
    """Append alerts to the science folder as raw2science does, through a file sink."""
    alerts.write.mode("append").parquet(str(scratch / "source"))
    stream = alerts.sparkSession.readStream.schema(alerts.schema).parquet(str(scratch / "source"))
    parquet.sink(stream, folder, scratch / "checkpoint", ["night"]).trigger(availableNow=True).start().awaitTermination()


def run(context: Context) -> None:
    query = archive.start(context)
    query.awaitTermination()
    assert query.exception() is None


def put(alerts: DataFrame, context: Context) -> archived.Written:
    """Write one batch, without a stream."""
    prepared, batch = archive.build(alerts, context, archive.place(context.settings))
    return batch(prepared, 0)


def value(cell: bytes, kind: str) -> object:
    """A cell as HBase's Bytes reads it."""
    if kind in FORMATS:
        return struct.unpack(FORMATS[kind], cell)[0]
    return {"true": True, "false": False}[cell.decode()] if kind == "boolean" else cell.decode()


def same(one: object, other: object) -> bool:
    return one == other or (isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other))


def assert_tables_hold(client: Client, alerts: DataFrame, survey: Survey, archived: Path) -> dict[str, int]:
    """Compare every cell of every table with what the alerts say; the rows that there are, by table."""
    found = {}
    for table in filled(survey, alerts):
        # Of those that share a row the last one has it.
        ordered = alerts.orderBy(F.expr(survey.time)) if table.last else alerts
        expected = {row["rowkey"]: row.asDict() for row in rows(ordered, table, survey, str(archived)).collect()}
        stored = dict(client.scan(table.name))
        schema = stored.pop(b"schema_5.0.0_5.0.0")
        assert {key.decode() for key in stored} == set(expected), table.name
        for key, cells in stored.items():
            want = {name: item for name, item in expected[key.decode()].items() if name != "rowkey" and item is not None}
            assert {name.decode() for name in cells} == set(want), "null is no cell"
            for name, cell in cells.items():
                got, wanted = value(cell, schema[name].decode()), want[name.decode()]
                assert same(got, wanted) or got == text(wanted), (table.name, key, name)
        found[table.name] = len(expected)
    return found


def text(value: object) -> object:
    """As Spark writes a time."""
    return f"{value:%Y-%m-%d %H:%M:%S.%f}".rstrip("0").rstrip(".") if isinstance(value, datetime) else value


def test_every_cell_reads_back_as_the_value_of_its_alert(spark, context, client, tmp_path):
    alerts = science(spark).withColumns(
        {
            "roid": F.expr("if(candid % 3 = 0, 3, 0)"),
            "candidate": F.col("candidate").withField("ssnamenr", F.col("objectId")),
            "tns": F.expr("if(candid % 5 = 0, '(TNS) SN Ia', '')"),
            "anomaly_score": F.expr("if(candid % 7 = 0, -0.1D, 0D)"),
            "tracklet": F.expr("if(candid % 5 = 1, 'TRCK_20260322_044206_00', '')"),
        }
    )
    sink(alerts, context.settings.science, tmp_path / "scratch")
    run(replace(context, survey=ZTF))
    found = assert_tables_hold(client, alerts, ZTF, context.settings.archive_folder / "science")
    assert all(found.values()), found
    assert {name: client.count(name) for name in found} == found
    written = archived.counts(context.settings)
    assert (written.alerts, written.rows, written.collisions) == (51, found, [])
    assert set(client.tables()) == {table.name for table in ZTF.tables}


def test_every_table_of_rubin_has_its_rows(spark, context, client, shared):
    rubin = surveys.get("rubin")
    alerts = spark.read.parquet(str(next((shared / "lsst_10.0_parquet").glob("*filters*")))).withColumns(
        {
            **dict.fromkeys(("fink_broker_version", "fink_science_version"), F.lit("5.0.0")),
            "lsst_schema_version": F.lit("lsst.v10_0"),
            "brokerEndProcessTimestamp": F.lit(PROCESSED),
            # The file has no forced photometry: that of two alerts tells the same of one moment.
            "prvDiaForcedSources": F.expr(
                "array(named_struct('diaForcedSourceId', 5L, 'diaObjectId', diaSource.diaObjectId, 'midpointMjdTai', 61000.5D))"
            ),
        }
    )
    filters = Distribution(filters=["bright", "solar_system"])
    settings = context.settings.model_copy(update={"survey": "rubin", "distribution": filters, "raw2science": Raw2science(modules=[])})
    rubin_context = Context(spark, settings, rubin)
    written = put(alerts.coalesce(1), rubin_context)
    defined = archive.definition(settings, rubin)
    assert {table.name for table in defined.tables} - {table.name for table in rubin.tables} == {
        "rubin.tag_bright",
        "rubin.tag_solar_system",
    }
    found = assert_tables_hold(client, alerts, defined, settings.archive_folder / "science")
    assert written.collisions == []
    assert written.rows == found
    empty = {name for name, count in found.items() if not count}
    assert empty <= {"rubin.tag_bright"}
    salts = {key[:3] == key.split(b"_")[1][-3:] for key, _ in client.scan("rubin.diaSource_static") if not key.startswith(b"schema_")}
    assert salts == {True}


def test_running_again_takes_new_files_only_and_a_replay_changes_nothing(spark, context, client, place, tmp_path):
    alerts = science(spark)
    first, second = alerts.where("candid % 2 = 0"), alerts.where("candid % 2 = 1")
    sink(first, context.settings.science, tmp_path / "scratch")
    run(context)
    assert client.count("ztf") == first.count()
    sink(second, context.settings.science, tmp_path / "scratch")
    run(context)
    assert client.count("ztf") == alerts.count()
    before = versions(client)
    # As after a crash between a batch's puts and its commit: the newest batch runs once more.
    commits = context.settings.checkpoint("archive") / "commits"
    newest = max(int(file.name) for file in commits.glob("[0-9]*"))
    for file in commits.glob(f"*{newest}*"):
        file.unlink()
    run(context)
    assert versions(client) == before
    assert archived.counts(context.settings).alerts == alerts.count()


def versions(client: Client) -> dict:
    """Every cell of the main table with its version."""
    return client._ask(lambda connection: dict(connection.table(client._full("ztf")).scan(include_timestamp=True)))


def test_cells_have_the_time_of_processing_as_their_version(spark, context, client):
    put(science(spark), context)
    stored = {key: cells for key, cells in versions(client).items() if not key.startswith(b"schema_")}
    assert {version for cells in stored.values() for _, version in cells.values()} == {int(PROCESSED.timestamp() * 1000)}


def test_a_cell_that_becomes_null_when_an_alert_is_processed_anew_is_deleted(spark, context, client):
    one = science(spark).limit(1)
    put(one, context)
    [(key, cells)] = [row for row in client.scan("ztf") if not row[0].startswith(b"schema_")]
    assert b"d:gcvs" in cells
    client.write("ztf", [Row(key, 1, {b"a:note": b"kept"})])
    later = one.withColumns(
        {
            "brokerEndProcessTimestamp": F.lit(datetime(2026, 3, 23, tzinfo=UTC)),
            "gcvs": F.lit(None).cast("string"),
            "nalerthist": F.lit(9),
        }
    )
    put(later, context)
    anew = client.row("ztf", key)
    assert set(cells) - set(anew) == {b"d:gcvs"}
    assert anew[b"d:nalerthist"] == struct.pack(">i", 9)
    assert anew[b"a:note"] == b"kept"
    put(one, context)  # the old batch once more: the newer content stays
    assert client.row("ztf", key) == anew


def test_the_last_alert_of_an_object_has_the_row_they_share(spark, context, client):
    one = science(spark).limit(1)
    several = one.crossJoin(spark.createDataFrame([(days,) for days in (2, 0, 3, 1)], "days int")).withColumns(
        {
            "candid": F.expr("candid + days"),
            "candidate": F.col("candidate")
            .withField("jd", F.expr("candidate.jd + days"))
            .withField("drb", F.expr("if(days = 3, null, 0.5)")),
        }
    )
    written = put(several.repartition(4), context)
    assert client.count("ztf") == 4
    [(_, cells)] = [row for row in client.scan("ztf.pixel128") if not row[0].startswith(b"schema_")]
    last = several.where("days = 3").first()
    assert struct.unpack(">q", cells[b"i:candid"])[0] == last["candid"]
    assert b"i:drb" not in cells
    assert (written.alerts, written.rows["ztf"], written.rows["ztf.pixel128"], written.collisions) == (4, 4, 1, [])


def test_a_night_is_written_again_with_what_its_merge_has_found(spark, context, client):
    context = replace(context, survey=replace(ZTF, tables=tuple(table for table in ZTF.tables if table.name in NAMES)))
    alerts = science(spark).limit(20)
    put(alerts, context)
    archived = alerts.drop("night").withColumn("tracklet", F.expr("if(candid % 2 = 0, 'TRCK_20260322_044206_00', '')"))
    archived.write.parquet(str(folder(context.settings, "science", "20260322")))
    written = archive.rebuild(context, "20260322", ["ztf.class", "ztf.tracklet"])
    assert set(written.rows) == {"ztf.class", "ztf.tracklet"}
    assert written.rows["ztf.tracklet"] > 0
    assert archive.rebuild(context, "20260322").alerts == 20
    # No row of the class that an alert was taken for before.
    assert_tables_hold(client, archived.withColumn("night", F.lit("20260322")), context.survey, context.settings.archive_folder / "science")
    with pytest.raises(UsageError, match="there are no science alerts of these nights; there are: 20260322 to 20260322"):
        archive.rebuild(context, "20260323")


def test_two_alerts_with_one_key_are_told_and_the_same_one_stays_whatever_comes_first(spark, context, client):
    one = science(spark).limit(1)
    twin = one.withColumns({"candid": F.expr("candid + 1"), "gcvs": F.lit(None).cast("string")})
    ids = [row["candid"] for row in (one.first(), twin.first())]
    assert put(one, context).collisions == []
    told = put(twin, context).collisions
    assert [line.rpartition(": ")[2] for line in told] == [f"{ids[0]} and {ids[1]}"]
    assert put(twin.union(one), context).collisions == told
    [(_, cells)] = [row for row in client.scan("ztf") if not row[0].startswith(b"schema_")]
    assert struct.unpack(">q", cells[b"i:candid"])[0] == ids[1]


def test_own_modules_have_a_column_too(spark, context, client, tmp_path):
    code = "from fink_broker.science import outputs\n@outputs(brightness='array<int>')\ndef brightness(magpsf):\n    return magpsf\n"
    (tmp_path / "own.py").write_text(code, encoding="utf-8")
    settings = Settings.model_validate(
        context.settings.model_dump()
        | {"science": {"modules": [{"name": "brightness", "function": str(tmp_path / "own.py")}]}, "raw2science": {"modules": []}}
    )
    put(science(spark).limit(1).withColumn("brightness", F.expr("array(1, 2)")), Context(spark, settings, SMALL))
    stored = dict(client.scan("ztf"))
    assert stored.pop(b"schema_5.0.0_5.0.0")[b"d:brightness"] == b"string"
    [cells] = stored.values()
    assert cells[b"d:brightness"] == b"[1, 2]"


def test_tables_have_a_family_for_annotations(client):
    client.create({"one": ("i", "d")})
    client.create({"one": ("i", "d")})
    assert client.tables() == ["one"]
    families = client._ask(lambda connection: connection.table(client._full("one")).families())
    assert {name.decode().rstrip(":") for name in families} == {"i", "d", "a"}


def test_no_version_lies_in_the_future(client):
    client.create({"one": ("i",)})
    now = time.time_ns() // 1_000_000
    client.write("one", [Row(b"key", now + 3_600_000, {b"i:x": b"1"})])
    [version] = client._ask(lambda connection: connection.table(client._full("one")).cells(b"key", b"i:x", include_timestamp=True))
    assert now <= version[1] <= time.time_ns() // 1_000_000


def test_a_broken_connection_is_opened_again(client):
    client.create({"one": ("i",)})
    assert client._connection is not None
    client._connection.transport.close()
    client.write("one", [Row(f"key{n}".encode(), n + 1, {b"i:x": b"1", b"i:y": b"2"}) for n in range(2_500)])
    assert client.count("one") == 2_500


def test_who_is_not_there_is_waited_for_and_then_named(settings, spark, context, hbase_server):
    with pytest.raises(ServerUnavailable, match=r"HBase at 127.0.0.1:1 did not answer within 0.5 s"):
        wait_for("127.0.0.1", 1, 0.5)
    alerts, layouts = puts(science(spark), ZTF, ZTF.tables[:1])
    with pytest.raises(Exception, match="ServerUnavailable") as error:
        alerts.mapInArrow(writer(Place("127.0.0.1", 1, patience_s=0.4), layouts), OUTCOME).collect()
    with pytest.raises(ServerUnavailable, match=r"within 20 s: is it running\?"):
        archive.recover(context, error.value)
    assert archive.recover(context, ValueError("something else")) is None


def test_new_tables_are_divided_where_their_keys_divide_evenly(client, context, settings):
    divided = context.settings.hbase.model_copy(update={"regions": 3})
    here = context.settings.model_copy(update={"hbase": divided})
    with pytest.raises(ConfigError, match=r"set \[hbase\] site to the folder of the cluster's hbase-site.xml"):
        tables.make(here, SMALL.tables, client)
    here = context.settings.model_copy(update={"hbase": divided.model_copy(update={"site": hbase.folder(settings) / "conf"})})
    assert tables.make(here, SMALL.tables, client) == ["ztf", "ztf.pixel128"]
    assert tables.make(here, SMALL.tables, client) == []
    for table in SMALL.tables:

        def made(connection: happybase.Connection, name: str = table.name) -> tuple[list, dict]:
            there = connection.table(client._full(name))
            return there.regions(), there.families()

        regions, families = client._ask(made)
        assert [region["start_key"].decode() for region in regions] == ["", *table.splits(3)]
        assert set(families) == {b"i", b"d", b"a"}
        assert {(family["compression"], family["bloom_filter_type"]) for family in families.values()} == {(b"GZ", b"ROW")}


def test_a_compression_that_hbase_cannot_load_is_said(client):
    with pytest.raises(ConfigError, match="this HBase cannot load the compression snappy"):
        client.create({"one": ("i",)}, "snappy")


def test_a_night_is_counted_once_in_files_and_in_the_table_of_statistics(spark, context, client, tmp_path, templates):
    settings = context.settings

    def count() -> None:
        fresh = Context(spark, settings, ZTF, RunOptions(once=True))
        query = aggregation.start(fresh)
        query.awaitTermination()
        assert query.exception() is None
        aggregation.settle(fresh, query)

    def row() -> dict[str, int]:
        [(_, cells)] = client.scan("statistics_class", b"ztf_")
        return {name.decode(): struct.unpack(">i", cell)[0] for name, cell in cells.items()}

    alerts = science(spark)
    sink(alerts.where("candid % 2 = 0"), settings.science, tmp_path / "scratch")
    count()
    before = row()
    assert before["basic:sci"] == sum(one["candid"] % 2 == 0 for one in templates)
    sink(alerts.where("candid % 2 = 1"), settings.science, tmp_path / "scratch")
    count()
    # As after a crash between a batch's counts and its commit.
    for file in (settings.checkpoint("aggregation") / "commits").glob("*1*"):
        file.unlink()
    count()
    now = [one["candidate"] for one in templates]
    expected = {
        "basic:raw": 0,
        "basic:sci": len(now),
        "basic:n_g": sum(one["fid"] == 1 for one in now),
        "basic:n_r": sum(one["fid"] == 2 for one in now),
        "basic:exposures": len({one["jd"] for one in now}),
        "basic:fields": len({one["field"] for one in now}),
        "class:simbad_tot": 0,
        "class:simbad_gal": 0,
        "class:Unknown": len(now),
    }
    assert row() == expected
    assert set(client.row("statistics_class", f"schema_{__version__}_{__version__}".encode()).values()) == {b"integer"}
    night = statistics.load(settings, "20260322")
    assert Books(settings, ZTF).of("aggregation").taken == night.alerts == len(now)
    assert night.by["filter"]["fink_bright_ztf"] == sum(one["magpsf"] < 16 for one in now)
    shutil.rmtree(settings.checkpoint("aggregation"))
    with pytest.raises(ConfigError, match="move both away"):
        count()
