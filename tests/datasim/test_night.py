"""The simulated night: what is new in its alerts, and what stays."""

import gzip
import io
import re
from collections import Counter
from itertools import groupby, pairwise

import fastavro
import pytest

from datasim import naming
from datasim.night import alerts, history_fields, plan
from datasim.packet import container, writer_schema
from fink_broker.errors import ConfigError, UsageError
from fink_broker.surveys.ztf import SURVEY

NIGHT = "20260322"
N, BURST = 300, 100


@pytest.fixture(scope="module")
def night(templates):
    return list(alerts(templates, N, NIGHT, burst=BURST))


def calendar(jd: float) -> str:
    return naming._calendar(naming.night_number(jd))


def test_ids_are_new_and_unique(night, templates):
    candids = [alert["candid"] for alert in night]
    assert len(set(candids)) == len(night) == N
    assert not set(candids) & {template["candid"] for template in templates}
    assert all(alert["candidate"]["candid"] == alert["candid"] < 2**63 for alert in night)
    assert all(alert["candid"] // 10**6 == alert["candidate"]["pid"] for alert in night)


def test_ids_are_made_as_ztf_makes_them(templates):
    for template in templates:
        candidate = template["candidate"]
        assert naming.image_id(candidate["jd"], candidate["rcid"]) == candidate["pid"]
        assert naming.night_number(candidate["jd"]) == candidate["nid"]
        assert candidate["candid"] - naming.alert_id(candidate["pid"], candidate["tblid"]) in (0, -5000)
        made = naming.difference_image(candidate["jd"], candidate["field"], candidate["fid"], candidate["rcid"])
        # ZTF's file names have the start of the exposure, jd its middle: the six digits differ.
        assert re.sub(r"\d{6}_", "", made, count=1) == re.sub(r"\d{6}_", "", candidate["pdiffimfilename"], count=1)


def test_objects_recur_under_valid_names(night):
    names = Counter(alert["objectId"] for alert in night)
    assert all(re.fullmatch("ZTF[0-9]{2}[a-z]{7}", name) for name in names)
    assert set(names.values()) == {1, 2}
    assert len(names) == 200
    for name in [name for name, n in names.items() if n == 2][:20]:
        first, second = (alert for alert in night if alert["objectId"] == name)
        assert abs(first["candidate"]["ra"] - second["candidate"]["ra"]) < 1e-3
        assert second["candidate"]["ndethist"] == first["candidate"]["ndethist"] + 1
        assert second["candidate"]["jdstarthist"] == first["candidate"]["jdstarthist"]
        # The second alert's history is the first one's, and the first alert.
        assert second["prv_candidates"][:-1] == first["prv_candidates"]
        last = second["prv_candidates"][-1]
        changed = {key for key in history_fields() if last[key] != first["candidate"][key]}
        assert changed == {"pdiffimfilename"}


def test_names_are_distinct_for_many_objects():
    assert len({naming.object_name(i, 7, "19") for i in range(100_000)}) == 100_000


def test_times_are_in_order_and_of_the_night(night):
    times = [alert["candidate"]["jd"] for alert in night]
    assert times == sorted(times)
    assert {calendar(jd) for jd in times} == {NIGHT}
    assert naming.midnight(NIGHT) == 2461121.5


def test_a_burst_is_an_exposure(night):
    for _, group in groupby(night, lambda alert: alert["candidate"]["jd"]):
        burst = [alert["candidate"] for alert in group]
        assert len(burst) == BURST
        for column in ("fid", "field", "nid"):
            assert len({candidate[column] for candidate in burst}) == 1
        assert len({candidate["pid"] // 10_000 for candidate in burst}) == 1
    assert Counter(alert["candidate"]["fid"] for alert in night) == {1: 200, 2: 100}


def test_history_comes_before_the_alert(night, templates):
    for alert in night:
        jd = alert["candidate"]["jd"]
        assert all(image["jd"] < jd for image in alert["prv_candidates"])
        assert alert["candidate"]["jdstarthist"] <= jd == alert["candidate"]["jdendhist"]
        for image in alert["prv_candidates"]:
            assert image["nid"] == naming.night_number(image["jd"])
            assert image["pid"] == naming.image_id(image["jd"], image["rcid"])
            assert f"/{calendar(image['jd'])[:4]}/{calendar(image['jd'])[4:]}/" in image["pdiffimfilename"]
    # Gaps between images stay, and the last one is as long ago as in the template, to a day.
    old, new = templates[0]["prv_candidates"], night[0]["prv_candidates"]
    assert [b["jd"] - a["jd"] for a, b in pairwise(new)] == pytest.approx([b["jd"] - a["jd"] for a, b in pairwise(old)])
    gap = templates[0]["candidate"]["jd"] - old[-1]["jd"]
    assert gap <= night[0]["candidate"]["jd"] - new[-1]["jd"] < gap + 1


def test_cutouts_carry_the_new_ids_and_decompress(night, templates):
    for alert, template in zip(night[:51], templates, strict=True):
        for cutout in SURVEY.cutouts:
            new, old = alert[cutout], template[cutout]
            assert str(alert["candid"]) in new["fileName"]
            assert str(template["candid"]) not in new["fileName"]
            assert gzip.decompress(new["stampData"]) == gzip.decompress(old["stampData"])
            assert new["stampData"] != old["stampData"]
    stamps = [alert["cutoutScience"]["stampData"] for alert in night]
    assert len(set(stamps)) == N


def test_what_the_cuts_look_at_is_as_real(night, templates):
    def passes(alert):
        candidate = alert["candidate"]
        return candidate["nbad"] == 0 and candidate["rb"] >= 0.55 and candidate["fid"] != 3

    assert sum(map(passes, templates)) == 10
    assert [passes(alert) for alert in night[:51]] == [passes(template) for template in templates]
    kept = [alert["candidate"] for alert in night if passes(alert)]
    assert any(candidate["magpsf"] < 16 for candidate in kept)
    assert any(candidate["ndethist"] <= 2 for candidate in kept)


def test_magnitudes_scatter_a_little_and_sentinels_stay(night, templates):
    shifts = [a["candidate"]["magpsf"] - t["candidate"]["magpsf"] for a, t in zip(night, templates, strict=False)]
    assert 0.01 < max(map(abs, shifts)) < 0.5
    for alert, template in zip(night, templates, strict=False):
        for name, value in template["candidate"].items():
            if value is None or value == -999.0:
                assert alert["candidate"][name] == value


def test_same_seed_same_night(templates, night):
    assert list(alerts(templates, N, NIGHT, burst=BURST)) == night
    other = next(alerts(templates, 1, NIGHT, seed=2, burst=BURST))
    assert other["objectId"] != night[0]["objectId"]
    # The next night sees the same objects.
    later = next(alerts(templates, 1, "20260323", burst=BURST))
    assert later["objectId"] == night[0]["objectId"]
    assert later["candid"] != night[0]["candid"]


def test_forced_photometry_only_where_the_schema_has_it(night, templates):
    assert all("fp_hists" not in alert for alert in alerts(templates, 5, NIGHT, schema_version="3.3"))
    with_forced = [alert for alert in night if alert["fp_hists"] is not None]
    assert len(with_forced) == 225
    for alert in with_forced[:20]:
        times = [entry["jd"] for entry in alert["fp_hists"]]
        assert times == [image["jd"] for image in reversed(alert["prv_candidates"])]
        assert times[0] < alert["candidate"]["jd"]


@pytest.mark.parametrize("version", ["3.2", "3.3", "4.01", "4.02"])
def test_alerts_fit_every_schema(templates, version):
    schema = writer_schema(version)
    for alert in alerts(templates, 120, NIGHT, schema_version=version, burst=60):
        message = container(alert, schema)
        (back,) = fastavro.reader(io.BytesIO(message))
        assert back["schemavsn"] == version
        assert (back["candid"], back["objectId"]) == (alert["candid"], alert["objectId"])
        assert back["candidate"]["jd"] == alert["candidate"]["jd"]
        assert 38_000 < len(message) < 75_000


def test_fields_are_observed_twice():
    exposures = list(plan(70, NIGHT))
    visits = Counter(exposure.field for exposure in exposures)
    assert set(visits.values()) == {2}
    assert len(visits) == 35
    seen = {(exposure.field, exposure.visit): exposure.jd for exposure in exposures}
    assert all(exposure.first_jd == seen[exposure.field, 0] for exposure in exposures)
    assert [exposure.jd for exposure in exposures] == sorted(exposure.jd for exposure in exposures)


def test_a_whole_survey_night_fits_and_stays_unique():
    exposures = list(plan(20_000, NIGHT))
    assert {calendar(exposure.jd) for exposure in exposures} == {NIGHT}
    assert len({naming.image_id(exposure.jd, 0) for exposure in exposures}) == 20_000


def test_too_many_exposures_are_refused():
    with pytest.raises(ConfigError, match="do not fit into a night"):
        next(plan(50_000, NIGHT))


@pytest.mark.parametrize("night", ["2026", "20261340", "today", "20160101", "20500101"])
def test_a_wrong_night_is_one_line(templates, night):
    with pytest.raises(UsageError, match="night"):
        next(alerts(templates, 1, night))
