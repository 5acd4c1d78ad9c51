"""Pages, API and metrics of a dashboard whose broker has done nothing yet."""

from __future__ import annotations

import html
import json
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.served import get

NAMES = "index live history aggregation classification sky filters rejected latest cone api"
PAGES = ("", *(f"{name}.html" for name in NAMES.split()))


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_there_and_say_what_they_may_load(address: str, page: str) -> None:
    code, headers, body = get(f"{address}/{page}")
    assert code == 200
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    text = body.decode()
    assert 'src="http' not in text
    assert 'href="http' not in text


def test_what_pages_load_is_there(address: str) -> None:
    for path, what in (("/static/pages.js", b"import"), ("/static/style.css", b"body"), ("/static-plotly.js", b"plotly.js")):
        code, _, body = get(address + path)
        assert code == 200
        assert what in body


def test_names_of_objects_cannot_be_scripts(address: str) -> None:
    code, _, body = get(f"{address}/object/%22%3E%3Cscript%3Ealert(1)")
    assert code == 200
    assert b"&lt;script&gt;alert" in body
    assert b"<script>alert" not in body


def test_an_object_is_found_by_its_name(address: str) -> None:
    code, _, body = get(f"{address}/object?name=%20ZTF18abcdefg%20")
    assert code == 200
    assert b'data-object="ZTF18abcdefg"' in body


def test_the_page_of_the_api_names_every_call_and_parameter(address: str) -> None:
    page = html.unescape(get(f"{address}/api.html")[2].decode())
    for path, methods in json.loads(get(f"{address}/api/v1/openapi.json")[2])["paths"].items():
        assert f"<code>{path.replace('/ztf/', '/')}</code>" in page
        assert all(f"<code>{one['name']}</code>" in page for method in methods.values() for one in method.get("parameters", ()))


def test_servers_that_do_not_run_are_said(address: str) -> None:
    found = {one["what"]: (one["ok"], one["text"]) for one in json.loads(get(f"{address}/servers")[2])}
    assert found["HBase"] == (None, "that of this machine, which does not run: fink start hbase")
    assert not found["Kafka in"][0]


def test_the_state_of_the_services(address: str) -> None:
    code, _, body = get(f"{address}/api/v1/status")
    state = json.loads(body)
    assert code == 200
    assert state["ok"]
    assert state["services"]["stream2raw"]["state"] == "stopped"
    assert json.loads(get(f"{address}/api/v1/nights")[2]) == json.loads(get(f"{address}/api/v1/sky?night=20260322")[2]) == []
    assert sum(json.loads(get(f"{address}/api/v1/history")[2])["raw"]) == 0
    assert json.loads(get(f"{address}/api/v1/counts")[2]) == {}
    assert {"bright", "rising"} <= json.loads(get(f"{address}/api/v1/tags")[2]).keys()


def test_metrics_are_what_prometheus_reads(address: str) -> None:
    code, _, body = get(f"{address}/metrics")
    assert code == 200
    families = {one.name: one for one in text_string_to_metric_families(body.decode())}
    assert families["fink_sums_meet"].samples[0].value == 1
    up = {sample.labels["service"]: sample.value for sample in families["fink_service_up"].samples}
    assert up["stream2raw"] == 0
    assert {"fink_alerts_in", "fink_lag_alerts", "fink_disk_free_bytes"} <= families.keys()


def test_events_go_on(address: str) -> None:
    with urllib.request.urlopen(f"{address}/events", timeout=10) as answer:
        for _ in range(2):
            line = answer.readline()
            assert line.startswith(b"data: ")
            assert json.loads(line[6:])["ok"]
            assert answer.readline() == b"\n"


def test_without_hbase_a_question_says_what_to_do(address: str) -> None:
    for body in (None, {"objectId": "ZTF18abc"}):
        path = "/api/v1/ztf/objects" + ("" if body else "?objectId=ZTF18abc")
        code, _, answer = get(address + path, body)
        assert code == 503
        assert "fink start hbase" in json.loads(answer)["error"]
