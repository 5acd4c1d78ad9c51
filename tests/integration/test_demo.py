"""fink demo as a user runs it, and its dashboard in a browser; then something is taken away, and the proof and the pages must notice."""

from __future__ import annotations

import gzip
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import happybase
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord
from pyspark.sql import SparkSession

from fink_broker import config, query
from fink_broker.config import CHECKOUT, Settings
from fink_broker.connectors import parquet
from fink_broker.connectors.hbase import SCHEMA_PREFIX, Client
from fink_broker.infra import kafka, processes
from fink_broker.monitoring.proof import Proof, prove
from fink_broker.query.pictures import png
from fink_broker.services import aggregation, archive, simulator
from fink_broker.services.context import Context, RunOptions
from fink_broker.surveys import get
from tests.browser import Browser, executable
from tests.integration.conftest import kill_tree

pytestmark = pytest.mark.integration

ALERTS = 120
MORE = 12


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Settings]]:
    """What a demo printed that left everything running, and its settings."""
    home = tmp_path_factory.mktemp("demo") / "a home"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FINK_") or key == "FINK_SETUP"}
    command = [sys.executable, "-m", "fink_broker.commands.demo", "--alerts", str(ALERTS), "--json", "--keep"]
    environment["FINK__HOME"] = str(home)
    ran = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=400, check=False)
    settings = config.load(str(home / "demo" / "fink.conf"), {})
    assert ran.returncode == 0, ran.stdout + ran.stderr
    yield ran.stdout, settings
    for running in reversed(processes.all_running(settings)):
        processes.stop(settings, running.name, say=lambda line: None)


def test_figures(demo: tuple[str, Settings]):
    printed, settings = demo
    figures = json.loads(printed.splitlines()[-1])
    assert figures["ok"]
    assert figures["sent"] == ALERTS
    stages = figures["stages"]
    assert (stages["stream2raw"]["in"], stages["stream2raw"]["out"], stages["stream2raw"]["rejected"]) == (ALERTS, ALERTS, 0)
    science = stages["raw2science"]
    assert science["in"] == ALERTS == science["out"] + science["cut"] + science["duplicate"]
    assert 0 < science["out"] == stages["distribution"]["in"] == stages["archive"]["in"] == figures["tables"]["ztf"]
    assert stages["distribution"]["messages"] == sum(figures["topics"].values()) > 0
    assert stages["archive"]["rows"] == sum(figures["tables"].values())
    assert figures["archive"] == {"raw": ALERTS, "science": science["out"]}
    assert set(figures["topics"]) == {f"fink_{name}_ztf" for name in settings.distribution.filters}
    assert figures["first_alert_s"] > 0
    assert 500 < figures["peak_memory_mb"] < 8000


def test_it_is_left_running(demo: tuple[str, Settings]):
    printed, settings = demo
    names = {running.name for running in processes.all_running(settings)}
    assert {"kafka", "hbase", "stream2raw", "raw2science", "distribution", "archive"} <= names
    assert str(settings.root / "fink.conf") in printed


@pytest.fixture(scope="module")
def browser(demo: tuple[str, Settings], spark: SparkSession) -> Iterator[Browser]:
    """The demo's dashboard in a browser, its alerts counted."""
    _, settings = demo
    chromium = executable()
    counting = Context(spark, settings, get("ztf"), RunOptions(once=True))
    counts = aggregation.start(counting)
    counts.awaitTermination()
    aggregation.settle(counting, counts)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("FINK_")} | {"FINK_DASHBOARD__PORT": "0"}
    command = [sys.executable, "-m", "fink_broker.commands.start", "ui", "-c", str(settings.root / "fink.conf")]
    subprocess.run(command, cwd=CHECKOUT, env=environment, check=True, capture_output=True)
    running = processes.find(settings, "dashboard")
    assert running is not None
    assert running.address is not None
    with Browser(chromium, running.address, settings.log("pages").parent / "pages") as opened:
        yield opened


