"""The REST API over real tables, as users' scripts ask it; `test_query` takes these tests in, whose tables they read."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord, get_constellation
from astropy.io import votable
from astropy.table import Table
from astropy.time import Time
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings

from fink_broker import query
from fink_broker.config.sections import Dashboard
from fink_broker.connectors.hbase import SCHEMA_PREFIX, Row
from fink_broker.infra import jars
from fink_broker.query.pictures import pixels
from tests.asked import questions
from tests.served import get, served

TOKEN = "a token of the tests"
FUZZED = 5  # questions of each path and method


@pytest.fixture(scope="module")
def address(alerts, context) -> Iterator[str]:
    dashboard = Dashboard.model_validate({"token": TOKEN, "rate_per_second": 0})
    with served(context.settings.model_copy(update={"dashboard": dashboard})) as where:
        yield where


@pytest.fixture
def ask(address):
    """Ask for rows, by POST; by GET the same must come."""

    def asked(path: str, **body: Any) -> pd.DataFrame:
        code, _, content = get(f"{address}/api/v1/{path}", body)
        assert code == 200, content
        again = get(f"{address}/api/v1/ztf/{path}?{urlencode(body)}")
        assert (again[0], again[2]) == (200, content)
        return pd.read_json(io.BytesIO(content), dtype=False)

    return asked


def refused(address: str, path: str, body: dict[str, Any]) -> str:
    code, _, content = get(f"{address}/api/v1/{path}", body)
    assert code == 400, content
    return str(json.loads(content)["error"])


def test_objects_as_fink_gives_them(ask, expected, object_id):
    wanted = sorted((row for row in expected("ztf") if row["i:objectId"] == object_id), key=lambda row: -row["i:jd"])
    found = ask("objects", objectId=object_id)
    assert found["i:candid"].tolist() == [row["i:candid"] for row in wanted], "the newest first, ids exact"
    assert np.float32(found["i:magpsf"]).tolist() == [np.float32(row["i:magpsf"]) for row in wanted]
    assert found["v:lastdate"].tolist() == Time([row["i:jd"] for row in wanted], format="jd").iso.tolist()
    assert found["v:firstdate"].tolist() == Time([row["i:jdstarthist"] for row in wanted], format="jd").iso.tolist()
    assert found["v:lapse"].tolist() == [row["i:jd"] - row["i:jdstarthist"] for row in wanted]
    where = SkyCoord(found["i:ra"], found["i:dec"], unit="deg")
    assert found["v:constellation"].tolist() == get_constellation(where).tolist()
    classes = {row["i:candid"]: row["d:classification"] for row in expected("ztf.class")}
    assert found["v:classification"].tolist() == [classes[one] for one in found["i:candid"]]
    # The three alerts are of one band and one magnitude.
    assert found["v:rate"].tolist()[:2] == [0, 0]
    assert np.isnan(found["v:rate"].tolist()[2])
    some = ask("objects", objectId=f"{object_id},ZTF00aaaaaaa", columns="v:lapse, i:objectId,v:classification", skip=1)
    assert some.columns.tolist() == ["v:lapse", "i:objectId", "v:classification"]
    assert some["v:lapse"].tolist() == found["v:lapse"].tolist()[1:]
    assert ask("objects", objectId="ZTF00aaaaaaa").empty


def test_every_alert_has_the_class_of_its_table(ask, expected):
    names = sorted({row["i:objectId"] for row in expected("ztf")})
    found = ask("objects", objectId=",".join(names), columns="i:candid,v:classification,v:constellation,i:ra,i:dec")
    classes = {row["i:candid"]: row["d:classification"] for row in expected("ztf.class")}
    assert dict(zip(found["i:candid"], found["v:classification"], strict=True)) == classes
    assert found["v:constellation"].tolist() == get_constellation(SkyCoord(found["i:ra"], found["i:dec"], unit="deg")).tolist()


def test_upper_limits_leave_ids_whole(ask, expected):
    name = next(row["i:objectId"] for row in expected("ztf.upper"))
    found = ask("objects", objectId=name, withupperlim=True)
    assert set(found["d:tag"]) >= {"valid", "upperlim"}
    ids = {row["i:candid"] for row in expected("ztf") if row["i:objectId"] == name}
    assert set(found["i:candid"]) == ids | {-1}
    assert found["v:lapse"].notna().tolist() == (found["d:tag"] == "valid").tolist()


def test_forms_of_answers(address, object_id):
    question = {"objectId": object_id, "columns": "i:candid,i:magpsf,v:lastdate"}

    def content(form: str) -> io.BytesIO:
        code, headers, found = get(f"{address}/api/v1/objects", question | {"output-format": form})
        assert (code, headers["x-content-type-options"]) == (200, "nosniff")
        return io.BytesIO(found)

    wanted = pd.read_json(content("json"), dtype=False)
    assert pd.read_csv(content("csv"))["i:candid"].tolist() == wanted["i:candid"].tolist()
    assert pq.read_table(content("parquet"))["i:candid"].to_pylist() == wanted["i:candid"].tolist()
    assert votable.parse(content("votable")).get_first_table().array["i_candid"].tolist() == wanted["i:candid"].tolist()


def test_cones(ask, address, alerts, object_id):
    row = alerts.where(f"objectId = '{object_id}'").first()["candidate"]
    here = SkyCoord(row["ra"], row["dec"], unit="deg")
    found = ask("conesearch", ra=row["ra"], dec=row["dec"], radius=1080)
    assert found["v:separation_degree"].is_monotonic_increasing
    assert found["i:objectId"][0] == object_id
    assert not [name for name in found if name.startswith("v:") and name != "v:separation_degree"], "as Fink's"
    hours, degrees = here.to_string("hmsdms", precision=4).split()
    for ra, dec in ((hours, degrees), (hours.replace("h", " ").replace("m", " ").strip("s"), here.dec.to_string(sep=":"))):
        assert ask("conesearch", ra=ra, dec=f" {dec}", radius=" 1080")["i:objectId"].tolist() == found["i:objectId"].tolist()
    begins = ask("conesearch", ra=row["ra"], dec=row["dec"], radius=1080, columns="i:jdstarthist,v:firstdate,i:objectId")
    first = begins["i:jdstarthist"].sort_values().tolist()
    assert begins["v:firstdate"].tolist() == Time(begins["i:jdstarthist"], format="jd").iso.tolist()
    some = ask("conesearch", ra=row["ra"], dec=row["dec"], radius=1080, startdate=first[1], window=first[-1] - first[1])
    assert len(some) == len(first) - 1
    assert ask("conesearch", ra=row["ra"], dec=row["dec"], radius=1080, stopdate=first[0])["i:jdstarthist"].tolist() == [first[0]]
    assert len(ask("conesearch", ra=row["ra"], dec=row["dec"], radius=1080, n=1)) == 1
    assert "window goes with startdate" in refused(address, "conesearch", {"ra": 1, "dec": 1, "radius": 1, "window": 2})


def test_the_newest_of_a_class_by_its_label(ask, expected, address):
    name = max(expected("ztf.class"), key=lambda row: row["i:jd"])["d:classification"]
    times = sorted((row["i:jd"] for row in expected("ztf.class") if row["d:classification"] == name), reverse=True)
    for label in (name, f"(SIMBAD) {name}"):
        found = ask("latests", **{"class": label, "n": 3})
        assert found["i:jd"].tolist() == times[:3]
    assert set(found["v:classification"]) == {name}
    assert "v:rate" not in found
    assert "v:g-r" in ask("latests", **{"class": name, "n": 3, "color": True})
    between = {"startdate": Time(times[2] - 1e-3, format="jd").iso, "stopdate": str(Time(times[1] + 1e-3, format="jd").mjd)}
    assert ask("latests", **{"class": name, "n": 2, **between})["i:jd"].tolist() == times[1:3]
    assert ask("latests", **{"class": "(TNS) SN Ia"}).empty
    code, headers, _ = get(f"{address}/api/v1/latests", {"class": name, "n": 2})
    assert (code, headers["x-next-skip"]) == (200, "2")
    assert ask("latests", **{"class": name, "n": 1, "skip": 1})["i:candid"].tolist() == found["i:candid"].tolist()[1:2]
    listed = json.loads(get(f"{address}/api/v1/classes")[2])
    present = sorted({row["d:classification"] for row in expected("ztf.class")} - set(listed["Fink classifiers"]), key=str.lower)
    assert listed["Cross-match with SIMBAD"] == [f"(SIMBAD) {one}" for one in present]
    assert "Early SN Ia candidate" in listed["Fink classifiers"]


def test_bodies_and_tracks(ask, expected, address):
    rows = expected("ztf.ssnamenr")
    name = rows[0]["i:ssnamenr"]
    mine = sorted(row["i:jd"] for row in rows if row["i:ssnamenr"] == name)
    spaced = f"{name[:4]} {name[4:]}"
    found = ask("sso", n_or_d=f"{spaced}, nobody")
    assert found["i:jd"].tolist() == mine
    assert found["sso_name"].tolist() == [spaced] * len(mine)
    assert {"v:lastdate", "v:constellation", "v:classification"} <= set(found)
    assert ask("sso", n_or_d=name, columns="i:jd")["i:jd"].tolist() == mine
    tracks = expected("ztf.tracklet")
    for question in ({"id": "TRCK_20190903_043000_00"}, {"id": "TRCK_2019"}, {"date": "2019-09-03 04:30:00"}, {"date": "2019-09-03"}):
        assert len(ask("tracklet", **question)) == len(tracks)
    assert ask("tracklet", id="TRCK_2018").empty
    assert "say which: id" in refused(address, "tracklet", {})


def test_anomalies_and_statistics(ask, expected, address):
    assert ask("anomaly", n=5).empty
    found = ask("statistics", date="20260322")
    if len(found):  # which another test has put
        assert found["key:key"].tolist() == ["ztf_20260322"]
    assert "basic:raw" in ask("statistics", date="", schema=True).to_string() or found.empty


def test_names_of_others_by_resolver(ask, expected, address, object_id):
    found = ask("resolver", resolver="simbad", name=object_id, reverse=True)
    assert set(found) == {"i:objectId", "d:cdsxmatch", "i:ra", "i:dec", "i:candid", "i:jd"}
    assert len(found) == 3
    assert "Sesame" in refused(address, "resolver", {"resolver": "simbad", "name": "M31"})
    assert ask("resolver", resolver="tns", name="SN 1000xyz").empty
    assert ask("resolver", resolver="tns", name="ZTF00aaaaaaa", reverse=True).empty
    assert ask("resolver", resolver="ssodnet", name="nobody", nmax=1).empty
    assert ask("resolver", resolver="ssodnet", name=object_id, reverse=True).empty


def test_cutouts_as_fink_gives_them(address, alerts, context, object_id):
    one = alerts.where(f"objectId != '{object_id}'").first()
    with query.Tables(context.settings) as tables:
        image = pixels(query.cutout(tables, one["objectId"], "template", one["candid"]))
    question = {"objectId": one["objectId"], "candid": str(one["candid"]), "output-format": "array"}
    found = json.loads(get(f"{address}/api/v1/cutouts", question | {"kind": "Template"})[2])
    assert np.array_equal(np.array(found["b:cutoutTemplate_stampData"], float), image, equal_nan=True)
    every = json.loads(get(f"{address}/api/v1/cutouts", question | {"kind": "All"})[2])
    assert every.keys() == {f"b:cutout{kind}_stampData" for kind in ("Science", "Template", "Difference")}
    pictures = set()
    for look in ({}, {"stretch": "sigmoid"}, {"stretch": "log", "pmin": 1}, {"stretch": "power"}, {"convolution_kernel": "gauss"}):
        code, headers, picture = get(f"{address}/api/v1/cutouts", question | {"kind": "Science", "output-format": "PNG"} | look)
        assert (code, headers["content-type"], picture[:4]) == (200, "image/png", b"\x89PNG")
        pictures.add(picture)
    assert len(pictures) == 5
    assert "goes with output-format array" in refused(address, "cutouts", question | {"kind": "All", "output-format": "FITS"})
    rows = json.loads(get(f"{address}/api/v1/objects", {"objectId": one["objectId"], "columns": "i:candid", "withcutouts": "True"})[2])
    mine = next(row for row in rows if row["i:candid"] == one["candid"])
    assert mine["b:cutoutTemplate_stampData"] == found["b:cutoutTemplate_stampData"]


def test_objects_in_a_sky_map(ask, expected, alerts, address, tmp_path):
    from astropy.io import fits
    from cdshealpix.nested import lonlat_to_healpix

    row = max(expected("ztf.pixel128"), key=lambda one: one["i:jdstarthist"])
    where = SkyCoord(row["i:ra"], row["i:dec"], unit="deg")
    probability = np.full(12 * 32 * 32, 0.05 / (12 * 32 * 32 - 1))
    probability[int(lonlat_to_healpix(where.ra, where.dec, 5)[0])] = 0.95
    table = fits.BinTableHDU(Table({"PROB": probability}), header=fits.Header({"ORDERING": "NESTED"}))
    event = Time(row["i:jdstarthist"] + 0.5, format="jd")
    table.header["DATE-OBS"] = event.isot
    table.writeto(tmp_path / "bayestar.fits.gz")
    content = (tmp_path / "bayestar.fits.gz").read_bytes()
    found = ask("skymap", file=str(content), credible_level=0.9)
    assert row["i:objectId"] in found["i:objectId"].tolist()
    assert np.allclose(found["v:jdstartgw"], event.jd, atol=1e-6, rtol=0)
    assert ask("skymap", file=str(content), credible_level=0.9, n_day_before=0.1).empty
    assert "square degrees" in refused(address, "skymap", {"file": str(content), "credible_level": 1})
    for file, says in (("b'x'", "as a sky map"), ("b'x", "as Python writes"), ("???", "neither base64"), ("b'\\x1f\\x8b'", "")):
        assert says in refused(address, "skymap", {"file": file, "credible_level": 0.5})
    assert "no notice of S230709bi" in refused(address, "skymap", {"event_name": "S230709bi"})


def test_what_there_is(address):
    schema = json.loads(get(f"{address}/api/v1/schema")[2])
    assert schema["ZTF original fields (i:)"]["magpsf"]["type"] == "float"
    assert schema["Fink added values (v:)"].keys() >= {"classification", "lapse", "g-r"}
    assert json.loads(get(f"{address}/api/v1/tags")[2])["bright"]["description"]
    assert json.loads(get(f"{address}/api/v1/blocks")[2]) == {}
    assert "no tables of what filters have chosen" in refused(address, "tags", {"tag": "bright"})


@pytest.fixture(scope="module")
def rubin(alerts, context) -> int:
    """An object of Rubin with two detections, forced photometry and statistics, as the archive writes them."""
    number, salt = 170032915988086813, "813"
    tables = {
        "rubin.diaSource_static": {
            f"{salt}_{number}_6110{day}.5": {"r:midpointMjdTai": 61100.5 + day, "r:diaSourceId": day} for day in (1, 2)
        },
        "rubin.diaObject": {f"{salt}_{number}": {"r:nDiaSources": 2.0}, f"{salt}_{number}813": {"r:nDiaSources": 9.0}},
        "rubin.fp": {f"{salt}_{number}_61101.5": {"r:psfFlux": 7.0}},
        "rubin.tag_bright": {f"6110{day}.5_{number}": {"r:midpointMjdTai": 61100.5 + day, "r:diaSourceId": day} for day in (1, 2)},
        "rubin.statistics": {"20260322": {"f:alerts": 5}},
    }
    with query.Tables(context.settings.model_copy(update={"survey": "rubin"})) as opened:
        opened.reader.create(dict.fromkeys(tables, ("r", "f")))
        for name, rows in tables.items():
            schema: dict[bytes, bytes] = {}
            for key, values in rows.items():
                whole = values if name == "rubin.statistics" else {"r:diaObjectId": number} | values
                cells = {
                    one.encode(): np.array(value, ">i8" if isinstance(value, int) else ">f8").tobytes() for one, value in whole.items()
                }
                schema |= {one.encode(): b"long" if isinstance(value, int) else b"double" for one, value in whole.items()}
                opened.reader.write(name, [Row(key.encode(), 1, cells)])
            opened.reader.write(name, [Row(SCHEMA_PREFIX + b"1", 1, schema)])
    return number


def test_questions_of_rubin(address, rubin):
    def rows(path: str, **body: Any) -> list[dict[str, Any]]:
        code, _, content = get(f"{address}/api/v1/rubin/{path}", body)
        assert code == 200, content
        found: list[dict[str, Any]] = json.loads(content)
        return found

    both = [{"r:diaObjectId": rubin, "r:diaSourceId": day, "r:midpointMjdTai": 61100.5 + day} for day in (2, 1)]
    assert rows("sources", diaObjectId=rubin) == both
    assert rows("sources", diaObjectId=str(rubin), columns="r:diaSourceId") == [{"r:diaSourceId": day} for day in (2, 1)]
    assert rows("objects", diaObjectId=rubin) == [{"r:diaObjectId": rubin, "r:nDiaSources": 2}]
    assert rows("fp", diaObjectId=rubin) == [{"r:diaObjectId": rubin, "r:psfFlux": 7}]
    assert rows("tags", tag="bright", n=1) == both[:1]
    assert rows("statistics", date="202603") == [{"f:night": "20260322", "f:alerts": 5}]
    assert "no table by tracklet" in refused(address, "rubin/tracklet", {"id": "TRCK_2026"})
    assert "is no name" in refused(address, "rubin/tags", {"tag": "../x"})
    assert "no table by anomaly" in refused(address, "rubin/anomaly", {})


def test_annotations_of_who_has_the_token(address, object_id):
    question = {"objectId": object_id, "kind": "remark", "value": "by the API", "who": "a script"}
    assert get(f"{address}/api/v1/annotations", question)[0] == 401
    mine = {"Authorization": f"Bearer {TOKEN}"}
    assert get(f"{address}/api/v1/annotations", question, **mine)[0] == 200
    said = json.loads(get(f"{address}/api/v1/annotations?objectId={object_id}")[2])
    assert ("by the API", "a script") in [(one["value"], one["who"]) for one in said]
    assert get(f"{address}/api/v1/annotations", question | {"kind": "Bad Kind"}, **mine)[0] == 400
    assert get(f"{address}/api/v1/annotations", question | {"objectId": "ZTF00aaaaaaa"}, **mine)[0] == 400


def test_whatever_is_asked_is_answered(address, object_id, rubin):
    """Questions made up from what the API says of itself: no fault of the server, and what is refused is refused in a line."""
    described = json.loads(get(f"{address}/api/v1/openapi.json")[2])
    known = [object_id, str(rubin), "bright", "RRLyr", "20260322", "i:jd,v:lapse", "TRCK_2019"]
    made = dict(questions(described, known))
    # Of what no service has written there is nothing to count.
    del made["/api/v1/status", "get"]
    assert len(made) > 80
    token = {"Authorization": f"Bearer {TOKEN}"}

    def check(one: tuple[str, Any]) -> None:
        path, body = one
        code, _, content = get(address + path, body, **token)
        assert code < 500, (path, body, content)
        if code >= 400:
            line = json.loads(content)["error"]
            assert line
            assert "\n" not in line

    rules = {"max_examples": FUZZED, "deadline": None, "database": None, "derandomize": True}
    for strategy in made.values():
        hypothesis_settings(**rules, suppress_health_check=list(HealthCheck))(given(strategy)(check))()


SCRIPT = """
import io, pickle, sys
import pandas as pd, requests

