"""What the doctor says of machine, configuration and services."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from fink_broker.commands import doctor
from fink_broker.config import Settings
from fink_broker.infra import failures
from fink_broker.monitoring import servers


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """A configuration whose Kafka and HBase are nowhere."""
    file = tmp_path / "fink.conf"
    servers = {"kafka.input": 'servers = "127.0.0.1:1"', "kafka.output": 'servers = "local"', "hbase": 'thrift = "local"'}
    sections = "\n".join(f"[{name}]\n{line}" for name, line in servers.items())
    file.write_text(f'home = "{tmp_path / "home"}"\n{sections}\n')
    return file


def findings(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    return {one["what"]: one for one in json.loads(capsys.readouterr().out)["findings"]}


def test_what_does_not_answer_is_wrong_and_what_does_not_run_is_noted(
    conf: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "_ANSWER_S", 0.2)
    failures.note(Settings(home=conf.parent / "home"), "archive", "HBase went away")
    assert doctor.main(["-c", str(conf), "--json"]) == 1
    found = findings(capsys)
    assert found["Kafka in"]["ok"] is False
    assert found["Kafka out"]["ok"] is found["HBase"]["ok"] is None
    assert "fink start kafka" in str(found["Kafka out"]["text"])
    assert found["archive"]["ok"] is False
    assert "HBase went away" in str(found["archive"]["text"])
    well = ("Python", "Java", "packages", "jars", "configuration", "clock", "services")
    assert [what for what in well if found[what]["ok"] is not True] == []


def test_a_configuration_that_cannot_be_read_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "fink.conf"
    file.write_text("[kafka.input]\nserver = 1\n")
    assert doctor.main(["-c", str(file)]) == 1
    [wrong] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("WRONG")]
    assert "configuration" in wrong
    assert "server" in wrong


def test_a_port_that_is_taken_and_a_disk_that_is_full_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = Settings.model_validate({"home": tmp_path, "hbase": {"port": port}, "kafka": {"embedded": {"port": 0}}})
        found = {one.what: one for one in servers.servers(settings)}
    assert "[hbase] port" in found[f"port {port}"].text
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: doctor.shutil._ntuple_diskusage(10**12, 10**12, 10**9))  # type: ignore[attr-defined]
    assert {one.what: one.ok for one in doctor._home(tmp_path)}["disk"] is False


@pytest.mark.parametrize(("heap", "gb"), [("2g", 2.0), ("768m", 0.768), ("1T", 1000.0)])
def test_sizes_of_heaps(heap: str, gb: float) -> None:
    assert doctor._gb(heap) == pytest.approx(gb)
