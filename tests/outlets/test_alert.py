"""What is told of an alert: the same names, whichever telescope it came from."""

from __future__ import annotations

import io
import json
import math
from datetime import UTC, datetime
from typing import Any

import fastavro
import pytest

from fink_broker import surveys
from fink_broker.outlets.alert import Alert, alert, decode

NOW = datetime(2026, 3, 22, 5, tzinfo=UTC)
ZTF: dict[str, Any] = {
    "objectId": "ZTF26aaaaaaa",
    "candid": 7,
    "candidate": {"jd": 2461121.75, "ra": 0.0, "dec": -1.5, "fid": 2, "magpsf": 18.9, "sigmapsf": 0.1, "isdiffpos": "f"},
}
RUBIN: dict[str, Any] = {
    "diaSourceId": 9,
    "diaSource": {
        "diaObjectId": 0,
        "ssObjectId": 21,
        "midpointMjdTai": 61121.25 + 37 / 86400,
        "ra": 10.0,
        "dec": 2.0,
        "band": "i",
        "psfFlux": -1000.0,
        "psfFluxErr": 100.0,
    },
}


def told(survey: str, record: dict[str, Any]) -> Alert:
    facts = surveys.get(survey).facts
    assert facts is not None
    return alert(record, facts, "a_topic", "7", NOW)


def test_of_ztf():
    found = told("ztf", ZTF)
    assert (found.name, found.ra, found.dec, found.mjd, found.band, found.passband) == ("ZTF26aaaaaaa", 0.0, -1.5, 61121.25, "r", "ztfr")
    assert (found.mag, found.mag_error, found.zero_point) == (18.9, 0.1, 23.9)
    # Fainter than in the reference image: 100 microjansky less.
    assert found.flux == pytest.approx(-100)
    assert found.flux_error == pytest.approx(100 * 0.1 * math.log(10) / 2.5)
    assert found.link == "https://ztf.fink-portal.org/ZTF26aaaaaaa"
    assert found.texts == {
        "id": "7",
        "name": "ZTF26aaaaaaa",
        "topic": "a_topic",
        "time": "2026-03-22 06:00:00 UTC",
        "ra": "0.00000",
        "dec": "-1.50000",
        "band": "r",
        "brightness": "18.90 ± 0.10 (fainter than the reference)",
        "link": found.link,
    }
    assert found.record is ZTF
    assert found.brief() == Alert(**{**vars(found), "record": {}})


def test_of_rubin():
    found = told("rubin", RUBIN)
    assert (found.name, found.ra, found.dec, found.band, found.passband) == ("21", 10.0, 2.0, "i", "lssti")
    assert found.mjd == pytest.approx(61121.25, abs=1e-9)
    assert (found.flux, found.flux_error, found.zero_point) == (-1000, 100, 31.4)
    assert found.mag == pytest.approx(23.9)
    assert found.mag_error == pytest.approx(0.1 * 2.5 / math.log(10))


def test_of_a_counterpart():
    found = told(
        "ztf", {"objectId": "ZTF26aaaaaaa", "ztf_ra": 1.0, "ztf_dec": 2.0, "jd": 2461121.75, "fid": 1, "magpsf": 20.0, "sigmapsf": 0.2}
    )
    assert (found.ra, found.dec, found.mjd, found.band, found.mag, found.flux) == (1.0, 2.0, 61121.25, "g", 20.0, pytest.approx(36.307805))


def test_what_is_not_known_is_said_so():
    found = told("rubin", {"diaSource": {"psfFlux": 0.0, "psfFluxErr": math.nan, "ra": None, "diaObjectId": 0}})
    assert found == Alert("a_topic", "7", NOW, flux=0.0, zero_point=31.4, record=found.record)
    assert (found.name, found.texts["brightness"], found.texts["time"], found.texts["ra"]) == ("7", "?", "?", "?")
    assert told("ztf", {}) == Alert("a_topic", "7", NOW)


def test_a_message_is_decoded_by_its_key():
    schema = {"type": "record", "name": "alert", "fields": [{"name": "candid", "type": "long"}]}
    value = io.BytesIO()
    fastavro.schemaless_writer(value, schema, {"candid": 7})
    key = json.dumps(schema).encode()
    assert decode(key, value.getvalue()) == {"candid": 7}
    for broken in ((b"{", value.getvalue()), (key, b""), (b"\xff", b"")):
        with pytest.raises(ValueError, match=r".+: "):
            decode(*broken)
