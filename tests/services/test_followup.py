"""Follow-up, asked for at servers that answer as SkyPortal and the TOM Toolkit do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from fink_broker import query
from fink_broker.commands import followup as command
from fink_broker.config import Settings
from fink_broker.connectors import endpoints
from fink_broker.errors import FinkError, UsageError
from fink_broker.outlets.registry import ways
from fink_broker.services import followup
from fink_broker.surveys import get
from tests.outlets.endpoints import Web, web

LAST = {
    **{"i:objectId": "ZTF26aaaaaaa", "i:candid": 12, "i:jd": 2461121.75, "i:ra": 10.5, "i:dec": -1.5, "i:fid": 2},
    **{"i:magpsf": 18.9, "i:sigmapsf": 0.1, "i:isdiffpos": "t"},
}
PAYLOAD = {"priority": 5, "exposure_time": 300}
SKYPORTAL = {"group_ids": [3], "instrument_id": 1, "followup": {"allocation_id": 4, "payload": PAYLOAD}}
TOM = {"followup": {"facility": "LCO", "observation_type": "IMAGING", "observing_parameters": {"ipp_value": 1.0}}}
TARGETS, OBSERVATIONS = "/api/targets/?name=ZTF26aaaaaaa", "/api/observations/?target_id=7&facility=LCO"


class Tables:
    """The tables that are asked for the object's last alert."""

    def __init__(self, survey: str = "ztf") -> None:
        self.survey = get(survey)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    def light_curve(_: Any, name: str) -> pa.Table:
        rows = [{**LAST, "i:jd": 1.0, "i:ra": 0.0}, LAST]
        return pa.Table.from_pylist(rows if name == LAST["i:objectId"] else [])

    monkeypatch.setattr(query, "light_curve", light_curve)
    with web() as found:
        yield found


def settings(server: Web, kind: str, options: dict[str, Any], **more: Any) -> Settings:
    outlet = {"name": "spectra", "kind": kind, "url": server.url, "options": options, **more}
    return Settings.model_validate({"outlets": [outlet], "secrets": {"spectra": "hunter2"}, "wait": {"seconds": 5}})


def ask(found: Settings, *, send: bool = True, name: str = "ZTF26aaaaaaa", to: str = "spectra") -> list[str]:
    return followup.ask(found, Tables(), name, to, send=send)  # type: ignore[arg-type]


def asked(server: Web) -> list[tuple[str, str]]:
    return [(method, path) for method, path, _, _ in server.requests]


def test_skyportal_gets_the_source_and_then_the_request(server: Web):
    ask(settings(server, "skyportal", SKYPORTAL))
    assert asked(server) == [("POST", "/api/sources"), ("PUT", "/api/photometry"), ("POST", "/api/followup_request")]
    assert server.bodies[0] == {"id": "ZTF26aaaaaaa", "ra": 10.5, "dec": -1.5, "group_ids": [3]}
    assert server.bodies[1]["mjd"] == 61121.25
    expected = {"obj_id": "ZTF26aaaaaaa", "allocation_id": 4, "payload": PAYLOAD, "target_group_ids": [], "not_if_duplicates": True}
    assert server.bodies[2] == expected
    assert {headers["Authorization"] for _, _, headers, _ in server.requests} == {"token hunter2"}


def test_tom_gets_the_target_and_then_an_observation_of_it(server: Web):
    server.answers = [(201, {}, json.dumps({"id": 7, "name": "ZTF26aaaaaaa"})), (200, {}, json.dumps({"count": 0, "results": []}))]
    ask(settings(server, "tom", TOM))
    assert asked(server) == [("POST", "/api/targets/"), ("GET", OBSERVATIONS), ("POST", "/api/observations/")]
    assert server.bodies[2] == {"target_id": 7, **TOM["followup"]}


