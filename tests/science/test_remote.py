"""Modules that ask servers: patience, a rest for a server that is away, answers that are kept; against a real server on this machine."""

from __future__ import annotations

import importlib
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from fink_broker.config import Settings
from fink_broker.config.own import Science, ScienceModule
from fink_broker.config.sections import Raw2science
from fink_broker.science.module import Module
from fink_broker.science.registry import active
from fink_broker.surveys import get
from fink_broker.worker import batch, remote
from fink_broker.worker.calls import OBJECT
from fink_broker.worker.place import Place

ASK = """
import pandas as pd, requests
from fink_broker.science import outputs

@outputs(label="string", plx="float")
def ask(candid, ra):
    try:
        answer = requests.post("{url}", data=",".join(map(str, candid)))
        if answer.status_code != 200:
            return pd.Series([f"Fail {{answer.status_code}}"] * len(candid))
        return pd.Series(answer.text.split(";"))
    except (ConnectionError, TimeoutError):
        return pd.Series(["Fail,Fail"] * len(candid))

@outputs(bare="string")
def bare(candid):
    return pd.Series(requests.post("{url}", data=",".join(map(str, candid))).text.split(";"))
"""
KINDS = {"label": pa.string(), "plx": pa.float32(), "bare": pa.string()}


class Server(ThreadingHTTPServer):
    """Answers with a label for each id; can be told to be busy, or slow."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        # Who asks and does not wait for the answer is what is tested.
        self.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.asked: list[list[str]] = []
        self.busy = 0
        self.slow = 0.0


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        ids = self.rfile.read(int(self.headers["Content-Length"])).decode().split(",")
        server.asked.append(ids)
        time.sleep(server.slow)
        server.busy -= 1
        self.send_response(503 if server.busy >= 0 else 200)
        self.end_headers()
        self.wfile.write(";".join(f"star{one},{int(one) / 2 if int(one) % 2 else 'nan'}" for one in ids).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    # The real library, which pip brings along; the broker itself does not need it.
    monkeypatch.setitem(sys.modules, "requests", importlib.import_module("pip._vendor.requests"))
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(remote, "_servers", {})
    monkeypatch.setattr(remote, "PAUSE_S", 0.01)
    monkeypatch.setattr(remote, "TIMEOUT", (0.3, 0.3))
    monkeypatch.setattr(batch, "_said", set())
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(tmp_path: Path, server: Server):
    file = tmp_path / "ask.py"
    file.write_text(ASK.format(url=f"http://127.0.0.1:{server.server_port}/"))
    place = Place(tmp_path / "workers")

    def run(ids: list[int], name: str = "ask", *, offline: bool = False, objects: list[str] | None = None, **entry: object) -> pd.DataFrame:
        away = {"ask": "Fail,Fail", "bare": "Fail"}[name]
        one = ScienceModule.model_validate({"name": name, "function": str(file), "remote": True, "away": away} | entry)
        science = Science(modules=[one], offline=offline)
        modules: list[Module] = active(Settings(raw2science=Raw2science(modules=[]), science=science), get("ztf"))
        candid = pd.Series(ids)
        columns = {"candid": candid, "ra": candid * 1.0, OBJECT: pd.Series(objects or [f"object{one}" for one in ids])}
        return batch.run(modules, columns, KINDS, candid, place)

    return run


def test_answers_in_pieces(run, server: Server):
    table = run([1, 2, 3, 4, 5], batch=2)
    assert list(table["label"]) == [f"star{one}" for one in range(1, 6)]
    assert [None if pd.isna(value) else value for value in table["plx"]] == [0.5, None, 1.5, None, 2.5]
    assert server.asked == [["1", "2"], ["3", "4"], ["5"]]


def test_a_busy_server_is_asked_again(run, server: Server):
    server.busy = 1
    assert list(run([1])["label"]) == ["star1"]
    assert len(server.asked) == 2


def test_who_stays_away_is_left_alone_and_the_module_says_fail(run, server: Server):
    server.slow = 1.0
    for _ in range(3):
        table = run([1, 3])
        assert list(table["label"]) == ["Fail", "Fail"]
        assert table["plx"].isna().all()
    asked = len(server.asked)
    assert asked == 6
    began = time.monotonic()
    assert list(run([5])["label"]) == ["Fail"]
    assert time.monotonic() - began < 0.2
    assert len(server.asked) == asked


def test_a_module_that_does_not_catch_it_gets_its_value_too_and_is_counted(run, server: Server):
    server.shutdown()
    server.server_close()
    table = run([1, 2], "bare")
    assert list(table["bare"]) == ["Fail", "Fail"]
    assert all(texts[0].startswith("bare: Away: 127.0.0.1:") for texts in table["science_errors"])


def test_offline_nothing_is_asked(run, server: Server):
    table = run([1, 2], offline=True)
    assert list(table["label"]) == ["Fail", "Fail"]
    assert list(table["science_errors"]) == [None, None]
    assert server.asked == []


def test_answers_are_kept_by_object_but_not_what_failed(run, server: Server):
    assert list(run([1, 2], objects=["a", "b"], keep_hours=1)["label"]) == ["star1", "star2"]
    assert list(run([3, 4, 5], objects=["b", "c", "a"], keep_hours=1)["label"]) == ["star2", "star4", "star1"]
    assert server.asked == [["1", "2"], ["4"]]
    server.busy = 2
    assert list(run([6], objects=["d"], keep_hours=1)["label"]) == ["Fail 503"]
    assert list(run([7], objects=["d"], keep_hours=1)["label"]) == ["star7"]
    assert list(run([8], objects=["a"], keep_hours=1e-9)["label"]) == ["star8"]
