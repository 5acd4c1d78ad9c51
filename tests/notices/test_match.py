"""Which alerts a notice points at, and how likely that is by chance."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from cdshealpix import nested

from fink_broker.notices.match import FIELDS, Matcher, Sky
from fink_broker.notices.notice import Notice, parse
from tests.notices.samples import JD, ORDER, fermi, gwalert, written

ZTF = Sky(31.0, 141_994.0, 15_000.0)


def matched(notices: list[Notice], rows: list[tuple[float, float, float, float]], level: float = 0.9) -> list[list[dict[str, object]]]:
    """By alert of a position, and days from the trigger to its begin and to itself."""
    ra, dec, begins, jd = (pd.Series(column, dtype=float) for column in zip(*rows, strict=True))
    return list(Matcher(notices, 7.0, level, ZTF)(ra, dec, JD + begins, JD + begins, JD + jd))


def test_time_and_place():
    notice = parse(written(fermi()))
    rows = [
        (29.24, -63.62, 0.1, 0.2),
        (29.24, -61.38, 0.1, 0.2),  # 2.24 degrees: within 1.5 times 1.5
        (29.24, -61.36, 0.1, 0.2),  # 2.26 degrees
        (29.24, -63.62, -0.1, 0.2),  # began before
        (29.24, -63.62, 0.1, 7.1),  # too late
        (np.nan, -63.62, 0.1, 0.2),
        (29.24, -63.62, np.nan, 0.2),
    ]
    found = matched([notice], rows)
    assert [len(one) for one in found] == [1, 1, 0, 0, 0, 0, 0]
    assert set(found[0][0]) == set(FIELDS)
    assert {name: found[0][0][name] for name in ("observatory", "triggerId", "gcn_ra", "gcn_dec", "gcn_loc_error", "triggerTimeUTC")} == {
        "observatory": "Fermi",
        "triggerId": "745121685",
        "gcn_ra": 29.24,
        "gcn_dec": -63.62,
        "gcn_loc_error": 90.0,
        "triggerTimeUTC": "2026-03-22 02:00:00.430",
    }


@pytest.mark.parametrize(
    ("delay", "radius", "published"),
    # fink-mm, the examples of `serendipitous_association_proba` (which is one minus this): real bursts and their afterglows.
    [(1.03, 3.1, 0.998510), (0.29, 36.327284855876584, 0.936975), (0.083279, 2.17, 0.999934)],
)
def test_the_probability_is_the_published_one(delay: float, radius: float, published: float):
    notice = parse(written(fermi(ra_dec_error=radius)))
    [[found]] = matched([notice], [(29.24, -63.62, delay, delay)])
    assert found["p_assoc"] == pytest.approx(1 - published, abs=1e-6)


def test_without_a_published_rate_there_is_no_probability():
    [[found]] = matched([parse(written(fermi(**{"$schema": "gcn/notices/svom/x"})))], [(29.24, -63.62, 0.1, 0.2)])
    assert (found["observatory"], found["p_assoc"]) == ("SVOM", None)


def test_a_sky_map_is_looked_up_to_its_level():
    notice = parse(written(gwalert()))
    lon, lat = nested.healpix_to_lonlat(np.array([100, 101, 900], np.uint64), ORDER)
    rows = [(ra, dec, 0.1, 0.2) for ra, dec in zip(lon.deg, lat.deg, strict=True)]
    found = matched([notice], rows)
    assert [len(one) for one in found] == [1, 1, 0]
    assert found[0][0]["p_assoc"] == pytest.approx(0.45 / (360**2 / np.pi / 3072))
    assert [len(one) for one in matched([notice], rows, level=1.0)] == [1, 1, 1]
    assert [len(one) for one in matched([notice, parse(written(fermi(ra=lon.deg[0], dec=lat.deg[0])))], rows)] == [2, 1, 0]
