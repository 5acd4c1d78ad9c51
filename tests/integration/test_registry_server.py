"""The real schema registry keeps what it has acknowledged, listens on this machine only and says what is wrong in one line."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import psutil
import pytest

from fink_broker.config import Settings
from fink_broker.config.sections import SchemaRegistry
from fink_broker.connectors import schemas
from fink_broker.errors import ServerUnavailable
from fink_broker.infra import processes, registry

pytestmark = pytest.mark.integration

SCHEMA = json.dumps({"type": "record", "name": "alert", "fields": [{"name": "x", "type": "int"}]})


def quiet(line: str) -> None:
    """Say nothing."""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Settings]:
    """A HOME with an awkward name, whose registry is stopped at the end."""
    settings = Settings(home=tmp_path / "hôme; & $more ${x}", registry=SchemaRegistry(port=0))
    yield settings
    processes.stop(settings, registry.NAME, say=quiet)


def ask(url: str, body: dict[str, Any] | None = None) -> Any:
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/vnd.schemaregistry.v1+json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        return json.load(answer)


def test_it_keeps_schemas_over_a_kill_and_a_stop(home: Settings) -> None:
    first = registry.start(home)
    assert registry.start(home) == first
    number = ask(f"{registry.address(home)}/subjects/alert/versions", {"schema": SCHEMA})["id"]
    os.kill(first.pid, signal.SIGKILL)
    psutil.Process(first.pid).wait(10)
    with pytest.raises(ServerUnavailable, match="fink start registry"):
        registry.address(home)

    second = registry.start(home)
    assert json.loads(ask(f"{registry.address(home)}/schemas/ids/{number}")["schema"]) == json.loads(SCHEMA)
    process = psutil.Process(second.pid)
    assert {one.laddr.ip for one in process.net_connections() if one.status == psutil.CONN_LISTEN} == {"127.0.0.1"}
    assert process.memory_info().rss < 500_000_000
    processes.stop(home, registry.NAME, say=quiet)
    assert processes.all_running(home) == []

    registry.start(home)
    assert ask(f"{registry.address(home)}/subjects") == ["alert"]
    # All that it writes is below HOME, whatever its name.
    assert sorted(path.name for path in home.root.iterdir()) == ["log", "registry", "run"]
    assert sorted(path.name for path in home.root.parent.iterdir()) == [home.root.name]


def test_a_taken_port_is_named(home: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        taken = home.model_copy(update={"registry": SchemaRegistry(port=port)})
        with pytest.raises(ServerUnavailable, match=rf"port {port} for the schema registry is taken: set \[registry\] port"):
            registry.start(taken)


def test_one_that_ends_while_it_starts_points_to_its_log(home: Settings) -> None:
    with pytest.raises(ServerUnavailable, match=r"the schema registry ended while it started; its log is .*/log/registry\.log"):
        registry.start(home.model_copy(update={"registry": SchemaRegistry(port=0, heap="1")}))
    assert processes.all_running(home) == []


def test_schemas_are_read_from_it_by_their_id(home: Settings) -> None:
    registry.start(home)
    subjects = f"{registry.address(home)}/subjects"
    point = '{"type": "record", "name": "point", "namespace": "t", "fields": [{"name": "ra", "type": "double"}]}'
    alert = '{"type": "record", "name": "alert", "namespace": "t", "fields": [{"name": "now", "type": "t.point"}]}'
    ask(f"{subjects}/point/versions", {"schema": point})
    whole = ask(f"{subjects}/alert/versions", {"schema": SCHEMA})["id"]
    reference = {"name": "t.point", "subject": "point", "version": 1}
    in_parts = ask(f"{subjects}/parts%20of%2Fone/versions", {"schema": alert, "references": [reference]})["id"]

    known = schemas.source("local", home).known()
    assert sorted(json.loads(text)["name"].removeprefix("t.") for text in known.values()) == ["alert", "alert", "point"]
    source = schemas.source(registry.address(home), home)
    assert json.loads(source.by_id(whole) or "") == json.loads(SCHEMA)
    schema = json.loads(source.by_id(in_parts) or "")
    data = io.BytesIO()
    fastavro.schemaless_writer(data, schema, {"now": {"ra": 1.5}})
    assert fastavro.schemaless_reader(io.BytesIO(data.getvalue()), schema, None) == {"now": {"ra": 1.5}}
    assert source.by_id(4_000_000_000) is None
    processes.stop(home, registry.NAME, say=quiet)
    assert source.by_id(whole) is not None  # an id means the same for ever
    with pytest.raises(ServerUnavailable, match="does not answer"):
        source.known()
