"""Schemas of alerts that come without, from folders and from a registry: complete, by their id, or one line that says what is wrong."""

from __future__ import annotations

import io
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fastavro
import pytest
from pyspark.sql import SparkSession

from fink_broker.config import CHECKOUT, Settings
from fink_broker.connectors.schemas import Folder, Registry, source
from fink_broker.errors import ConfigError, ServerUnavailable

POINT = {"type": "record", "namespace": "t.v1_2", "name": "point", "fields": [{"name": "ra", "type": "double"}]}
ALERT = {
    "type": "record",
    "namespace": "t.v1_2",
    "name": "alert",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "now", "type": "t.v1_2.point"},
        {"name": "before", "type": ["null", {"type": "array", "items": "t.v1_2.point"}], "default": None},
    ],
}
VALUE = {"id": 7, "now": {"ra": 1.5}, "before": [{"ra": 2.5}, {"ra": 3.5}]}
SIMPLE = '{"type": "record", "name": "simple", "fields": [{"name": "x", "type": "int"}]}'


def encoded(text: str, value: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, json.loads(text), value)
    return out.getvalue()


def decoded(text: str, data: bytes) -> Any:
    return fastavro.schemaless_reader(io.BytesIO(data), json.loads(text), None)


def write(folder: Path, **schemas: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas.items():
        (folder / f"{name.replace('__', '.')}.avsc").write_text(schema if isinstance(schema, str) else json.dumps(schema))


def test_files_named_after_their_id(tmp_path: Path) -> None:
    write(tmp_path, **{"7": SIMPLE, "12": '"string"'})
    folder = Folder(tmp_path)
    assert {number: json.loads(text) for number, text in folder.known().items()} == {7: json.loads(SIMPLE), 12: "string"}
    assert folder.by_id(7) == folder.known()[7]
    assert folder.by_id(8) is None


@pytest.mark.parametrize("below", ["1_2", "1/2", "."])
def test_a_schema_in_parts_is_given_in_one_piece(tmp_path: Path, spark: SparkSession, below: str) -> None:
    write(tmp_path / below, t__v1_2__alert=ALERT, t__v1_2__point=POINT)
    text = Folder(tmp_path).by_id(102)
    assert list(Folder(tmp_path).known()) == [102]
    assert text is not None
    data = encoded(text, VALUE)
    assert data == bytes([14]) + encoded('"double"', 1.5) + bytes([2, 4]) + encoded('"double"', 2.5) + encoded('"double"', 3.5) + b"\0"
    assert decoded(text, data) == VALUE
    [parsed] = [spark.sparkContext._jvm.org.apache.avro.Schema.Parser().parse(text)]  # as Spark's workers do: strict
    assert parsed.getFullName() == "t.v1_2.alert"


def test_the_published_schemas_of_rubin(shared: Path, spark: SparkSession) -> None:
    known = Folder(shared / "schemas" / "lsst").known()
    assert list(known) == [700, 701, 702, 703, 704, 800, 900, 1000, 1100, 1101]
    for number, text in known.items():
        parsed = spark.sparkContext._jvm.org.apache.avro.Schema.Parser().parse(text)
        assert parsed.getFullName() == f"lsst.v{number // 100}_{number % 100}.alert"


@pytest.mark.parametrize(
    "packets", ["lsst_confluent", "lsst_7.4_confluent_derived", "lsst_9.0_confluent_derived", "lsst_10.0_confluent_derived"]
)
def test_real_alerts_are_read_to_their_last_byte(shared: Path, packets: str) -> None:
    folder = Folder(shared / "schemas" / "lsst")
    messages = [file.read_bytes() for file in sorted((shared / packets).iterdir())]
    assert messages
    for message in messages:
        text = folder.by_id(int.from_bytes(message[1:5], "big"))
        assert text is not None
        value = decoded(text, message[5:])
        assert value["diaSource"]["diaSourceId"] > 0
        assert encoded(text, value) == message[5:]


def test_one_file(tmp_path: Path) -> None:
    write(tmp_path, mine=SIMPLE, t__v1_2__alert=ALERT, t__v1_2__point=POINT)
    assert list(Folder(tmp_path / "mine.avsc").known()) == [0]
    assert list(Folder(tmp_path / "t.v1_2.alert.avsc").known()) == [102]


def test_what_is_wrong_with_a_folder_is_said(tmp_path: Path) -> None:
    def fault(folder: Path) -> str:
        with pytest.raises(ConfigError) as raised:
            Folder(folder).known()
        assert "\n" not in str(raised.value)
        return str(raised.value).replace(str(tmp_path), "")

    write(tmp_path / "part", t__v1_2__alert=ALERT)
    assert fault(tmp_path / "part") == "the schema /part/t.v1_2.alert.avsc refers to t.v1_2.point, which is not there"
    write(tmp_path / "json", **{"1": "{"})
    assert fault(tmp_path / "json").startswith("/json/1.avsc is not an Avro schema: ")
    write(tmp_path / "avro", **{"1": '{"type": "record", "fields": []}'})
    assert fault(tmp_path / "avro").startswith("/avro/1.avsc is not an Avro schema: ")
    write(tmp_path / "two" / "a", **{"1": SIMPLE})
    write(tmp_path / "two" / "b", **{"1": SIMPLE})
    assert fault(tmp_path / "two") == "two schemas have the id 1: /two/a/1.avsc and /two/b/1.avsc"
    (tmp_path / "none").mkdir()
    assert fault(tmp_path / "none").startswith("no schemas in /none: it takes <id>.avsc, or ")


class FakeRegistry:
    """Answers by path; what it is not told about it does not know."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fake.asked.append(self.path)
                status, body = fake.answers.get(self.path, (404, {"error_code": 40403, "message": "not here"}))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/api"

    def tell(self, path: str, body: Any, status: int = 200) -> None:
        self.answers[f"/api/{path}"] = (status, body)


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    registry = FakeRegistry()
    thread = threading.Thread(target=registry.server.serve_forever, args=[0.02])
    thread.start()
    yield registry
    registry.server.shutdown()
    registry.server.server_close()
    thread.join()


def test_a_registry_is_asked_once_for_an_id(fake: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # not for this machine
    fake.tell("schemas/ids/5", {"schema": SIMPLE})
    fake.tell("schemas/ids/6", {"schema": "message x {}", "schemaType": "PROTOBUF"})
    registry = Registry(f"{fake.url}/")
    assert [registry.by_id(5), registry.by_id(5), registry.by_id(6), registry.by_id(7)] == [SIMPLE, SIMPLE, None, None]
    assert fake.asked == ["/api/schemas/ids/5", "/api/schemas/ids/6", "/api/schemas/ids/7"]
    # One that comes later is found.
    fake.tell("schemas/ids/7", {"schema": '"int"'})
    assert registry.by_id(7) == '"int"'


def test_all_that_a_registry_has(fake: FakeRegistry) -> None:
    fake.tell("subjects", ["alert", "a/b c", "deleted meanwhile"])
    fake.tell("subjects/alert/versions", [1, 3])
    fake.tell("subjects/alert/versions/1", {"id": 20, "schema": SIMPLE})
    fake.tell("subjects/alert/versions/3", {"id": 10, "schema": '"int"', "schemaType": "AVRO"})
    fake.tell("subjects/a%2Fb%20c/versions", [1])
    fake.tell("subjects/a%2Fb%20c/versions/1", {"id": 11, "schema": "{}", "schemaType": "JSON"})
    registry = Registry(fake.url)
    assert registry.known() == {10: '"int"', 20: SIMPLE}
    fake.asked.clear()
    assert registry.by_id(20) == SIMPLE
    assert fake.asked == []


def test_schemas_that_a_registry_keeps_apart_are_brought_together(fake: FakeRegistry) -> None:
    point = {"name": "t.v1_2.point", "subject": "the point", "version": 4}
    fake.tell("schemas/ids/1", {"schema": json.dumps(ALERT), "references": [point]})
    fake.tell("subjects/the%20point/versions/4", {"id": 2, "schema": json.dumps(POINT), "references": []})
    text = Registry(fake.url).by_id(1)
    assert text is not None
    assert decoded(text, encoded(text, VALUE)) == VALUE
    del fake.answers["/api/subjects/the%20point/versions/4"]
    with pytest.raises(ConfigError, match=r"refers to t\.v1_2\.point, which is not there"):
        Registry(fake.url).by_id(1)


@pytest.mark.parametrize(
    ("status", "body", "kind", "said"),
    [
        (503, {}, ServerUnavailable, "the schema registry at <url> is not ready: 503 Service Unavailable"),
        (429, {}, ServerUnavailable, "the schema registry at <url> is not ready: 429 Too Many Requests"),
        (401, {}, ConfigError, "the schema registry at <url> refused <url>/schemas/ids/1: 401 Unauthorized; check the URL"),
        (404, b"<html>", ConfigError, "the schema registry at <url> refused <url>/schemas/ids/1: 404 Not Found; check the URL"),
        (
            200,
            b"<html>",
            ConfigError,
            "<url>/schemas/ids/1 does not answer as a schema registry does: check the URL",
        ),
    ],
)
def test_a_registry_that_gives_no_answer_is_said(fake: FakeRegistry, status: int, body: Any, kind: type[Exception], said: str) -> None:
    fake.tell("schemas/ids/1", body, status)
    with pytest.raises(kind) as raised:
        Registry(fake.url).by_id(1)
    assert str(raised.value).removesuffix(" in [kafka.input] schemas") == said.replace("<url>", fake.url)


def test_a_registry_that_is_not_there_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ServerUnavailable, match=f"the schema registry at {url} does not answer: .*refused"):
            Registry(url).known()


def test_where_schemas_come_from(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert isinstance(source("https://schemas.example.org/api", settings), Registry)
    assert list(source(str(CHECKOUT / "fink_broker" / "surveys" / "ztf" / "schemas" / "4.02.avsc"), settings).known()) == [0]
    assert isinstance(source("fink_broker/surveys/ztf/schemas/3.3.avsc", settings), Folder)
    with pytest.raises(ServerUnavailable, match="fink start registry"):
        source("local", settings)
    with pytest.raises(ConfigError, match=rf"no schemas at {tmp_path}/gone: give the URL"):
        source(f"{tmp_path}/gone", settings)
    for url in ("http://me:secret@example.org", "https://", "http://[::1"):
        with pytest.raises(ConfigError) as raised:
            source(url, settings)
        assert "secret" not in str(raised.value)