@pytest.fixture(scope="module")
def science(demo: tuple[str, Settings]) -> list[dict]:
    """The demo's science alerts, out of their files."""
    columns = ["objectId", "candid", "candidate", "prv_candidates", "cutoutScience", "cutoutTemplate", "cutoutDifference", "cdsxmatch"]
    return pa.concat_tables(list(parquet.read(parquet.committed(demo[1].science), columns))).to_pylist()


def test_pages_of_the_broker(demo: tuple[str, Settings], browser: Browser, science: list[dict]):
    figures = json.loads(demo[0].splitlines()[-1])
    cut, night = ALERTS - len(science), simulator.tonight()
    assert cut == figures["stages"]["raw2science"]["cut"]
    browser.open("index.html")
    shown = {row[0]: row[1:5] for row in browser.rows("#services")}
    many = [str(len(science))] * 2
    assert shown["stream2raw"] == ["running", str(ALERTS), str(ALERTS), "0"]
    assert shown["raw2science"] == ["running", str(ALERTS), many[0], str(cut)]
    assert shown["distribution"] == shown["archive"] == ["running", *many, "0"]
    assert "all is well: sums meet; stopped: " in browser.page.inner_text("#verdict")
    assert [row[1] for row in browser.rows("#servers")] == ["answers"] * 3
    browser.picture("index")
    browser.open("history.html")
    assert browser.counts("#sums") == {"raw": ALERTS, "rejected": 0, "science": len(science)}
    assert browser.page.evaluate("document.getElementById('history').data[0].y.reduce((one, other) => one + other)") == ALERTS
    browser.page.select_option("#range", "604800")
    browser.picture("history")
    browser.open("aggregation.html")
    assert browser.rows("#nights") == [[night, str(ALERTS), "0", many[0]]]
    topics = {topic: number for topic, number in figures["topics"].items() if number}
    assert browser.counts("#filter-rows") == topics
    bands = [{1: "g", 2: "r", 3: "i"}[one["candidate"]["fid"]] for one in science]
    assert browser.counts("#band-rows") == {band: bands.count(band) for band in set(bands)}
    browser.page.select_option("#night", night)
    browser.picture("aggregation")
    browser.open("classification.html")
    assert sum(browser.counts("#class-rows").values()) == len(science)
    browser.picture("classification")
    browser.open("rejected.html")
    assert sum(int(row[2]) for row in browser.rows("#rejected")) == cut
    browser.picture("rejected")
    browser.open("filters.html")
    assert {row[0]: int(row[2]) for row in browser.rows("#filters")} == {
        topic.removeprefix("fink_").removesuffix("_ztf"): number for topic, number in figures["topics"].items()
    }
    browser.picture("filters")
    browser.open("api.html")
    shell, python = browser.page.locator("pre").all_inner_texts()
    assert browser.page.request.get(shlex.split(shell.splitlines()[0])[1]).json() == []
    found: dict = {}
    exec(python, found)
    assert found["objects"] == []
    browser.picture("api")
    assert browser.faults == []


def test_pages_of_what_was_found(browser: Browser, science: list[dict]):
    objects = [one["objectId"] for one in science]
    newest = max(science, key=lambda one: one["candidate"]["jd"])
    browser.open("sky.html")
    assert browser.page.inner_text("#shown") == f"all {len(science)} alerts of the night"
    assert browser.counts("#objects") == {name: objects.count(name) for name in set(objects)}
    places = browser.page.evaluate("document.getElementById('places').data.at(-1).x")
    assert len(places) == len(science)
    assert max(map(abs, places)) < 2**1.5
    some = browser.page.request.get(f"http://{browser.host}/api/v1/sky", params={"night": simulator.tonight(), "n": 10}).json()
    assert 0 < len(some) <= 10
    assert {one["object"] for one in some} <= set(objects)
    browser.picture("sky")
    browser.open(f"latest.html?class=Unknown&n={len(science)}")
    ids = {(row[0], row[1]) for row in browser.rows("#found")}
    assert ids == {(one["objectId"], str(one["candid"])) for one in science}
    browser.picture("latest")
    assert newest["candid"] > 2**53
    assert browser.rows("#found")[0][1] in {str(one["candid"]) for one in science if one["candidate"]["jd"] == newest["candidate"]["jd"]}
    assert browser.faults == []


