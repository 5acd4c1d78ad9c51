"""Catalogues on disk: brought in from any format, mapped, and missed with an error that says what to do."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy.table import Table

from fink_broker.catalogues import published, read, store
from fink_broker.errors import ConfigError, FinkError, UsageError

ROWS = pd.DataFrame(
    {
        "RAJ2000": [10.0, 359.9999, 200.5, np.nan],
        "DEJ2000": [20.0, -5.0, 89.9, 1.0],
        "Type": ["RR  ", "M", "EA", "x"],
        "mag": [1.5, 2.5, 3.5, 4.5],
        "reach": [5.0, 1.0, 60.0, 1.0],
    }
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("some files")
    paths = {name: folder / f"stars.{name}" for name in ("parquet", "csv", "fits", "vot")}
    ROWS.to_parquet(paths["parquet"])
    ROWS.to_csv(paths["csv"], index=False)
    table = Table.from_pandas(ROWS)
    table["spectrum"] = np.zeros((4, 3))  # a column that is no column of values
    table.write(paths["fits"])
    table.write(paths["vot"], format="votable")
    return paths


def bring_in(home: Path, path: Path, name: str = "stars", **options: object) -> int:
    catalogue, without = read.catalogue(read.table(path), **options)  # type: ignore[arg-type]
    store.write(home, name, catalogue, str(path))
    return without


@pytest.mark.parametrize("form", ["parquet", "csv", "fits", "vot"])
def test_any_format_gives_the_same(files, form, tmp_path):
    assert bring_in(tmp_path, files[form]) == 1
    catalogue = store.opened("stars", tmp_path)
    rows, separation = catalogue.nearest([10.0, 0.0001, 0.0, 90.0], [20.0002, -5.0, -40, 89.95], 600)
    assert catalogue.column("Type", rows, "Unknown").tolist() == ["RR", "M", "Unknown", "EA"]
    assert catalogue.column("mag", rows, None).tolist() == [1.5, 2.5, None, 3.5]
    assert separation[0] == pytest.approx(0.72)
    assert separation[1] == pytest.approx(0.72 * np.cos(np.radians(5)))
    assert set(catalogue.payload.column_names) == {"Type", "mag", "reach"}
    assert store.note(tmp_path, "stars") == {"rows": 3, "zones": catalogue.zones, "reach": np.inf, "source": str(files[form])}


def test_the_files_are_mapped(files, tmp_path):
    bring_in(tmp_path, files["csv"])
    catalogue = store.opened("stars", tmp_path)
    for array in (catalogue.keys, catalogue.ra, catalogue.dec):
        assert isinstance(array.base, np.memmap)
    mapped = Path("/proc/self/maps").read_text() if Path("/proc/self/maps").exists() else None
    assert mapped is None or str(tmp_path / "catalogues" / "stars" / "payload.arrow") in mapped


def test_rows_may_reach_differently_far(files, tmp_path):
    bring_in(tmp_path, files["csv"], radius="reach", columns=["Type"])
    catalogue = store.opened("stars", tmp_path)
    assert catalogue.reach == 60
    assert catalogue.payload.column_names == ["Type"]
    found, _ = catalogue.nearest([10.0, 359.9999, 200.5], [20 + 4 / 3600, -5 + 4 / 3600, 89.9 + 4 / 3600])
    assert catalogue.column("Type", found, None).tolist() == ["RR", None, "EA"]


def test_positions_are_enough(tmp_path):
    found, _ = read.catalogue(pa.table({"ra": [1.0, 2.0], "dec": [3.0, 4.0]}))
    store.write(tmp_path, "mine", found, "")
    assert store.opened("mine", tmp_path).nearest([2.0], [4.0], 1.0)[0].tolist() == [1]


def test_a_new_one_takes_the_place_of_the_old_one(files, tmp_path):
    bring_in(tmp_path, files["csv"])
    old = store.opened("stars", tmp_path)
    ROWS.head(2).to_parquet(tmp_path / "two.parquet")
    bring_in(tmp_path, tmp_path / "two.parquet")
    assert len(old) == 3
    assert old.nearest([200.5], [89.9], 1)[0][0] >= 0  # who has it open goes on with it
    assert store.note(tmp_path, "stars")["rows"] == 2
    assert sorted(path.name for path in (tmp_path / "catalogues").iterdir()) == ["stars"]
    store.remove(tmp_path, "stars")
    assert "stars" not in store.names(tmp_path)
    with pytest.raises(UsageError, match="there is no catalogue 'stars'"):
        store.remove(tmp_path, "stars")


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (
            ROWS.rename(columns={"RAJ2000": "alpha"}),
            {},
            "there is no column that is called ra: say ra; there are alpha, DEJ2000",
        ),
        (ROWS, {"dec": "delta"}, "there is no column 'delta': say dec"),
        (ROWS, {"columns": ["Typ"]}, "there is no column 'Typ': say columns"),
        (ROWS.assign(RAJ2000="10 20 30"), {}, "the column 'RAJ2000' is no number: positions are in degrees"),
        (ROWS.assign(DEJ2000=[100.0, 0, 0, 0]), {}, "the column 'DEJ2000' goes from 0 to 100: positions are in degrees"),
        (ROWS.head(0), {}, "has no row with a position"),
        (ROWS.tail(1), {}, "has no row with a position"),
    ],
)
def test_what_is_no_catalogue_is_said(rows, options, message, tmp_path):
    rows.to_parquet(tmp_path / "stars.parquet")
    with pytest.raises(UsageError, match=message):
        bring_in(tmp_path, tmp_path / "stars.parquet", **options)
    assert not (tmp_path / "catalogues").exists()


def test_files_that_are_no_catalogues_and_names_that_are_no_names(files, tmp_path):
    (tmp_path / "damaged.fits").write_bytes(b"SIMPLE")
    for name, message in (("stars.txt", "a catalogue is a .parquet, .csv"), ("none.csv", "cannot read"), ("damaged.fits", "cannot read")):
        with pytest.raises(UsageError, match=message):
            read.table(tmp_path / name)
    for name in ("../stars", "Stars", "", "1stars"):
        with pytest.raises(UsageError, match="is no name for a catalogue"):
            bring_in(tmp_path, files["csv"], name)


def test_a_missing_an_empty_and_a_damaged_one_are_errors(files, tmp_path):
    with pytest.raises(ConfigError, match=r"there is no catalogue 'vsx' in .*: fink catalogue install vsx, or fink catalogue add vsx FILE"):
        store.opened("vsx", tmp_path)
    bring_in(tmp_path, files["csv"])
    note = tmp_path / "catalogues" / "stars" / "catalogue.json"
    text = note.read_text()
    note.write_text(text.replace('"rows": 3', '"rows": 0'))
    with pytest.raises(ConfigError, match="is empty"):
        store.note(tmp_path, "stars")
    note.write_text(text.replace('"rows": 3', '"rows": 4'))
    with pytest.raises(ConfigError, match=r"is damaged .*different numbers of rows"):
        store.opened("stars", tmp_path)
    note.write_text(text)
    (note.parent / "payload.arrow").write_bytes(b"ARROW")
    with pytest.raises(ConfigError, match="is damaged"):
        store.opened("stars", tmp_path)


def test_one_that_comes_with_the_broker(tmp_path):
    assert store.names(tmp_path) == ["gcvs"]
    assert store.note(tmp_path, "gcvs") == {"rows": 57_247, "source": "comes with the broker"}
    assert len(store.opened("gcvs", tmp_path)) == 57_247


THREE_HSP = """id , 3HSP Source name , R.A. , Dec , FOM
1 , "3HSPJ000116.4+293534" , "00 01 16.37" , "+29 35 34.0" , 0.05
2 , "3HSPJ000117.1-315043" , "00 01 17.08" , "-31 50 43.0" , 0.2
"""


@pytest.fixture
def wheel(tmp_path, monkeypatch) -> Path:
    """A wheel with files in the forms of the real one, few rows each."""
    path = tmp_path / "a wheel.whl"
    stars = pd.DataFrame({"ra": [1.0], "dec": [2.0], "VarType": ["M         "], "other": [0]})
    galaxies = pd.DataFrame(
        {"ra": [3.0], "dec": [4.0], "HyperLEDA_name": ["NGC5674"], "2MASS_name": ["x"], "lum_dist": [1.5], "ang_dist": [0.1]}
    )
    index = stars.set_axis(["RAJ2000", "DEJ2000", "VType", "other"], axis=1)
    with zipfile.ZipFile(path, "w") as archive:
        for name, rows in (("gcvs", stars), ("vsx", index), ("mangrove_filtered", galaxies)):
            archive.writestr(f"fink_science/data/catalogs/{name}.parquet", rows.to_parquet())
        archive.writestr("fink_science/data/catalogs/3hsp.csv", THREE_HSP)
        for part, name in (("h", "4FGL J0001.2+4741"), ("l", "4FGL J0012.0+7043")):
            data = io.BytesIO()
            Table({"Source_Name": [name.encode()], "RAJ2000": [0.3126], "DEJ2000": [47.6859], "Spectrum": [[1.0, 2.0]]}).write(
                data, format="fits"
            )
            archive.writestr(f"fink_science/data/catalogs/table-4LAC-DR3-{part}.fits", data.getvalue())
    monkeypatch.setattr(published, "WHEEL_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


def test_the_published_ones_out_of_the_wheel(wheel, tmp_path):
    assert list(published.install(tmp_path, [], wheel)) == ["gcvs", "vsx", "mangrove", "x3hsp", "x4lac"]
    rows = {name: store.opened(name, tmp_path).payload.to_pylist() for name in store.names(tmp_path)}
    assert rows == {
        "gcvs": [{"VarType": "M"}],
        "vsx": [{"VType": "M"}],
        "mangrove": [{"HyperLEDA_name": "NGC5674", "2MASS_name": "x", "lum_dist": 1.5, "ang_dist": 0.1}],
        "x3hsp": [{"3HSP Source name": "3HSPJ000116.4+293534"}, {"3HSP Source name": "3HSPJ000117.1-315043"}],
        "x4lac": [{"Source_Name": "4FGL J0001.2+4741"}, {"Source_Name": "4FGL J0012.0+7043"}],
    }
    north = store.opened("x3hsp", tmp_path)
    assert north.ra[0] == pytest.approx(15 * (1 / 60 + 16.37 / 3600))
    assert north.dec[0] == pytest.approx(29 + 35 / 60 + 34 / 3600)


def test_only_what_is_asked_for_and_only_from_the_right_wheel(wheel, tmp_path):
    assert list(published.install(tmp_path, ["x4lac"], wheel)) == ["x4lac"]
    assert store.names(tmp_path) == ["gcvs", "x4lac"]
    with pytest.raises(UsageError, match="'gaia' is not one of the published catalogues: gcvs, vsx"):
        list(published.install(tmp_path, ["gaia"], wheel))
    with wheel.open("ab") as file:
        file.write(b"x")
    with pytest.raises(FinkError, match="is not the wheel of fink-science"):
        list(published.install(tmp_path, [], wheel))
    with pytest.raises(FinkError, match="cannot read"):
        list(published.install(tmp_path, [], tmp_path / "none.whl"))


def test_parquet_files_of_many_row_groups(tmp_path):
    rng = np.random.default_rng(2)
    rows = pd.DataFrame({"ra": rng.uniform(0, 360, 10_000), "dec": rng.uniform(-90, 90, 10_000), "id": np.arange(10_000).astype(str)})
    rows.to_parquet(tmp_path / "many.parquet", row_group_size=1_000)
    bring_in(tmp_path, tmp_path / "many.parquet")
    catalogue = store.opened("stars", tmp_path)
    found, separation = catalogue.nearest(rows["ra"], rows["dec"], 1)
    assert catalogue.column("id", found, None).tolist() == rows["id"].tolist()
    assert separation.max() == 0
