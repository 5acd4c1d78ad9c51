"""Rows of the HBase tables out of science alerts."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import astropy.units as u
import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import Latitude, Longitude
from cdshealpix import nested, ring
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from datasim import TEMPLATES
from fink_broker import surveys
from fink_broker.surveys import FinkColumn, Table, healpix
from fink_broker.transforms.rows import puts, rows

ZTF = surveys.get("ztf")
MAIN, PIXEL = ZTF.tables[:2]
PROCESSED = datetime(2026, 3, 22, 4, 42, 6, 87623, tzinfo=UTC)


@pytest.fixture(scope="module")
def science(spark: SparkSession) -> DataFrame:
    """Real alerts with the columns that every science alert has."""
    return spark.read.parquet(str(TEMPLATES)).withColumns(
        {
            "publisher": F.lit("Fink"),
            "fink_broker_version": F.lit("5.0.0"),
            "fink_science_version": F.lit("no-science"),
            "brokerEndProcessTimestamp": F.lit(PROCESSED),
        }
    )


def kinds(alerts: DataFrame) -> dict[str, str]:
    """The types that the schema row of the main table names."""
    _, [layout] = puts(alerts, ZTF, [MAIN])
    return layout.kinds


def test_the_main_table_holds_the_alert_and_every_fink_column(science):
    columns = rows(science, MAIN, ZTF).columns
    alert = {f"i:{name}" for name in science.select("candidate.*").columns if name != "candid"}
    root = {f"i:{name}" for name in ("objectId", "candid", "publisher", "schemavsn", "fink_broker_version", "fink_science_version")}
    assert len(alert) == 102
    assert sorted(columns) == sorted({"rowkey", *alert, *root, *(f"d:{name}" for name in ZTF.fink_columns)})


def test_values_are_those_of_the_alert(science):
    alert = science.orderBy("candid").first()
    row = rows(science, MAIN, ZTF).where(F.col("`i:candid`") == alert["candid"]).first()
    assert row["rowkey"] == f"{alert['objectId']}_{alert['candidate']['jd']!r}"
    for name, value in alert["candidate"].asDict().items():
        assert row[f"i:{name}"] == value or (isinstance(value, float) and math.isnan(value) and math.isnan(row[f"i:{name}"])), name
    assert (row["i:objectId"], row["i:publisher"], row["i:schemavsn"]) == (alert["objectId"], "Fink", alert["schemavsn"])


def test_fink_columns_have_their_default_and_type_where_their_module_is_off(science):
    row, types = rows(science, MAIN, ZTF).first(), kinds(science)
    names = {"int": "integer", "float": "float", "double": "double", "string": "string", "boolean": "boolean"}
    for name, column in ZTF.fink_columns.items():
        assert row[f"d:{name}"] == column.default, name
        assert types[f"d:{name}"] == names[column.type], name


def test_defaults_are_those_that_readers_of_fink_know():
    texts = {"": ("tns", "tracklet"), "[]": ("lc_features_g", "lc_features_r")}
    texts["None"] = tuple(f"mangrove_{name}" for name in ("HyperLEDA_name", "2MASS_name", "lum_dist", "ang_dist"))
    texts["Unknown"] = ("DR3Name", "cdsxmatch", "gcvs", "vsx", "x3hsp", "x4lac", "spicy_class", "gaiaClass")
    expected = {name: text for text, names in texts.items() for name in names}
    expected |= {"spicy_id": -1, "slsn_score": -1.0, "from_upper": False, "is_transient": False}
    zeros = {name: column.default for name, column in ZTF.fink_columns.items() if name not in expected}
    assert len(zeros) == 23
    assert set(zeros.values()) == {0}
    assert {name: ZTF.fink_columns[name].default for name in expected} == expected


def test_kinds_are_those_that_readers_know(science):
    types = kinds(science)
    assert set(types.values()) == {"integer", "long", "float", "double", "string", "boolean"}
    assert (types["i:jd"], types["i:candid"], types["i:fid"], types["i:magpsf"]) == ("double", "long", "integer", "float")


def test_a_module_s_value_is_cast_and_its_null_stays_null(science):
    values = "case when candid % 2 = 0 then cast(7 as bigint) end"
    done = rows(science.withColumn("nalerthist", F.expr(values)), MAIN, ZTF)
    assert dict(done.dtypes)["d:nalerthist"] == "int"
    seen = {row["i:candid"] % 2: row["d:nalerthist"] for row in done.select("`i:candid`", "`d:nalerthist`").collect()}
    assert seen == {0: 7, 1: None}


def test_nested_values_are_joined_by_an_underscore_or_become_text(science):
    nested = science.withColumns(
        {
            "mangrove": F.expr("map('HyperLEDA_name', 'NGC 1', '2MASS_name', 'J1')"),
            "blazar_stats": F.expr("named_struct('instantness_low', 0.5D, 'robustness_low', 1D, 'instantness_high', 2D, "
                                   "'robustness_high', 3D, 'cdf_quantile', 4D)"),
            "lc_features_g": F.expr("named_struct('mean', 14.5D, 'skew', double('nan'))"),
        }
    )  # fmt: skip
    row = rows(nested, MAIN, ZTF).first()
    assert (row["d:mangrove_HyperLEDA_name"], row["d:mangrove_2MASS_name"], row["d:mangrove_lum_dist"]) == ("NGC 1", "J1", None)
    assert (row["d:blazar_stats_instantness_low"], row["d:blazar_stats_cdf_quantile"]) == (0.5, 4.0)
    assert (row["d:lc_features_g"], row["d:lc_features_r"]) == ("[14.5, NaN]", "[]")


def test_keys_tell_the_smallest_difference_in_time(spark, science):
    jd = 2458850.0781134
    times = [jd, math.nextafter(jd, math.inf), 2458850.5, 2460000.0]
    one = science.limit(1).crossJoin(spark.createDataFrame([(time,) for time in times], "time double"))
    alerts = one.withColumn("candidate", F.col("candidate").withField("jd", F.col("time")))
    keys = [row["rowkey"].split("_")[1] for row in rows(alerts, MAIN, ZTF).orderBy("`i:jd`").collect()]
    assert keys == ["2458850.0781134", repr(times[1]), "2458850.5", "2460000.0"]


def test_the_pixel_table_has_what_a_crossmatch_needs(science):
    table = rows(science, PIXEL, ZTF)
    alert = science.orderBy("candid").first()
    row = table.where(F.col("`i:candid`") == alert["candid"]).first().asDict()
    now = alert["candidate"]
    longitude, latitude = Longitude([now["ra"]], u.deg), Latitude([now["dec"]], u.deg)
    pixel = int(ring.lonlat_to_healpix(longitude, latitude, np.uint32(128))[0])
    fields = {f"i:{name}": now[name] for name in ("magpsf", "sigmapsf", "jd", "jdstarthist", "drb", "ra", "dec", "fid", "distnr")}
    fields |= {
        "i:objectId": alert["objectId"],
        "i:candid": alert["candid"],
        "d:cdsxmatch": "Unknown",
        "d:nalerthist": 0,
        "d:classification": "Unknown",
    }
    assert row == {"rowkey": f"{pixel}_{now['jdstarthist']}_{alert['objectId']}", **fields}


@pytest.mark.parametrize("nside", [128, 1024])
def test_healpix_pixels_are_those_of_cdshealpix(spark, nside):
    random = np.random.default_rng(1)
    ra, dec = random.uniform(0, 360, 20_000), np.degrees(np.arcsin(random.uniform(-1, 1, 20_000)))
    ra, dec = np.append(ra, [0.0, 0.0, 123.4, 359.9999999]), np.append(dec, [90.0, -90.0, 89.9999, 0.1])
    positions = spark.createDataFrame(pd.DataFrame({"ra": ra, "dec": dec}))
    place = Longitude(ra, u.deg), Latitude(dec, u.deg)
    pixels = positions.selectExpr(
        *[f"{scheme(nside, 'ra', 'dec')} as {scheme.__name__}" for scheme in (healpix.ring, healpix.nested)]
    ).toPandas()
    assert pixels["ring"].tolist() == ring.lonlat_to_healpix(*place, np.uint32(nside)).tolist()
    assert pixels["nested"].tolist() == nested.lonlat_to_healpix(*place, int(np.log2(nside))).tolist()


def test_a_table_holds_the_rows_of_its_condition(science):
    table = Table("ztf.test", ("objectId",), {"i:objectId": "objectId", "d:roid": "fink.roid"}, where="fink.roid = 3")
    alerts = science.withColumn("roid", F.expr("case when candid % 2 = 0 then 3 else 0 end"))
    even = alerts.where("roid = 3").count()
    assert 0 < even < alerts.count()
    assert [row["d:roid"] for row in rows(alerts, table, ZTF).collect()] == [3] * even
    together, [layout] = puts(alerts, ZTF, [table])
    assert together.where(F.col(layout.key).isNotNull()).count() == even
    assert together.count() == alerts.count()


def test_puts_carry_every_table_s_rows_and_text_where_hbase_has_text(science):
    survey = replace(ZTF, fink_columns={**ZTF.fink_columns, "own": FinkColumn("array<int>"), "when": FinkColumn("timestamp")})
    alerts = science.withColumns({"own": F.array(F.lit(1), F.lit(2)), "when": F.lit(PROCESSED), "is_transient": F.lit(True)})
    alert = alerts.orderBy("candid").first()
    prepared, [main, pixel] = puts(alerts, survey, [MAIN, PIXEL])
    put = prepared.where(F.col("id") == alert["candid"]).first()
    assert put["processed"] == 1774154526087
    assert put["versions"] == "5.0.0_no-science"
    assert put["time"] == alert["candidate"]["jd"]
    cells = {name.decode(): put[column] for name, column in main.cells}
    assert (cells["d:own"], cells["d:when"]) == ("[1, 2]", "2026-03-22 04:42:06.087623")
    assert (cells["d:is_transient"], cells["d:from_upper"]) == ("true", "false")
    assert cells["i:jd"] == alert["candidate"]["jd"]
    assert put[pixel.key].endswith(f"_{alert['objectId']}")
    assert dict(pixel.cells)[b"i:jd"] == dict(main.cells)[b"i:jd"], "a value goes to Python once, however many tables have it"


def test_a_table_of_entries_has_a_row_for_each_that_meets_its_condition(science):
    [upper] = [table for table in ZTF.tables if table.name == "ztf.upper"]
    [bad] = [table for table in ZTF.tables if table.name == "ztf.uppervalid"]
    expected: dict[str, set] = {"ztf.upper": set(), "ztf.uppervalid": set()}
    for alert in science.select("objectId", "prv_candidates").collect():
        for entry in alert["prv_candidates"] or []:
            good = entry["magpsf"] is not None and (entry["rb"] or 0) >= 0.55 and entry["nbad"] == 0 and entry["fid"] != 3
            if not good:
                name = "ztf.upper" if entry["magpsf"] is None else "ztf.uppervalid"
                expected[name].add((f"{alert['objectId']}_{entry['jd']!r}", entry["fid"], entry["diffmaglim"]))
    assert all(expected.values())
    for table in (upper, bad):
        found = rows(science, table, ZTF).select("rowkey", "`i:fid`", "`i:diffmaglim`").collect()
        assert {tuple(row) for row in found} == expected[table.name]
        prepared, [layout] = puts(science, ZTF, [table])
        put = prepared.select(F.explode(layout.key).alias("row")).select("row.rowkey", "row.`i:fid`", "row.`i:diffmaglim`").collect()
        assert sorted(map(tuple, put)) == sorted(map(tuple, found))


def test_the_version_of_a_last_alert_grows_with_its_time_and_then_with_its_processing(science):
    one = science.limit(1)
    jd = one.first()["candidate"]["jd"]

    def version(days: float, processed: datetime) -> int:
        changed = one.withColumns(
            {"candidate": F.col("candidate").withField("jd", F.lit(jd + days)), "brokerEndProcessTimestamp": F.lit(processed)}
        )
        prepared, _ = puts(changed, ZTF, [PIXEL])
        return prepared.first()["last"]

    exposed = (jd - 2440587.5) * 86400e3
    day = timedelta(days=1)
    same = [version(0, datetime.fromtimestamp(exposed / 1000, UTC) + delay) for delay in (day / 1000, day, day + day / 100, 300 * day)]
    assert same == sorted(set(same))
    assert exposed - 30_000 < same[0] and same[-1] < exposed + 30_000  # noqa: PT018 - a range
    assert version(31 / 86400, PROCESSED) > same[-1], "a later alert, however it was processed"


def test_regions_divide_where_keys_are_as_frequent():
    [table] = [table for table in ZTF.tables if table.name == "ztf.pixel128"]
    keys = sorted(str(pixel) for pixel in range(12 * 128 * 128))
    splits = table.splits(10)
    assert splits == sorted(splits)
    assert len(splits) == 9
    held = np.diff([0, *(np.searchsorted(keys, split) for split in splits), len(keys)])
    assert held.min() > 0.9 * len(keys) / 10
    assert held.max() < 1.1 * len(keys) / 10
    assert MAIN.splits(1) == []
    assert MAIN.splits(2) == ["ZTF22aaa"]