def test_tom_has_the_target_and_an_observation_of_it_already(server: Web):
    known = (400, {}, json.dumps({"name": ["target with this name already exists."]}))
    results = {"count": 2, "results": [{"id": 6, "name": "ZTF26aaaaaaaa"}, {"id": 7, "name": "ZTF26aaaaaaa"}]}
    server.answers = [known, (200, {}, json.dumps(results)), (200, {}, json.dumps({"count": 1, "results": [{}]}))]
    ask(settings(server, "tom", TOM))
    assert asked(server) == [("POST", "/api/targets/"), ("GET", TARGETS), ("GET", OBSERVATIONS)]


def test_nothing_is_sent_unless_that_is_said(server: Web):
    lines = ask(settings(server, "skyportal", SKYPORTAL), send=False)
    assert server.requests == []
    assert [line.partition(" {")[0] for line in lines] == ["POST /api/sources", "PUT /api/photometry", "POST /api/followup_request"]
    # So too by a rule: it is there for `fink followup` alone without filters; with some, notify prints until told otherwise.
    by_rule = settings(server, "tom", TOM, filters=["bright"])
    assert by_rule.outlets[0].is_dry_run
    assert [way.topics for way in ways(by_rule, get("ztf"))] == ["fink_bright_ztf"]
    assert not settings(server, "tom", TOM, filters=["bright"], dry_run=False).outlets[0].is_dry_run
    assert [way.topics for way in ways(settings(server, "tom", TOM), get("ztf"))] == [""]


def test_it_is_tried_again(server: Web):
    server.answers = [(429, {"Retry-After": "0"}, "slow down"), (500, {"Retry-After": "0"}, "oops"), (200, {}, "{}")]
    ask(settings(server, "skyportal", SKYPORTAL))
    assert [path for _, path in asked(server)] == ["/api/sources"] * 3 + ["/api/photometry", "/api/followup_request"]


def test_who_refuses_and_who_does_not_answer_is_named_without_the_secret(server: Web, monkeypatch: pytest.MonkeyPatch):
    server.answers = [(200, {}, "{}"), (200, {}, "{}"), (400, {}, "no allocation 4 for hunter2")]
    with pytest.raises(FinkError, match=r"spectra has not taken it: refused: 400 Bad Request: no allocation 4 for \*\*\*"):
        ask(settings(server, "skyportal", SKYPORTAL))
    monkeypatch.setattr(endpoints, "_PATIENCE_S", 0.1)
    monkeypatch.setattr(followup, "_PATIENCE_S", 0.0)
    server.held.clear()
    with pytest.raises(FinkError, match=r"spectra did not take it: .*timed out"):
        ask(settings(server, "skyportal", SKYPORTAL))
    server.held.set()


def test_what_there_is_not_is_said(server: Web):
    found = settings(server, "tom", TOM)
    with pytest.raises(UsageError, match="there is no object 'ZTF26zzzzzzz'"):
        ask(found, name="ZTF26zzzzzzz")
    with pytest.raises(UsageError, match="no outlet 'chat' asks for follow-up; there are: spectra"):
        ask(found, to="chat")


def test_the_command_says_what_it_does(server: Web, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Any):
    class Open(Tables):
        def __init__(self, _: Settings) -> None:
            super().__init__()

        def __enter__(self) -> Open:
            return self

        def __exit__(self, *_: object) -> None: ...

    found = settings(server, "skyportal", SKYPORTAL).model_copy(update={"home": tmp_path})
    monkeypatch.setattr(command, "Tables", Open)
    monkeypatch.setattr(command.config, "load", lambda _: found)
    monkeypatch.setattr(command.log, "to_file", lambda _: None)
    assert command.main(["ZTF26aaaaaaa", "--to", "spectra"]) == 0
    assert capsys.readouterr().out.endswith("nothing was sent: --send does it\n")
    assert command.main(["ZTF26aaaaaaa", "--to", "spectra", "--send", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sent"]
    assert len(server.requests) == 3
