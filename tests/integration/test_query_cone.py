"""Cones over the real HBase: what is found is what all distances give, also at the poles and across right ascension 0."""

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import Latitude, Longitude, SkyCoord
from cdshealpix.ring import lonlat_to_healpix
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from fink_broker import query
from fink_broker.config import Settings
from fink_broker.config.sections import HBase
from fink_broker.connectors.hbase import SCHEMA_PREFIX, Row
from fink_broker.infra import hbase

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def sky(hbase_server, settings):
    """Objects around the poles, right ascension 0 and elsewhere, in a table of positions of their own; some with a row in two pixels."""
    rng = np.random.default_rng(7)
    near = rng.normal(0, 0.4, (4, 150))
    ra = np.concatenate([rng.uniform(0, 360, 300), near[0] % 360, near[1] % 360, rng.uniform(0, 360, 200), [0, 0, 45, 0]])
    caps = [90 - np.abs(near[2]), np.abs(near[3]) - 90]
    edges = [90, -90, np.degrees(np.arcsin(2 / 3)), 0]
    dec = np.concatenate([*caps, rng.normal(0, 0.4, 300), np.degrees(np.arcsin(rng.uniform(-1, 1, 200))), edges])
    pixels = lonlat_to_healpix(Longitude(ra, units.deg), Latitude(dec, units.deg), 128)
    kinds = {b"i:objectId": b"string", b"i:jd": b"double", b"i:ra": b"double", b"i:dec": b"double"}
    put = [Row(SCHEMA_PREFIX + b"1", 1, kinds)]
    for number, (pixel, one, other) in enumerate(zip(pixels, ra, dec, strict=True)):
        cells = {b"i:objectId": b"sky%d" % number}
        cells |= {f"i:{name}".encode(): np.array(value, ">f8").tobytes() for name, value in (("jd", 2.0), ("ra", one), ("dec", other))}
        put.append(Row(b"%d_1.0_sky%d" % (pixel, number), 1, cells))
    host, port = hbase.address(settings)
    here = Settings(home=settings.home, hbase=HBase(thrift=f"{host}:{port}", table_prefix="sky."))
    with query.Tables(here) as opened:
        opened.reader.create({"ztf.pixel128": ("i", "d")})
        opened.reader.write("ztf.pixel128", put)
        yield opened, SkyCoord(ra, dec, unit="deg")


@given(
    ra=st.floats(0, 360) | st.floats(-1, 1),
    dec=st.floats(-90, 90) | st.floats(89, 90) | st.floats(-90, -89) | st.floats(-1, 1),
    radius=st.floats(1e-4, 1.5),
)
@example(ra=0, dec=90, radius=1)
@example(ra=180, dec=-90, radius=0.5)
@example(ra=359.999, dec=0.0, radius=1.0)
@example(ra=0, dec=0.0, radius=1e-4)
@example(ra=45, dec=41.8103148957786, radius=1e-4)
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
def test_a_cone_is_what_all_distances_give(sky, ra, dec, radius):
    opened, places = sky
    separation = places.separation(SkyCoord(ra * units.deg, dec * units.deg)).deg
    found = query.cone(opened, ra, dec, radius, ["objectId"])
    distances = dict(zip(found["i:objectId"].to_pylist(), found["v:separation_degree"].to_pylist(), strict=True))
    # The two formulae agree to 1e-12 degrees: on the very rim either may be right.
    assert {f"sky{n}" for n in np.flatnonzero(separation < radius - 1e-11)} <= set(distances)
    assert set(distances) <= {f"sky{n}" for n in np.flatnonzero(separation < radius + 1e-11)}
    assert list(distances.values()) == sorted(distances.values())
    for name, distance in distances.items():
        assert distance == pytest.approx(separation[int(name[3:])], abs=1e-9)
