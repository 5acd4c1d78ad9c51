"""The query layer over the real HBase: what it answers is what the alerts' Parquet rows say, field by field."""

import gzip
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import Angle, SkyCoord
from pyspark.sql import functions as F

from datasim import TEMPLATES
from fink_broker import query, surveys
from fink_broker.commands import annotate as annotate_command
from fink_broker.commands import cutout as cutout_command
from fink_broker.commands import query as query_command
from fink_broker.config import Settings
from fink_broker.config.sections import HBase, Wait
from fink_broker.connectors import archive as parquet_archive
from fink_broker.connectors import parquet
from fink_broker.connectors.archive import Note
from fink_broker.connectors.hbase import SCHEMA_PREFIX, Row
from fink_broker.errors import UsageError
from fink_broker.infra import hbase
from fink_broker.query import names
from fink_broker.services import archive
from fink_broker.services.context import Context, RunOptions
from fink_broker.transforms.rows import rows
from tests.compare import differences

pytestmark = pytest.mark.integration

ZTF = surveys.get("ztf")
NIGHT, TRACK = "20190903", "TRCK_20190903_043000_00"


@pytest.fixture(scope="module")
def context(spark, hbase_server, settings, tmp_path_factory) -> Context:
    """A HOME of its own, and the common server."""
    host, port = hbase.address(settings)
    here = HBase(thrift=f"{host}:{port}", table_prefix="query.")
    return Context(spark, Settings(home=tmp_path_factory.mktemp("a home"), hbase=here, wait=Wait(seconds=20)), ZTF, RunOptions(once=True))


@pytest.fixture(scope="module")
def alerts(spark, context, tmp_path_factory):
    """The real alerts, and two later ones of the first: in the science folder and in the tables."""
    made = spark.read.parquet(str(TEMPLATES)).withColumns(
        {
            "publisher": F.lit("Fink"),
            "fink_broker_version": F.lit("5.0.0"),
            "fink_science_version": F.lit("5.0.0"),
            "brokerEndProcessTimestamp": F.lit(datetime(2026, 3, 22, 4, 42, 6, 87623, tzinfo=UTC)),
            "cdsxmatch": F.expr("case when candid % 2 = 0 then 'RRLyr' else 'RRLyr_1' end"),
            "roid": F.expr("if(candidate.ssnamenr = 'null', 0, 3)"),
            "tracklet": F.expr(f"if(candid % 7 = 0, '{TRACK}', '')"),
            "night": F.lit(NIGHT),
        }
    )
    first = made.orderBy("candid").limit(1)
    candidate = F.col("candidate").withField("jd", F.expr("candidate.jd + days")).withField("drb", F.lit(None).cast("float"))
    later = first.crossJoin(spark.createDataFrame([(10,), (2,)], "days int"))
    later = later.withColumns({"candid": F.expr("candid + days"), "candidate": candidate}).drop("days")
    made = made.unionByName(later).localCheckpoint()
    scratch = tmp_path_factory.mktemp("scratch")
    made.coalesce(1).write.parquet(str(scratch / "source"))
    stream = spark.readStream.schema(made.schema).parquet(str(scratch / "source"))
    sink = parquet.sink(stream, context.settings.science, scratch / "checkpoint", ["night"])
    sink.trigger(availableNow=True).start().awaitTermination()
    running = archive.start(context)
    running.awaitTermination()
    assert running.exception() is None
    return made


@pytest.fixture(scope="module")
def expected(alerts, context):
    """Rows of a table as Spark makes them out of the alerts, by column."""

    @cache
    def of(name: str) -> list[dict]:
        table = next(one for one in ZTF.tables if one.name == name)
        made = rows(alerts, table, ZTF, str(context.settings.archive_folder / "science"))
        return [row.asDict() for row in made.collect()]

    return of


@pytest.fixture
def tables(alerts, context):
    with query.Tables(context.settings) as opened:
        yield opened


@pytest.fixture
def object_id(alerts) -> str:
    """The object with three alerts."""
    return str(alerts.orderBy("candid").first()["objectId"])


@pytest.fixture
def conf(context):
    path = context.settings.root / "fink.conf"
    here = context.settings.hbase
    path.write_text(f'home = "{context.settings.root}"\n[hbase]\nthrift = "{here.thrift}"\ntable_prefix = "{here.table_prefix}"\n')
    return str(path)