def test_the_page_of_an_object(demo: tuple[str, Settings], browser: Browser, science: list[dict]):
    objects = [one["objectId"] for one in science]
    # Of those with most alerts, one that has neighbours.
    name = max(sorted(set(objects)), key=lambda one: (objects.count(one), len(around(science, one, 600))))
    alerts = sorted((one for one in science if one["objectId"] == name), key=lambda one: one["candidate"]["jd"])
    with query.Tables(demo[1]) as tables:
        query.annotate(tables, name, "comment", "<b>bright</b>", who="me")
    page = browser.open(f"object/{name}")
    curve = page.evaluate("document.getElementById('curve').data.map(({name, y, error_y}) => [name, y, error_y ? error_y.array : null])")
    points = {name: (values, errors) for name, values, errors in curve}
    for fid, band in ((1, "g"), (2, "r")):
        now = [one["candidate"] for one in alerts if one["candidate"]["fid"] == fid]
        # Before them may be measurements of bad quality.
        brightness, errors = (values[len(values) - len(now) :] for values in points.get(band, ([], [])))
        assert brightness == pytest.approx([one["magpsf"] for one in now])
        assert errors == pytest.approx([one["sigmapsf"] for one in now])
        before = {one["jd"]: one for alert in alerts for one in alert["prv_candidates"] or () if one["fid"] == fid}
        limits = [one["diffmaglim"] for one in before.values() if one["magpsf"] is None]
        assert sorted(points.get(f"{band}, upper limit", ([],))[0]) == pytest.approx(sorted(limits))
    assert page.eval_on_selector_all("#alert option", "all => all.map(one => one.value)") == [
        str(one["candid"]) for one in reversed(alerts)
    ]
    page.select_option("#alert", str(alerts[0]["candid"]))
    for kind in ("Science", "Template", "Difference"):
        image = page.locator(f"img[data-kind={kind}]")
        page.wait_for_function("image => image.complete && image.naturalWidth > 300", arg=image.element_handle())
        got = page.request.get(str(image.evaluate("image => image.src"))).body()
        assert got == png(gzip.decompress(alerts[0][f"cutout{kind}"]["stampData"]))
    page.select_option("#stretch", "log")
    assert page.request.get(str(image.evaluate("image => image.src"))).body() != got
    assert ["d:cdsxmatch", alerts[0]["cdsxmatch"]] in browser.rows("#values")
    assert [row[2:5] for row in browser.rows("#annotations")] == [["comment", "<b>bright</b>", "me"]]
    page.select_option("#radius", "600")
    page.wait_for_selector("#neighbours a")
    assert {row[0] for row in browser.rows("#neighbours")} == around(science, name, 600) - {name}
    browser.picture("object")
    assert browser.faults == []


def around(science: list[dict], name: str, arcsec: float) -> set[str]:
    """Objects whose last alert is near that of one."""
    last = {one["objectId"]: one["candidate"] for one in sorted(science, key=lambda one: one["candidate"]["jd"])}
    places = SkyCoord([one["ra"] for one in last.values()], [one["dec"] for one in last.values()], unit="deg")
    near = places.separation(places[list(last).index(name)]).arcsec <= arcsec
    return {one for one, there in zip(last, near, strict=True) if there}