address, name, ra, dec = pickle.load(sys.stdin.buffer)
found = []
for path, body in (
    ("objects", {"objectId": name, "output-format": "json"}),
    ("conesearch", {"ra": str(ra), "dec": str(dec), "radius": 5}),
    ("latests", {"class": "RRLyr", "n": 5}),
):
    r = requests.post(f"{address}/api/v1/{path}", json=body)
    pdf = pd.read_json(io.BytesIO(r.content))
    found.append((r.status_code, pdf["i:objectId"].tolist(), pdf["i:candid"].tolist()))
pickle.dump(found, sys.stdout.buffer)
"""

# The toolkit's own parts, which need Django and a database, are stood in for; tom-fink itself is what is on PyPI.
TOM = """
import pickle, sys, types
from unittest.mock import MagicMock

folder, address, questions = pickle.load(sys.stdin.buffer)
sys.path.insert(0, folder)
base = types.ModuleType("tom_dataservices.dataservices")
base.DataService, base.QueryServiceError = type("DataService", (), {}), type("QueryServiceError", (Exception,), {})
for name in ("django", "django.forms", "tom_dataproducts", "tom_dataproducts.models", "tom_dataservices", "tom_dataservices.forms",
             "tom_targets", "tom_targets.models", "crispy_forms", "crispy_forms.layout", "markdown"):
    sys.modules[name] = MagicMock()
