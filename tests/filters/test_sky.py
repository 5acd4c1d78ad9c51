"""Watchlists, regions and sky maps: what is refused, what changes, and all three through the distribution in Spark."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import Latitude, Longitude
from cdshealpix import nested
from pyspark.sql import SparkSession

from fink_broker.catalogues.index import separation_arcsec
from fink_broker.config import Settings
from fink_broker.config.positions import Region, SkyMap, Watchlist
from fink_broker.config.sections import Distribution
from fink_broker.errors import ConfigError
from fink_broker.filters import positions, registry, sky
from fink_broker.services import distribution
from fink_broker.surveys import get
from tests.notices import samples

ZTF, RUBIN = get("ztf"), get("rubin")
# The whole of base cell 4 of the twelve: around right ascension 0 at the equator.
MOC = '{"0": [4]}'


class Desk:
    """A home, and a folder with one's files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = 1_700_000_000

    def write(self, name: str, content: str | bytes) -> Path:
        file = self.folder / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.clock += 1
        os.utime(file, (self.clock, self.clock))
        return file

    def settings(self, **entries: Any) -> Settings:
        return Settings(home=self.folder / "a home", distribution=Distribution(filters=[]), **entries)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def selected(settings: Settings, name: str, ra: list[float], dec: list[float]) -> list[bool]:
    """What a filter says, called as the workers call it."""
    [one] = [one for one in registry.active(settings, ZTF) if one.name == name]
    assert one.reference is not None
    constants = {key: pd.Series([value] * len(ra)) for key, value in one.constants.items()}
    return list(one.reference.load()(pd.Series(ra, dtype=float), pd.Series(dec, dtype=float), **constants))


@pytest.mark.parametrize(
    ("radius", "expected"),
    [(5.0, [True, True, False, False, True, False]), ("reach", [True, False, False, True, True, False])],
)
def test_near_a_watchlist(desk: Desk, radius: float | str, expected: list[bool]):
    file = desk.write("mine.csv", "name,ra,dec,reach\na,10.0,20.0,2\nb,200.0,-5.0,30\nc,0.0,89.9999,4\n")
    settings = desk.settings(watchlists=[Watchlist(name="mine", file=file, radius_arcsec=radius)])
    ra = [10.0, 10.0, 10.0, 200.0, 180.0, np.nan]
    dec = [20.0, 20 + 4 / 3600, 20 + 6 / 3600, -5 - 20 / 3600, 89.9999, 20.0]
    # The pole: 0.72 arcsec across.
    dec[4] = 90.0
    assert selected(settings, "mine", ra, dec) == expected


def test_a_large_watchlist_finds_what_comparing_with_every_row_finds(desk: Desk):
    draw = np.random.default_rng(4)
    rows = pd.DataFrame({"RAJ2000": draw.uniform(0, 360, 3000), "DEJ2000": np.degrees(np.arcsin(draw.uniform(-1, 1, 3000)))})
    rows["r"] = draw.uniform(10, 12_000, 3000)
    rows.to_parquet(desk.folder / "mine.parquet")
    settings = desk.settings(watchlists=[Watchlist(name="mine", file=desk.folder / "mine.parquet", radius_arcsec="r")])
    ra, dec = draw.uniform(0, 360, 500), np.degrees(np.arcsin(draw.uniform(-1, 1, 500)))
    every = separation_arcsec(ra[:, None], dec[:, None], rows["RAJ2000"].to_numpy()[None], rows["DEJ2000"].to_numpy()[None])
    near = (every < rows["r"].to_numpy()[None]).any(axis=1)
    assert 50 < near.sum() < 450
    assert selected(settings, "mine", list(ra), list(dec)) == list(near)


@pytest.mark.parametrize(
    ("content", "change", "message"),
    [
        (None, {}, "the watchlist 'mine': cannot read .*mine.csv: No such file or directory"),
        ("", {}, "the watchlist 'mine': cannot read .*mine.csv"),
        ("ra,dec\n", {}, "mine.csv has no row with a position"),
        ("ra,dec\n,\n", {}, "mine.csv has no row with a position"),
        ("ra,dec\n10,95\n", {}, "'dec' goes from 95 to 95"),
        ("ra,dec\nnorth,1\n", {}, "'ra' is no number"),
        ("x,dec\n1,1\n", {}, "no column that is called ra: say ra; there are x, dec"),
        ("ra,dec\n1,1\n", {"ra": "alpha"}, "no column 'alpha': say ra"),
        ("ra,dec,r\n1,1,-1\n", {"radius_arcsec": "r"}, "the column 'r' of .*mine.csv has radii that are not positive"),
    ],
)
def test_a_bad_watchlist_is_refused_with_its_file_and_reason(desk: Desk, content: str | None, change: dict[str, Any], message: str):
    file = desk.folder / "mine.csv" if content is None else desk.write("mine.csv", content)
    settings = desk.settings(watchlists=[Watchlist(name="mine", file=file, **change)])
    with pytest.raises(ConfigError, match=message) as raised:
        registry.active(settings, ZTF)
    assert "\n" not in str(raised.value)
    assert not list(settings.positions.glob("mine/[!.]*"))


