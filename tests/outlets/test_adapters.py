"""What each kind of outlet sends of an alert."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from fink_broker.outlets import Alert, Mail, Request
from fink_broker.outlets.adapters import email, notice, skyportal, tom, webhook

ALERT = Alert(
    "fink_bright_ztf",
    "7",
    datetime(2026, 3, 22, 6, 1, tzinfo=UTC),
    "ZTF26aaaaaaa",
    ra=10.5,
    dec=-1.5,
    mjd=61121.25,
    band="r",
    passband="ztfr",
    mag=18.9,
    mag_error=0.1,
    flux=100.0,
    flux_error=9.2,
    link="https://ztf.fink-portal.org/ZTF26aaaaaaa",
)
NOTHING = Alert("a_topic", "7", ALERT.published)


def text(request: Request) -> str:
    body: Any = request.body
    assert body == {"text": body["text"], "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": body["text"]}}]}
    assert (request.method, request.path) == ("POST", "")
    found: str = body["text"]
    return found


def test_webhook():
    [request] = webhook.single(ALERT, webhook.Options())
    line = "<https://ztf.fink-portal.org/ZTF26aaaaaaa|ZTF26aaaaaaa>: r 18.90 ± 0.10, 2026-03-22 06:00:00 UTC, RA 10.50000, Dec -1.50000"
    assert text(request) == f"{line} (fink_bright_ztf)"
    assert [text(one) for one in webhook.single(replace(ALERT, object="<!channel> & co"), webhook.Options(text="{name}!"))] == [
        "&lt;!channel&gt; &amp; co!"
    ]
    with pytest.raises(ValueError, match="'magpsf' is not one of id, name"):
        webhook.Options(text="{magpsf}")


def test_webhook_for_many():
    many = [replace(ALERT, object=f"ZTF{number}") for number in range(1000)] + [NOTHING]
    lines = text(webhook.summary(many, webhook.Options(text="{name}"))).splitlines()
    assert lines == ["1,001 alerts: 1,000 in fink_bright_ztf, 1 in a_topic", *(f"ZTF{number}" for number in range(15)), "… and 986 more"]
    assert len(text(webhook.summary(many, webhook.Options(text="{name}" * 100)))) == 3000


def test_email():
    mail = email.summary([ALERT, replace(NOTHING, object="ZTF26bbbbbbb")], email.Options(to=["a@b.org", "c@d.org"], sender="fink@b.org"))
    assert mail == Mail("fink@b.org", ["a@b.org", "c@d.org"], "Fink: 2 alerts, fink_bright_ztf, a_topic", mail.text)
    lines = [" ".join(line.split()) for line in mail.text.splitlines()]
    assert lines == [
        "1 fink_bright_ztf",
        "1 a_topic",
        "",
        f"2026-03-22 06:00:00 UTC ZTF26aaaaaaa r 18.90 ± 0.10 10.50000 -1.50000 fink_bright_ztf {ALERT.link}",
        "? ZTF26bbbbbbb ? ? ? ? a_topic",
    ]
    assert email.summary([ALERT] * 501, email.Options(to=["a@b.org"], sender="fink@b.org")).text.endswith("\n... and 1 more\n")
    with pytest.raises(ValueError, match="to"):
        email.Options(to=[], sender="fink@b.org")


def test_notice():
    assert notice.single(ALERT, notice.Options(type="ot_sn", error_arcsec=3.6)) == [
        Request(
            {
                "timestamp": "2026-03-22 06:00:00",
                "trigger_id": "fink_7",
                "source_name": "ZTF26aaaaaaa",
                "ra": 10.5,
                "dec": -1.5,
                "type": "ot_sn",
                "observatory": "fink",
                "err": 0.001,
                "topic": "fink_bright_ztf",
                "url": ALERT.link,
                "transient_flux": 18.9,
                "transient_flux_units": "mag",
                "photometry": {"ztfr": {"last": {"time": "2026-03-22 06:00:00", "filter": "ztfr", "mag": 18.9, "mag_err": 0.1}}},
            }
        )
    ]
    [without] = notice.single(NOTHING, notice.Options())
    assert (without.body["timestamp"], without.body["ra"], "photometry" in without.body) == ("2026-03-22 06:01:00", None, False)


def test_skyportal():
    candidate, photometry = skyportal.single(ALERT, skyportal.Options(filter_ids=[1, 2], group_ids=[3], instrument_id=4))
    passed = {"filter_ids": [1, 2], "passed_at": "2026-03-22T06:01:00+00:00"}
    assert candidate == Request({"id": "ZTF26aaaaaaa", "ra": 10.5, "dec": -1.5, **passed}, "/api/candidates", known=candidate.known)
    assert photometry == Request(
        {
            **{"obj_id": "ZTF26aaaaaaa", "instrument_id": 4, "mjd": 61121.25, "filter": "ztfr", "flux": 100.0, "fluxerr": 9.2, "zp": 23.9},
            **{"magsys": "ab", "ra": 10.5, "dec": -1.5, "origin": "fink", "group_ids": [3]},
        },
        "/api/photometry",
        method="PUT",
    )
    source = Request({"id": "7", "ra": None, "dec": None, "group_ids": [3]}, "/api/sources")
    assert skyportal.single(NOTHING, skyportal.Options(group_ids=[3], instrument_id=4)) == [source]
    with pytest.raises(ValueError, match="give filter_ids"):
        skyportal.Options(instrument_id=4)


def test_tom():
    [target] = tom.single(ALERT, tom.Options(groups=[5]))
    assert target == Request(
        {
            **{"name": "ZTF26aaaaaaa", "type": "SIDEREAL", "ra": 10.5, "dec": -1.5, "epoch": 2000.0, "groups": [{"id": 5}]},
            "targetextra_set": [
                {"key": "fink_topic", "value": "fink_bright_ztf"},
                {"key": "fink_id", "value": "7"},
                {"key": "fink_link", "value": ALERT.link},
            ],
        },
        "/api/targets/",
        known=target.known,
    )