def same(found, wanted: list[dict]) -> list[str]:
    """Differences between an answer and rows, without the row key; what is null has no column if no row has it."""
    plain = [{name: value for name, value in row.items() if name != "rowkey"} for row in wanted]
    return differences(plain, found.to_pylist())


def test_a_light_curve_is_all_alerts_of_the_object_with_all_columns(tables, expected, object_id):
    wanted = sorted((row for row in expected("ztf") if row["i:objectId"] == object_id), key=lambda row: row["i:jd"])
    assert len(wanted) == 3
    found = query.light_curve(tables, object_id)
    assert same(found, wanted) == []
    assert found.column_names[:3] == ["i:objectId", "i:candid", "i:jd"]
    assert found.num_columns > 140
    assert found.schema.field("i:magpsf").type == "float"
    # The columns that are asked for, in that order, also one that no row has a cell of.
    few = query.light_curve(tables, object_id, ["magpsf", "i:jd", "d:roid", "drb"])
    assert few.column_names == ["i:magpsf", "i:jd", "d:roid", "i:drb"]
    assert few.to_pylist() == [{name: row[name] for name in few.column_names} for row in wanted]
    assert query.light_curve(tables, "ZTF00aaaaaaa").num_rows == 0
    with pytest.raises(UsageError, match=r"ztf has no column 'magpfs'; there are d:"):
        query.light_curve(tables, object_id, ["magpfs"])


def test_upper_limits_and_bad_quality_beside_the_alerts(tables, expected, alerts):
    [name] = {row["i:objectId"] for row in expected("ztf.uppervalid")[:1]}
    found = query.light_curve(tables, name, ["jd", "magpsf", "diffmaglim"], limits=True).to_pylist()
    valid = {row["i:jd"]: row for row in expected("ztf") if row["i:objectId"] == name}
    limits = {row["i:jd"]: row for row in expected("ztf.upper") if row["i:objectId"] == name}
    bad = {row["i:jd"]: row for row in expected("ztf.uppervalid") if row["i:objectId"] == name and row["i:jd"] not in valid}
    assert limits
    assert bad
    tagged = {"valid": valid, "upperlim": limits, "badquality": bad}
    assert len(found) == sum(map(len, tagged.values()))
    assert [row["i:jd"] for row in found] == sorted(row["i:jd"] for row in found)
    for row in found:
        source = tagged[row["d:tag"]][row["i:jd"]]
        assert (row["i:magpsf"], row["i:diffmaglim"]) == (source.get("i:magpsf"), source["i:diffmaglim"])


def test_the_newest_of_a_class_come_first(tables, expected):
    name = max(expected("ztf.class"), key=lambda row: row["i:jd"])["d:classification"]
    wanted = {row["i:candid"]: row for row in expected("ztf.class") if row["d:classification"] == name}
    found = query.of(tables, "class", name, newest=True)
    ids, times = found["i:candid"].to_pylist(), found["i:jd"].to_pylist()
    assert sorted(ids) == sorted(wanted)
    assert times == sorted(times, reverse=True)
    assert same(found, [wanted[one] for one in ids]) == []
    assert query.of(tables, "class", name, ["candid"], newest=True, limit=2)["i:candid"].to_pylist() == ids[:2]
    [first, *middle, last] = sorted(set(times))
    assert len(middle) == 1
    for since, until in ((None, middle[0]), (first, middle[0]), (middle[0], None), (middle[0], last)):
        some = query.of(tables, "class", name, ["jd"], since=since, until=until, newest=True)["i:jd"].to_pylist()
        assert some == [one for one in times if (since or first) <= one <= (until or last)], "both ends are included"
        assert query.of(tables, "class", name, ["jd"], since=since, until=until)["i:jd"].to_pylist() == some[::-1]
    assert query.of(tables, "class", name, since=last + 1, newest=True).num_rows == 0
    assert query.of(tables, "class", name[:-1]).num_rows == 0, "the beginning of a name is another name"
    for kind in ("RRLyr", "RRLyr_1"):
        for newest in (False, True):
            same_kind = query.of(tables, "class", kind, ["classification"], newest=newest)["d:classification"].to_pylist()
            assert same_kind == [kind] * sum(row["d:classification"] == kind for row in expected("ztf.class"))