def test_pages_are_used_by_the_keyboard(browser: Browser, science: list[dict]):
    """From the skip link through a cone to an object: its neighbours are those around the same position."""
    candidate, name = science[0]["candidate"], science[0]["objectId"]
    page = browser.open("cone.html")

    def focus() -> list[str]:
        found: list[str] = page.evaluate(
            "[document.activeElement.name || document.activeElement.innerText, getComputedStyle(document.activeElement).outlineStyle]"
        )
        return found

    page.keyboard.press("Tab")
    assert focus() == ["to the content", "solid"]
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    page.keyboard.press("Tab")
    assert focus() == ["index", "solid"]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    for value in (candidate["ra"], candidate["dec"], 20):
        page.keyboard.press("Tab")
        page.keyboard.press("Control+A")
        page.keyboard.type(str(value))
    page.keyboard.press("Enter")
    page.wait_for_selector("#found a")
    assert name in [row[0] for row in browser.rows("#found")]
    browser.picture("cone")
    page.focus("#found a")
    page.keyboard.press("Enter")
    page.wait_for_url("**/object/*")
    page.fill("header input[name=name]", name)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/object/{name}")
    page.wait_for_selector("main:not([aria-busy])")
    assert page.inner_text("h1") == name
    assert browser.faults == []


def test_what_is_taken_away_is_missed(demo: tuple[str, Settings], spark: SparkSession):
    _, settings = demo
    survey = get("ztf")
    sent = simulator.ids(settings, simulator.tonight())
    with Client(archive.place(settings)) as client:

        def again(ids: list[int]) -> Proof:
            users = kafka.connection(settings, settings.kafka.output)
            return prove(ids, spark=spark, settings=settings, survey=survey, connection=users, client=client, say=lambda _: None)

        before = again(sent)
        assert before.faults == []
        key = next(key for key, _ in client.scan("ztf") if not key.startswith(SCHEMA_PREFIX))
        with closing(happybase.Connection(client.place.host, client.place.port)) as connection:
            connection.table("ztf").delete(key)
        faults = again([*sent, 1]).faults
        assert f"table ztf: 1 missing, of {before.tables['ztf']}" in faults
        assert f"raw: 1 missing, of {ALERTS + 1}" in faults


def test_the_live_page_moves(demo: tuple[str, Settings], browser: Browser):
    _, settings = demo
    page = browser.open("live.html")
    assert browser.rows("#services")[0][:3] == ["stream2raw", "running", str(ALERTS)]
    before, moved = page.evaluate("document.getElementById('rates').data[0].x.length"), page.inner_text("#moved")
    simulator.send(settings, "20260322", MORE)
    page.wait_for_function(
        "many => document.querySelector('#services tbody').rows[0].cells[2].innerText === many", arg=str(ALERTS + MORE), timeout=60_000
    )
    assert page.inner_text("#moved") > moved
    assert page.evaluate("document.getElementById('rates').data[0].x.length") > before
    browser.picture("live")
    assert browser.faults == []


def test_what_is_down_is_said(demo: tuple[str, Settings], browser: Browser):
    _, settings = demo
    page = browser.open("live.html")
    for name in ("stream2raw", "hbase-thrift"):
        running = processes.find(settings, name)
        assert running is not None
        kill_tree(running.pid)
    page.wait_for_selector("#problem:has-text('stream2raw failed: ')")
    browser.open("object/ZTF18abcdefg")
    assert page.inner_text("#problem") == "HBase is not running on this machine: fink start hbase"
    browser.open("index.html")
    assert ["HBase", "does not answer", "that of this machine, which does not run: fink start hbase"] in browser.rows("#servers")
    assert "something is wrong" in page.inner_text("#verdict")
    browser.picture("down")
    browser.open("live.html")
    processes.stop(settings, "dashboard", say=lambda line: None)
    page.wait_for_selector("#problem:has-text('the dashboard does not answer: fink start dashboard')")


def test_expect():
    proof = Proof([])
    proof.expect("same", [2, 1], [1, 2])
    assert proof.faults == []
    proof.expect("x", [1, 1, 3], [1, 2])
    assert proof.faults == ["x: 1 missing, of 2", "x: 1 not expected, of 2", "x: 1 there more than once, of 2"]
