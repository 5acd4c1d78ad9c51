"""What is read of notices."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.time import Time
from cdshealpix import nested

from fink_broker.notices.notice import Unusable, parse
from tests.notices.samples import GCN, JD, ORDER, TIME, fermi, gwalert, skymap, voevent, written


def test_the_unified_schema():
    notice = parse(written(fermi()))
    assert (notice.observatory, notice.instrument, notice.event, notice.trigger, notice.status) == (
        "Fermi",
        "GBM",
        "",
        "745121685",
        "update",
    )
    assert (notice.ra, notice.dec, notice.error) == (29.24, -63.62, 90.0)
    assert notice.jd == pytest.approx(Time(TIME.removesuffix("Z")).jd, abs=1e-9) == pytest.approx(JD, abs=1e-9)
    assert notice.time_utc == "2026-03-22 02:00:00.430"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"$schema": f"{GCN}/einstein_probe/wxt/alert.schema.json", "mission": None}, ("EinsteinProbe", 90.0)),
        ({"$schema": f"{GCN}/svom/trigger.schema.json"}, ("SVOM", 90.0)),
        ({"$schema": "", "mission": "Swift", "ra_dec_error": None, "ra_uncertainty": [0.05]}, ("SWIFT", 3.0)),
        ({"ra_dec_error": [2.0, 1.0, 30.0]}, ("Fermi", 120.0)),
        ({"ra_dec_error": 0}, ("Fermi", 1.0)),
        ({"$schema": f"{GCN}/chime/frb.schema.json"}, ("chime", 90.0)),
    ],
)
def test_who_says_it_and_how_well_it_is_placed(change, expected):
    notice = parse(written(fermi(**change)))
    assert (notice.observatory, notice.error) == (expected[0], pytest.approx(expected[1]))


def test_an_id_that_is_a_number_and_a_type_that_is_not_said():
    notice = parse(written(fermi(id=[694215995], alert_type=None)))
    assert (notice.trigger, notice.status) == ("694215995", "initial")


def test_gravitational_waves_with_their_sky_map():
    notice = parse(written(gwalert()))
    assert (notice.observatory, notice.instrument, notice.event, notice.trigger) == ("LVK", "H1_L1", "gw", "S260322a")
    assert (notice.status, notice.jd) == ("preliminary", pytest.approx(JD, abs=1e-9))
    lon, lat = nested.healpix_to_lonlat(np.array([100], np.uint64), ORDER)
    assert (notice.ra, notice.dec) == (pytest.approx(lon.deg[0], abs=1e-6), pytest.approx(lat.deg[0], abs=1e-6))
    # Two cells of 3072, in square arcmin.
    assert notice.error == pytest.approx(2 / 3072 * 360**2 / np.pi * 3600)
    assert notice.skymap is not None
    assert notice.skymap.at(lon.deg, lat.deg)[0] == pytest.approx(0.45 / (360**2 / np.pi / 3072))


def test_a_sky_map_in_the_unified_schema():
    notice = parse(written(fermi(healpix_file=skymap())))
    assert notice.skymap is not None
    assert notice.error == pytest.approx(2 / 3072 * 360**2 / np.pi * 3600)


@pytest.mark.parametrize(
    ("ivorn", "trigger", "who", "what"),
    [
        ("ivo://nasa.gsfc.gcn/SWIFT#BAT_GRB_Pos_1118357-103", "TrigID", "SWIFT", "BAT"),
        ("ivo://nasa.gsfc.gcn/Fermi#GBM_Gnd_Pos_2026-03-22T02:00:00.43_1118357_57-431", "TrigID", "Fermi", "GBM"),
        ("ivo://nasa.gsfc.gcn/INTEGRAL#Refined_2026-03-22T02:00:00.43_1118357_1-083", "TrigID", "INTEGRAL", "Refined"),
        ("ivo://org.svom/fsc#sb26032201_eclairs-wakeup", "Burst_Id", "SVOM", "sb26032201"),
        ("ivo://nasa.gsfc.gcn/AMON#ICECUBE_GOLD_Event2026-03-22T02:00:00.43_1", "AMON_ID", "ICECUBE", "GOLD"),
    ],
)
def test_voevents(ivorn: str, trigger: str, who: str, what: str):
    notice = parse(voevent(ivorn, trigger=trigger))
    assert (notice.observatory, notice.instrument, notice.trigger, notice.status) == (who, what, "1118357", "initial")
    assert (notice.ra, notice.dec, notice.error) == (225.0206, -69.4968, pytest.approx(3.0))
    assert notice.jd == pytest.approx(JD, abs=1e-9)


@pytest.mark.parametrize(
    "value",
    [
        voevent(cite="retraction"),
        written(fermi(alert_type="retraction", ra=None, trigger_time=None)),
        written(gwalert(alert_type="RETRACTION", event=None)),
    ],
)
def test_retractions(value: bytes):
    assert parse(value).status == "retraction"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (written(fermi(alert_tense="test")), "a test"),
        (written(fermi(alert_type="test")), "a test"),
        (voevent(role="test"), "a test"),
        (written(gwalert(superevent_id="MS260322a")), "a test"),
        (written(fermi(ra=None)), "without a position"),
        (written(fermi(ra_dec_error=None)), "without a position"),
        (voevent().replace(b"Error2Radius", b"Error"), "without a position"),
        (written(gwalert(event={**gwalert()["event"], "skymap": None})), "without a position"),
    ],
)
def test_what_is_of_no_use(value: bytes, reason: str):
    with pytest.raises(Unusable, match=reason):
        parse(value)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"[1]", "AttributeError|TypeError"),
        (b"<voe", "no XML"),
        (b"\xff\xfe\x00", "decode"),
        (voevent().replace(b"TrigID", b"Trig"), "none of the parameters TrigID"),
        (voevent().replace(b"225.0206", b"north"), "could not convert"),
        (written(fermi(dec=95.0)), "is no position"),
        (written(fermi(trigger_time="yesterday evening")), "yesterday evening"),
        (written({"$schema": f"{GCN}/fermi/x"}), "KeyError: 'id'"),
        (written(gwalert(event={**gwalert()["event"], "skymap": "SGVsbG8="})), "as a sky map"),
    ],
)
def test_what_cannot_be_read_says_why(value: bytes, reason: str):
    with pytest.raises(Exception, match=reason) as raised:
        parse(value)
    assert not isinstance(raised.value, Unusable)
