"""Questions to the Parquet files, over a HOME with a merged night, late files of it, and a night that is not merged."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from fink_broker import query
from fink_broker.config import Settings
from fink_broker.errors import FinkError, UsageError
from fink_broker.query.archive import archived, asked, science
from tests.query.files import JD, alerts, committed, merged


@pytest.fixture
def home(tmp_path) -> Settings:
    settings = Settings(home=tmp_path / "it's a home")
    first = committed(settings, 0, "20260322", alerts(0, 500))
    merged(settings, "20260322", alerts(0, 500, timestamp="merged"), [first])
    merged(settings, "20260322", alerts(0, 700), [], "raw")
    committed(settings, 1, "20260322", alerts(500, 510, night="20260322"))
    committed(settings, 2, "20260323", alerts(1_000, 1_100, night="20260323"))
    (settings.science / "night=20260323" / "left over.parquet").write_bytes(b"after a crash")
    return settings


def test_sql_sees_the_nights_that_are_merged(home):
    assert query.sql(home, "select count(*) as n, min(year) as year, max(day) as day from science").to_pylist() == [
        {"n": 500, "year": 2026, "day": 22}
    ]
    assert query.sql(home, "select count(*) as n from raw", "20260322", "20260322")["n"].to_pylist() == [700]
    found = query.sql(home, "with b as (select candid, candidate.jd from science) select * from b order by 1 desc limit 1")
    assert found.to_pylist() == [{"candid": 499, "jd": JD + 499 * 0.001}]
    with pytest.raises(UsageError, match=r"the archive has no such nights: fink merge puts them there"):
        query.sql(home, "select 1", "20260101", "20260131")


def test_filters_reach_the_row_groups_also_those_on_fields_of_records(home):
    for condition, read in (("candidate.ra between 2.1 and 2.2", 1), ("candid in (5, 305)", 2), ("candidate.magpsf > 0", 5)):
        plan = "\n".join(query.sql(home, f"select objectId from science where {condition}", explain=True)["plan"].to_pylist())
        assert f"Row Groups Scanned: {read} / 5" in plan


@pytest.mark.parametrize(
    "text",
    [
        "copy (select 1) to '{file}' (use_tmp_file false)",
        "explain analyze copy (select 1) to '{file}' (use_tmp_file false)",
        "select 1; drop view science",
        "create table t as select 1",
        "set enable_external_access = true",
        "select * from read_text('/etc/passwd')",
        "select * from '/etc/passwd'",
        "select * from glob('/etc/*')",
        "attach '/tmp/other.db'",
        "select * from rows",
        "select nothing from science",
        "selct 1",
        "",
    ],
)
def test_who_asks_can_only_read_and_only_the_alerts(home, text):
    [file] = archived(home, "science")
    before = file.read_bytes()
    with pytest.raises(UsageError) as error:
        query.sql(home, text.replace("{file}", str(file).replace("'", "''")))
    assert "\n" not in str(error.value)
    assert file.read_bytes() == before


def test_the_alerts_of_nights_are_those_of_the_archive_and_of_files_that_it_does_not_have(home):
    assert [path.name for path in science(home, "20260322", "20260322")] == ["part.parquet", "batch1.parquet"]
    found = query.alerts(home, "20260322", "20260323", ["i:candid", "jd", "magpsf", "roid"])
    assert found.column_names == ["i:candid", "i:jd", "i:magpsf", "d:roid"]
    wanted = [*range(510), *range(1_000, 1_100)]
    assert found["i:candid"].to_pylist() == wanted, "each once, by time"
    assert found["i:jd"].to_pylist() == [JD + n * 0.001 for n in wanted]
    assert found["d:roid"].to_pylist() == [n % 4 for n in wanted]
    assert query.alerts(home, "20260322", "20260322", ["candid"], where="candidate.fid = 1 or true) or (candid < 0", limit=3).num_rows == 3
    assert query.alerts(home, "20200101", "20200102").num_rows == 0


def test_a_window_and_a_condition(home):
    found = query.alerts(home, "20260322", "20260322", since=JD + 0.1005, until=JD + 0.12, where="candidate.fid = 1")
    assert found["i:candid"].to_pylist() == list(range(102, 121, 2))
    assert {"i:objectId", "i:candid", "i:jd", "i:ra", "d:roid"} <= set(found.column_names), "those that the alerts have"
    with pytest.raises(UsageError, match="the alerts have no column 'magpfs'; they have i:"):
        query.alerts(home, "20260322", "20260322", ["magpfs"])
    with pytest.raises(UsageError, match="syntax error"):
        query.alerts(home, "20260322", "20260322", where="candid <")


def test_files_that_a_merge_takes_away_are_asked_for_again(home):
    asked_for = []

    def files():
        asked_for.append(1)
        [file] = archived(home, "science")
        return {"science": [file if len(asked_for) > 2 else file.with_name(f"gone{len(asked_for)}.parquet")]}

    def count(connection):
        return connection.sql("select count(*) as n from science").to_arrow_table()

    assert asked(files, count)["n"].to_pylist() == [500]
    assert len(asked_for) == 3
    with pytest.raises(FinkError):
        asked(lambda: {"science": [home.root / "gone.parquet"]}, count)


def test_a_crossmatch_is_what_all_pairs_give(home, tmp_path):
    rng = np.random.default_rng(3)
    rows = alerts(0, 500)
    near = rng.choice(500, 40, replace=False)
    ra = np.array([rows["candidate"][int(n)]["ra"].as_py() for n in near]) + rng.normal(0, 2 / 3600, 40)
    dec = np.array([rows["candidate"][int(n)]["dec"].as_py() for n in near]) + rng.normal(0, 2 / 3600, 40)
    pyarrow.csv.write_csv(pa.table({"name": [f"mine {n}" for n in near], "RAJ2000": ra, "DEJ2000": dec}), tmp_path / "mine.csv")
    found = query.crossmatch(home, tmp_path / "mine.csv", 3.0, ["candid"])
    from astropy import units
    from astropy.coordinates import SkyCoord

    there = [rows["candidate"][n].as_py() for n in range(500)]
    mine = SkyCoord(ra, dec, unit="deg")
    index, separation, _ = SkyCoord([one["ra"] for one in there], [one["dec"] for one in there], unit="deg").match_to_catalog_sky(mine)
    hits = [n for n in range(500) if separation[n] <= 3 * units.arcsec]
    assert 5 < len(hits) < 40
    assert found["i:candid"].to_pylist() == hits
    assert found["name"].to_pylist() == [f"mine {near[index[n]]}" for n in hits]
    assert found["separation_arcsec"].to_numpy() == pytest.approx(separation[hits].arcsec, abs=1e-6)
    assert query.crossmatch(home, tmp_path / "mine.csv", 3.0, first="20200101", last="20200101").num_rows == 0


def test_cutouts_are_read_from_the_row_group_that_has_them(home):
    [file] = archived(home, "science")
    tables = type("Tables", (), {"survey": query.tables.get("ztf")})
    one = rows_of(321)
    condition = query.cutouts.condition(tables, query.cutouts.Alert(321, (), (one["ra"], one["dec"])))
    assert query.cutouts.read(lambda: [file], "cutoutTemplate", condition) == b"cutoutTemplate 321"
    import pyarrow.dataset as ds

    [fragment] = ds.dataset(str(file)).get_fragments()
    assert fragment.subset(condition).num_row_groups == 1
    assert pq.ParquetFile(file).num_row_groups == 5
    other = query.cutouts.condition(tables, query.cutouts.Alert(9_999, ()))
    assert fragment.subset(other).num_row_groups == 0
    assert query.cutouts.read(lambda: [file], "cutoutTemplate", other) is None
    assert query.cutouts.read(list, "cutoutTemplate", other) is None


def rows_of(number: int) -> dict:
    return alerts(number, number + 1)["candidate"][0].as_py()


@pytest.mark.parametrize("text", ["{", "[]", '{"other": 1}'])
def test_a_damaged_note_is_told(home, text):
    folder = archived(home, "science")[0].parent
    note = (folder / "_merge.json").read_text(encoding="utf-8")
    (folder / "_merge.json").write_text(text, encoding="utf-8")
    try:
        with pytest.raises(FinkError, match=r"_merge.json is damaged: reprocess the night"):
            archived(home, "science")
    finally:
        (folder / "_merge.json").write_text(note, encoding="utf-8")