def test_regions_and_sky_maps_are_refused_in_the_same_way(desk: Desk):
    with pytest.raises(ConfigError, match=r"the region 'field': .*field.json is an empty MOC"):
        registry.active(desk.settings(regions=[Region(name="field", moc=desk.write("field.json", "{}"))]), ZTF)
    with pytest.raises(ConfigError, match=r"the sky map 'event': cannot read .*map.fits as a sky map"):
        registry.active(desk.settings(skymaps=[SkyMap(name="event", file=desk.write("map.fits", "SIMPLE"))]), ZTF)
    file = desk.write("field.json", MOC)
    twice = desk.settings(regions=[Region(name="field", moc=file)], skymaps=[SkyMap(name="field", file=desk.folder / "map.fits")])
    desk.write("map.fits", base64.b64decode(samples.skymap()))
    with pytest.raises(ConfigError, match="there is a filter 'field' already, in the region 'field'"):
        registry.active(twice, ZTF)


def test_a_file_that_changes_changes_its_filter_and_a_broken_one_does_not(desk: Desk):
    file = desk.write("mine.csv", "ra,dec\n10,20\n")
    settings = desk.settings(watchlists=[Watchlist(name="mine", file=file)])
    good = registry.gather(registry.sources(settings, ZTF))
    assert registry.gather(registry.sources(settings, ZTF)).filters == good.filters
    for content in ("ra,dec\n95", None):
        if content is None:
            file.unlink()
        else:
            desk.write("mine.csv", content)
        found = registry.gather(registry.sources(settings, ZTF), good.sources)
        assert found.filters == good.filters
        assert list(found.faults) == ["the watchlist 'mine'"]
    desk.write("mine.csv", "ra,dec\n30,40\n")
    found = registry.gather(registry.sources(settings, ZTF), good.sources)
    assert found.faults == {}
    assert found.filters != good.filters
    assert selected(settings, "mine", [10.0, 30.0], [20.0, 40.0]) == [False, True]
    # Another radius is another filter too; old versions go, but not those that may be in use.
    for radius in range(2, 8):
        registry.active(desk.settings(watchlists=[Watchlist(name="mine", file=file, radius_arcsec=radius)]), ZTF)
    assert len(list(settings.positions.glob("mine/*"))) == 3


def test_where_an_alert_is_comes_from_the_survey(desk: Desk):
    settings = desk.settings(regions=[Region(name="field", moc=desk.write("field.json", MOC))])
    assert [next(sky.entries(settings)).filter(settings, one).inputs for one in (ZTF, RUBIN)] == [
        ("candidate.ra", "candidate.dec"),
        ("diaSource.ra", "diaSource.dec"),
    ]
    assert next(sky.entries(settings)).filter(settings, RUBIN).topic(RUBIN) == "fink_field_lsst"


def test_all_three_through_the_distribution(spark: SparkSession, desk: Desk):
    lon, lat = nested.healpix_to_lonlat(np.array([100], np.uint64), samples.ORDER)
    event = (float(lon.deg[0]), float(lat.deg[0]))
    settings = desk.settings(
        watchlists=[Watchlist(name="mine", file=desk.write("mine.csv", "ra,dec\n10,20\n200,-5\n"), radius_arcsec=5)],
        regions=[Region(name="field", moc=desk.write("field.json", MOC))],
        skymaps=[SkyMap(name="event", file=desk.write("map.fits", base64.b64decode(samples.skymap())))],
    )
    places = [(10.0, 20.0), (10.0, 20.01), (200.0, -5.0), (1.0, 2.0), event, (200.0, -60.0)]
    science = spark.createDataFrame(
        [(number, f"o{number}", place, []) for number, place in enumerate(places, 1)],
        "candid long, objectId string, candidate struct<ra: double, dec: double>, prv_candidates array<struct<ra: double, dec: double>>",
    )
    filters = registry.active(settings, ZTF)
    topics = {one.topic(ZTF): 2 for one in filters}
    found: dict[str, list[int]] = {topic: [] for topic in topics}
    for message in distribution.build(science, ZTF, filters, topics).collect():
        schema = fastavro.parse_schema(json.loads(bytes(message.key)))
        alert: Any = fastavro.schemaless_reader(io.BytesIO(message.value), schema, None)
        assert (alert["candidate"]["ra"], alert["candidate"]["dec"]) == places[alert["candid"] - 1]
        found[message.topic].append(alert["candid"])
    cells = nested.lonlat_to_healpix(Longitude([ra for ra, _ in places], "deg"), Latitude([dec for _, dec in places], "deg"), 0)
    inside = [number for number, cell in enumerate(cells, 1) if cell == 4]
    assert {topic: sorted(ids) for topic, ids in found.items()} == {
        "fink_mine_ztf": [1, 3],
        "fink_field_ztf": inside,
        "fink_event_ztf": [5],
    }
    assert 4 in inside
    assert len(inside) < 6


def test_workers_need_no_package_that_a_plug_in_environment_lacks():
    """The functions are imported where there is neither pydantic nor mocpy."""
    hidden = "import sys; sys.modules.update(dict.fromkeys(('pydantic', 'mocpy', 'cdshealpix', 'confluent_kafka')))"
    done = subprocess.run([sys.executable, "-c", f"{hidden}; import {positions.__name__}, fink_broker.notices.match"], check=False)
    assert done.returncode == 0