sys.modules["tom_dataservices.dataservices"] = base
from tom_fink import fink

fink.FinkDataService.base_url = address + "/api/v1/"
service = fink.FinkDataService()
empty = {"objectId": "", "conesearch": "", "classsearch": "", "classsearchdate": ""}
found = []
for question in questions:
    parameters = service.build_query_parameters(empty | question)
    found.append((service.query_service(parameters), service.query_targets(parameters)))
pickle.dump((fink.fink_version, found), sys.stdout.buffer)
"""


def as_a_user(script: str, *given: Any) -> Any:
    """What a script says that runs in an environment with requests and pandas, and nothing of the broker's."""
    python = jars.setup() / "fink-client" / "bin" / "python"
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    run = subprocess.run(
        [str(python), "-c", script], input=pickle.dumps(given), capture_output=True, env=environment, check=True, timeout=60
    )
    return pickle.loads(run.stdout)


def test_a_plain_script(address, expected, object_id):
    mine = sorted((row for row in expected("ztf") if row["i:objectId"] == object_id), key=lambda row: -row["i:jd"])
    curve, cone, newest = as_a_user(SCRIPT, address, object_id, mine[0]["i:ra"], mine[0]["i:dec"])
    assert curve == (200, [object_id] * 3, [row["i:candid"] for row in mine])
    assert cone == (200, [object_id], [mine[0]["i:candid"]])
    assert (newest[0], len(newest[1])) == (200, 5)


