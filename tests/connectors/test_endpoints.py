"""Endpoints that take what they are given, refuse it, or are away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime

import pytest

from fink_broker.connectors.endpoints import Away, Refused, mail, post
from tests.outlets.endpoints import mailbox, web


def test_answers_of_http():
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    with web() as server:

        def ask(status: int, headers: dict[str, str] | None = None, text: str = "") -> None:
            server.answers = [(status, headers or {}, text)]
            post(server.url + "/a", b'{"b": 1}', {"Content-Type": "application/json", "X-Login": "c"}, "PUT")

        ask(204)
        method, path, headers, body = server.requests[-1]
        assert (method, path, headers["X-Login"], body) == ("PUT", "/a", "c", {"b": 1})
        for status in (400, 409, 413, 422):
            with pytest.raises(Refused, match=f"{status} .*: no such filter"):
                ask(status, text="no such\n filter" + 1000 * "x")
        for status in (401, 403, 404, 429, 500, 502, 503, 307, 302):
            with pytest.raises(Away, match=str(status)) as away:
                # One that wants another to be asked: not with this login.
                ask(status, {"Location": server.url + "/elsewhere"})
            assert away.value.after is None
        assert {path for _, path, _, _ in server.requests} == {"/a"}
        for text, seconds in (("7", 7), (later, 90), ("1e9", 3600), ("soon", None), ("-1", 0)):
            with pytest.raises(Away) as away:
                ask(429, {"Retry-After": text})
            assert away.value.after == (None if seconds is None else pytest.approx(seconds, abs=3))
    with pytest.raises(Away, match="refused"):
        post(server.url, b"", {}, "POST")


def test_mail():
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@b.org", "c@d.org", "Fink"
    message.set_content("± 0.1\n.\nend\n")
    with mailbox() as box:
        mail(box.url, None, message)
        assert "Subject: Fink" in box.mails[0]
        box.answer = "554 no"
        with pytest.raises(Refused, match="554"):
            mail(box.url, None, message)
        box.answer = "451 later"
        with pytest.raises(Away, match="451"):
            mail(box.url, None, message)
        with pytest.raises(Away, match="no encryption"):
            mail(box.url, ("me", "secret"), message)
    with pytest.raises(Away, match="refused"):
        mail(box.url, None, message)