def test_bodies_of_the_solar_system_tracklets_and_statistics(tables, expected):
    for question, table, name in (("solar_system", "ztf.ssnamenr", None), ("tracklet", "ztf.tracklet", TRACK)):
        wanted = sorted(expected(table), key=lambda row: row["rowkey"])
        assert wanted
        assert same(query.of(tables, question, name or wanted[0]["i:ssnamenr"]), wanted) == []
    cells = {b"basic:raw": b"\0\0\0\5", b"class:Star": b"\0\0\0\2"}
    schema = {b"basic:raw": b"integer", b"class:Star": b"integer"}
    written = {b"ztf_20260321": cells, b"ztf_20260322": cells, b"ztf_20260401": cells, SCHEMA_PREFIX + b"1": schema}
    tables.reader.write("statistics_class", [Row(key, 1, one) for key, one in written.items()])
    for begin, number in (("", 3), ("202603", 2), ("20260322", 1)):
        assert query.of(tables, "statistics", begin).to_pylist() == [{"basic:raw": 5, "class:Star": 2}] * number
    [row] = query.of(tables, "statistics", "202604", ["raw"], keys=True).to_pylist()
    assert row == {"key:key": "ztf_20260401", "basic:raw": 5}


def test_annotations_stay_when_an_alert_is_archived_again(tables, context, alerts, object_id):
    query.annotate(tables, object_id, "classification", "SN Ia", who="A. Stronomer", source="https://example.org/1")
    first = alerts.where(f"objectId = '{object_id}'").orderBy("candidate.jd").first()
    query.annotate(tables, object_id, "comment", 'bright, "é"', who="B", alert_id=first["candid"])
    query.annotate(tables, object_id, "comment", "brighter", who="C", alert_id=first["candid"])
    before = query.annotations(tables, object_id)
    assert [[row[name] for name in ("i:candid", "kind", "value", "who", "source")] for row in before.to_pylist()] == [
        [first["candid"], "comment", "brighter", "C", ""],
        [first["candid"] + 10, "classification", "SN Ia", "A. Stronomer", "https://example.org/1"],
    ]
    assert datetime.fromisoformat(before["when"][0].as_py()).tzinfo == UTC
    anew = alerts.where(f"objectId = '{object_id}'").withColumn("brokerEndProcessTimestamp", F.lit(datetime.now(UTC)))
    main = replace(context, survey=replace(ZTF, tables=ZTF.tables[:1]))
    prepared, write = archive.build(anew.withColumn("gcvs", F.lit("new")), main, archive.place(context.settings))
    write(prepared, 1)
    assert query.light_curve(tables, object_id, ["gcvs"])["d:gcvs"].to_pylist() == ["new"] * 3
    assert query.annotations(tables, object_id).equals(before)
    shown = query.light_curve(tables, object_id, ["jd"], annotations=True)
    everything = query.light_curve(tables, object_id, annotations=True)
    assert set(everything.column_names) == {*query.light_curve(tables, object_id).column_names, *shown.column_names}
    assert [json.loads(text)["value"] for text in shown["a:classification"].drop_null().to_pylist()] == ["SN Ia"]
    assert not [name for name in query.light_curve(tables, object_id).column_names if name.startswith("a:")]
    with pytest.raises(UsageError, match="there is no object 'ZTF00aaaaaaa'"):
        query.annotate(tables, "ZTF00aaaaaaa", "comment", "x", who="y")
    with pytest.raises(UsageError, match="is no kind of annotation"):
        query.annotate(tables, object_id, "Bad Kind", "x", who="y")


def test_cutouts_of_a_night_before_and_after_it_is_merged(tables, context, alerts, object_id):
    first = alerts.where(f"objectId = '{object_id}'").orderBy("candid").first()["candid"]
    one = alerts.where(f"objectId != '{object_id}'").first()
    name, candid = one["objectId"], one["candid"]
    wanted = {kind: gzip.decompress(one[f"cutout{kind.title()}"]["stampData"]) for kind in ("science", "template", "difference")}
    for kind, image in wanted.items():
        assert query.cutout(tables, name, kind, candid) == image
    [file] = parquet.committed(context.settings.science)
    folder = parquet_archive.folder(context.settings, "science", NIGHT)
    folder.mkdir(parents=True)
    whole = pq.ParquetFile(file.path).read()
    pq.write_table(whole.filter(pc.field("candid") != first), folder / "part.parquet", row_group_size=5)
    Note([file.path.name], 52).save(folder)
    try:
        for kind, image in wanted.items():
            assert query.cutout(tables, name, kind, candid) == image
        with pytest.raises(UsageError, match="there is no cutout 'colour'; there are science, template, difference"):
            query.cutout(tables, name, "colour")
        with pytest.raises(UsageError, match=f"{name} has no alert 1"):
            query.cutout(tables, name, "science", 1)
        with pytest.raises(UsageError, match="are not among the files of its night"):
            query.cutout(tables, object_id, "science", first)
    finally:
        shutil.rmtree(folder)


