"""What the API refuses, and how it says so; what it describes; who may write, how often and how much may be asked."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from fink_broker import config
from fink_broker.config import Settings
from fink_broker.config.sections import Dashboard
from fink_broker.errors import ConfigError
from fink_broker.web.guard import Guard, Rate
from fink_broker.web.writing import token
from tests.served import get, served

TOKEN = "0123456789abcdef-long"


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/objects", {}, "objectId: Field required"),
        ("/objects", {"objectId": " , "}, "objectId: give 1 to 1000 names"),
        ("/objects", {"objectId": "\ud800"}, "objectId: "),
        ("/objects", {"objectId": "a," + "x" * 201}, "objectId: a name has 200 characters at most"),
        ("/cutouts", {"objectId": "x" * 201}, "objectId: a name has 200 characters at most"),
        ("/latests", {"class": "SN", "startdate": "\ud800"}, "startdate: "),
        ("/conesearch", {"ra": "nonsense", "dec": 0, "radius": 1}, "ra: 'nonsense' is no angle"),
        ("/conesearch", {"ra": 10, "dec": 91, "radius": 1}, "dec: Input should be less than or equal to 90"),
        ("/conesearch", {"ra": 10, "dec": 9, "radius": -1}, "radius: Input should be greater than 0"),
        ("/latests", {"class": "SN", "n": 10**9}, "n: Input should be less than"),
        ("/latests", {"class": "SN", "trend": "rising"}, "trend: trends are not worked out here"),
        ("/objects", {"objectId": "x", "output-format": "xml"}, "output-format: Input should be 'json', 'csv'"),
        ("/sso", {"n_or_d": "8467", "withEphem": True}, "withEphem: ephemerides"),
        ("/cutouts", {"objectId": "x", "kind": "Colour"}, "kind: "),
        ("/cutouts", {"objectId": "x", "colormap": "Blues"}, "colormap: pictures are grey"),
        ("/sky?night=today", None, "night: "),
        ("/objects", b"{", "JSON decode error"),
        ("/rubin/fp", {"objectId": 1, "skip": -1}, "skip: "),
    ],
)
def test_questions_that_cannot_be_answered_are_refused_in_a_line(address: str, path: str, body: Any, says: str) -> None:
    code, _, answer = get(f"{address}/api/v1{path}", body)
    [line] = json.loads(answer).values()
    assert (code, line[: len(says)]) == (422, says)
    assert "\n" not in line


def test_paths_that_are_not_there(address: str) -> None:
    for path, body, code in (("/nothing", None, 404), ("/status", {}, 405), ("/ztf/sources", None, 404), ("/lsst/objects", None, 404)):
        found, _, answer = get(f"{address}/api/v1{path}", body)
        assert found == code
        assert json.loads(answer)["error"]


def test_the_api_describes_itself(address: str) -> None:
    described = json.loads(get(f"{address}/api/v1/openapi.json")[2])["paths"]
    both = "conesearch latests sso tracklet statistics resolver cutouts anomaly skymap tags objects"
    for survey in ("", "ztf/", "rubin/"):
        for name in both.split():
            assert described[f"/api/v1/{survey}{name}"].keys() == {"get", "post"}, name
        for name in ("classes", "schema", "blocks"):
            assert described[f"/api/v1/{survey}{name}"].keys() == {"get"}, name

    def parameters(path: str) -> set[str]:
        return {one["name"] for one in described[f"/api/v1/{path}"]["get"]["parameters"]}

    assert {"objectId", "columns", "withupperlim", "withcutouts", "output-format"} <= parameters("objects")
    assert {"diaObjectId", "columns", "output-format"} <= parameters("rubin/sources") & parameters("rubin/fp") & parameters("rubin/objects")
    assert {"diaObjectId", "diaSourceId"} <= parameters("rubin/cutouts")
    assert "name_or_id" in parameters("rubin/resolver")
    assert {"name", "resolver", "reverse", "nmax"} <= parameters("resolver")


def test_without_a_token_nothing_is_written(address: str) -> None:
    for path, body in (("/annotations", {}), ("/filters/bright", {"on": False}), ("/rubin/annotations", {})):
        code, _, answer = get(f"{address}/api/v1{path}", body, Authorization=f"Bearer {TOKEN}")
        assert code == 403
        assert "token_file" in json.loads(answer)["error"]


def test_who_has_the_token_switches_filters(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "token").chmod(0o600)
    settings = Settings(home=tmp_path, dashboard=Dashboard(token_file=tmp_path / "token"))
    note = settings.filter_notes / "off" / "bright.json"
    with served(settings) as address:
        for header in ({}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Basic {TOKEN}"}):
            code, headers, answer = get(f"{address}/api/v1/filters/bright", {"on": False}, **header)
            assert (code, headers["www-authenticate"]) == (401, "Bearer")
            assert json.loads(answer)["error"] == "writing needs the header Authorization: Bearer <token>"
        assert not note.exists()
        mine = {"Authorization": f"Bearer {TOKEN}"}
        assert get(f"{address}/api/v1/filters/bright", {"on": False}, **mine)[0] == 200
        assert json.loads(note.read_text())["reason"] == "switched off by the API"
        assert get(f"{address}/api/v1/filters/bright", {"on": True}, **mine)[0] == 200
        assert not note.exists()
        for name, code in (("none", 400), ("..%2F..%2Fbright", 404), ("Bright", 422)):
            assert get(f"{address}/api/v1/filters/{name}", {"on": False}, **mine)[0] == code


def test_the_token_is_kept_as_other_secrets(tmp_path: Path) -> None:
    assert token(Settings(home=tmp_path)).get_secret_value() == ""
    (tmp_path / "fink.conf").write_text(f'home = "{tmp_path}"\n')
    settings = config.load(str(tmp_path / "fink.conf"), {"FINK_DASHBOARD__TOKEN": "1234567890123456"})
    assert token(settings).get_secret_value() == "1234567890123456"
    assert "1234567890123456" not in repr(settings) + repr(token(settings))
    (tmp_path / "open").write_text(TOKEN)
    (tmp_path / "open").chmod(0o640)
    for dashboard, says in (
        (Dashboard(token_file=tmp_path / "open"), "chmod 600"),
        (Dashboard(token_file=tmp_path / "none"), "cannot read"),
        (Dashboard.model_validate({"token": "short"}), "fewer than 16"),
    ):
        with pytest.raises(ConfigError, match=says):
            token(Settings(home=tmp_path, dashboard=dashboard))


def test_a_rate_is_exact() -> None:
    now = 100.0
    rate = Rate(per_second=10, at_once=3, clock=lambda: now)
    assert [rate.wait("one") == 0 for _ in range(4)] == [True, True, True, False]
    assert rate.wait("one") == pytest.approx(0.1, abs=1e-6)
    assert rate.wait("other") == 0, "others are not concerned"
    now += 0.0999
    assert rate.wait("one") > 0
    now += 0.0001
    assert [rate.wait("one") == 0 for _ in range(2)] == [True, False], "what is refused is not counted"
    now += 1_000
    assert [rate.wait("one") == 0 for _ in range(4)] == [True, True, True, False], "a long rest gives no more"
    asked = 0
    for _ in range(10_000):
        asked += rate.wait("third") == 0
        now += 0.001
    assert asked == 102  # ten seconds, ten a second, and two at once before
    assert all(Rate(per_second=0, at_once=1).wait("x") == 0 for _ in range(100))


def test_who_asks_too_often_or_sends_too_much_is_refused(tmp_path: Path) -> None:
    limits = Dashboard(rate_per_second=0.01, rate_at_once=3, max_body_mb=1)
    with served(Settings(home=tmp_path, dashboard=limits)) as address:
        assert get(f"{address}/api/v1/skymap", {"file": "x" * 1_000_000})[0] == 413
        assert get(f"{address}/api/v1/skymap", b"", **{"Content-Length": "x"})[0] == 400
        assert [get(f"{address}/api/v1/nights")[0] for _ in range(3)] == [200, 200, 429]
        code, headers, answer = get(f"{address}/api/v1/nights")
        assert code == 429
        assert 90 <= int(headers["retry-after"]) <= 101
        assert headers["x-content-type-options"] == "nosniff"
        assert "too many questions" in json.loads(answer)["error"]
        assert get(f"{address}/index.html")[0] == 200, "pages are not counted"


def test_some_questions_are_worked_on_at_once_and_slow_readers_hold_nobody_up() -> None:
    async def all_of_it() -> None:
        work, read = asyncio.Event(), asyncio.Event()
        at_work: list[int] = []
        codes: list[int] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            at_work.append(1)
            await work.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                codes.append(message["status"])
            else:
                await read.wait()

        guard = Guard(app, Dashboard(rate_per_second=0))
        scope = {"type": "http", "path": "/api/v1/objects", "client": ("127.0.0.1", 1), "method": "GET", "headers": []}
        asked = [asyncio.create_task(guard(dict(scope), None, send)) for _ in range(208)]  # type: ignore[arg-type]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (len(at_work), codes) == (8, [])
        page = asyncio.create_task(guard({**scope, "path": "/index.html"}, None, send))  # type: ignore[arg-type]
        more = asyncio.create_task(guard(dict(scope), None, send))  # type: ignore[arg-type]
        while not codes:
            await asyncio.sleep(0)
        assert (len(at_work), codes) == (9, [503])
        # Who goes away while waiting leaves the place to another.
        gone = asked.pop()
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        asked.append(asyncio.create_task(guard(dict(scope), None, send)))  # type: ignore[arg-type]
        # Nobody reads; all are answered nevertheless.
        work.set()
        async with asyncio.timeout(10):
            while len(codes) < 210:
                await asyncio.sleep(0)
        read.set()
        await asyncio.gather(*asked, page, more)
        assert sorted(codes) == [200] * 209 + [503]

    asyncio.run(all_of_it())