def test_tom_fink_2_0_1(address, expected, object_id):
    folder = Path(jars.setup()) / "tom"
    if not (folder / "tom_fink").is_dir():
        pytest.skip(f"no tom-fink: pip install --no-deps --target '{folder}' -r requirements-tom.txt")
    mine = [row for row in expected("ztf") if row["i:objectId"] == object_id]
    ra, dec = mine[0]["i:ra"], mine[0]["i:dec"]
    asked = (
        {"objectId": f" {object_id} "},
        {"conesearch": f"{ra}, {dec}, 5"},
        {"conesearch": SkyCoord(ra, dec, unit="deg").to_string("hmsdms", precision=3).replace(" ", ", ") + ", 5"},
        {"classsearch": "RRLyr, 4"},
        {"classsearchdate": "RRLyr, 1"},
    )
    version, (curve, cone, hours, newest, dated) = as_a_user(TOM, str(folder), address, asked)
    assert version == "2.0.1"
    assert sorted(row["i:candid"] for row in curve[0]) == sorted(row["i:candid"] for row in mine)
    [target] = curve[1]
    assert (target["name"], target["num_alerts"]) == (object_id, 3)
    assert target["jd_max"] == max(row["i:jd"] for row in mine)
    assert [row["name"] for row in cone[1]] == [row["name"] for row in hours[1]] == [object_id]
    assert sum(row["num_alerts"] for row in newest[1]) == 4
    assert dated == ([], []), "nothing new in the last day"