def test_names_of_others(tables, tmp_path, object_id):
    listed = tmp_path / "tns_public_objects.csv"
    listed.write_text(
        '"2026-03-21 00:00:00 - 23:59:59"\n"objid","name_prefix","name","ra","declination","type","internal_names"\n'
        f'"1","SN","2019abc","1.5","-2.5","SN Ia","{object_id}, ATLAS19xyz"\n"2","AT","2019abcd","3","4","",""\n',
        encoding="utf-8",
    )
    classified = listed.read_text(encoding="utf-8")
    listed.write_text(classified.replace('"SN"', '"AT"'), encoding="utf-8")
    assert names.add_tns(tables, listed) == 3
    assert {row["d:fullname"] for row in query.resolve(tables, "SN 2019abc").to_pylist()} == {"AT 2019abc"}
    listed.write_text(classified, encoding="utf-8")
    assert names.add_tns(tables, listed) == 3
    for name in ("SN 2019abc", "sn2019abc", "2019ABC", "AT 2019abc"):
        found = query.resolve(tables, name).to_pylist()
        assert [(row["d:fullname"], row["d:internalname"], row["d:type"]) for row in found] == [
            ("SN 2019abc", "ATLAS19xyz", "SN Ia"),
            ("SN 2019abc", object_id, "SN Ia"),
        ]
    assert [row["d:fullname"] for row in query.resolve(tables, object_id).to_pylist()] == ["SN 2019abc"]
    assert query.resolve(tables, "AT 2019abcd")["d:declination"].to_pylist() == ["4"]
    assert query.resolve(tables, "it's nobody").num_rows == 0
    bodies = tmp_path / "names.csv"
    bodies.write_text("ssodnet,ssnamenr,name,number\nBennu-1,101955,Bennu,101955\n", encoding="utf-8")
    assert names.add_solar_system(tables, bodies) == 1
    assert query.resolve(tables, "bennu")["i:ssnamenr"].to_pylist() == ["101955"]
    with pytest.raises(UsageError, match="has no column name_prefix, internal_names"):
        names.add_tns(tables, bodies)


def test_a_cone_of_real_alerts(tables, expected, alerts, object_id):
    row = alerts.where(f"objectId = '{object_id}'").first()["candidate"]
    ra, dec = row["ra"], row["dec"]
    index = {one["i:objectId"]: one for one in sorted(expected("ztf.pixel128"), key=lambda one: one["i:jd"])}
    where = SkyCoord([one["i:ra"] for one in index.values()], [one["i:dec"] for one in index.values()], unit="deg")
    near = where.separation(SkyCoord(ra, dec, unit="deg")) <= Angle(0.3, "deg")
    wanted = {name for name, hit in zip(index, near, strict=True) if hit}
    assert 1 < len(wanted) < len(index)
    found = query.cone(tables, ra, dec, 0.3)
    assert set(found["i:objectId"].to_pylist()) == wanted
    assert same(found.drop_columns(["v:separation_degree"]), [index[one] for one in found["i:objectId"].to_pylist()]) == []
    assert found["i:candid"][0].as_py() == index[object_id]["i:candid"], "the last alert of the object"
    every = query.cone(tables, ra, dec, 0.3, ["objectId", "candid"], alerts=True)
    assert sorted(every["i:candid"].to_pylist()) == sorted(one["i:candid"] for one in expected("ztf") if one["i:objectId"] in wanted)
    assert query.cone(tables, (ra + 180) % 360, -dec, 0.1).num_rows == 0
    with pytest.raises(UsageError, match="a cone is ra and dec in degrees"):
        query.cone(tables, 0, 91, 1)


def test_the_schema_row_that_knows_a_column_last_says_what_it_is(tables):
    tables.reader.create({"mixed": ("i", "d")})
    written = [("x", b"integer", b"\0\0\0\1"), ("y", b"string", b"one"), ("y", b"integer", b"\0\0\0\2")]
    for version, (name, kind, cell) in enumerate(written, 1):
        tables.reader.write("mixed", [Row(SCHEMA_PREFIX + b"%d" % (9 - version), version, {f"i:{name}".encode(): kind})])
        tables.reader.write("mixed", [Row(b"key%d" % version, version, {f"i:{name}".encode(): cell})])
    assert tables.kinds("mixed") == {"i:x": "integer", "i:y": "integer"}
    # A reader that lives long meets a column that is newer than what it has read.
    tables.reader.write("mixed", [Row(SCHEMA_PREFIX + b"10", 10, {b"i:new": b"boolean"}), Row(b"key9", 10, {b"i:new": b"true"})])
    assert tables.rows("mixed", ["key9", "key1"]).to_pydict() == {"rowkey": ["key9", "key1"], "i:x": [None, 1], "i:new": [True, None]}
    tables.reader.write("mixed", [Row(b"key8", 10, {b"i:strange": b"x"})])
    with pytest.raises(UsageError, match="no schema row of mixed says what i:strange is"):
        tables.rows("mixed", ["key8"])


def test_the_command_line(tables, conf, object_id, tmp_path, capsys):
    def ask(*arguments: str) -> tuple[str, str]:
        assert query_command.main([*arguments, "-c", conf]) == 0
        out = capsys.readouterr()
        return out.out, out.err

    wanted = query.light_curve(tables, object_id, ["jd", "magpsf"])
    records = json.loads(ask("object", object_id, "--columns", "jd,magpsf", "--format", "json", "--no-family")[0])
    assert [record["jd"] for record in records] == wanted["i:jd"].to_pylist()
    ask("object", object_id, "--columns", "jd,magpsf", "-o", str(tmp_path / "curve.parquet"))
    assert pq.read_table(tmp_path / "curve.parquet").equals(wanted)
    assert ask("object", "ZTF00aaaaaaa") == ("", "fink: nothing found\n")
    assert ask("latest", "RRLyr", "-n", "2", "--columns", "candid")[0].split()[0] == "i:candid"
    assert len(ask("latest", "RRLyr", "-n", "2", "--format", "csv")[0].splitlines()) == 3
    assert ask("cone", "10", "-80", "5m") == ("", "fink: nothing found\n")
    assert len(ask("date", NIGHT, "--columns", "objectId", "--limit", "7", "--format", "csv")[0].splitlines()) == 8
    assert annotate_command.main([object_id, "--kind", "redshift", "--value", "0.1", "--who", "me", "-c", conf]) == 0
    assert "redshift" in ask("annotations", object_id)[0]
    picture = tmp_path / "cutout.png"
    assert cutout_command.main([object_id, "--candid", str(tables_first(tables, object_id)), "-o", str(picture), "-c", conf]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == f"{picture}\n"
    for none in ("sso 1", "tracklet TRCK_1", "statistics 1999", "resolve nobody", "latest x --since 2026-03-22"):
        assert ask(*none.split()) == ("", "fink: nothing found\n")
    for wrong, says in (
        ([], r"fink query object \| latest"),
        (["cone", "1", "2", "3x"], "'3x' is no angle"),
        (["date"], "which night"),
        (["latest", "x", "--since", "soon"], "'soon' is no time"),
        (["statistics", "--columns", "none"], "has no column 'none'"),
    ):
        with pytest.raises(UsageError, match=says):
            query_command.main([*wrong, *(["-c", conf] if wrong else [])])


def tables_first(tables, name: str) -> int:
    return int(query.light_curve(tables, name, ["candid"])["i:candid"][0].as_py())


def test_a_table_that_is_not_there(context):
    nowhere = context.settings.model_copy(update={"hbase": context.settings.hbase.model_copy(update={"table_prefix": "nowhere."})})
    with query.Tables(nowhere) as opened, pytest.raises(UsageError, match=r"HBase has no table 'nowhere\.ztf' yet"):
        query.light_curve(opened, "ZTF18a")


# The same tables, asked by the API: last, because what is above counts annotations.
from tests.integration.api_of_tables import *  # noqa: E402, F403
