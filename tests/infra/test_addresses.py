"""Where the servers are, and how they are called, without starting one."""

import subprocess
from pathlib import Path

import pytest

from fink_broker.config import Settings
from fink_broker.config.sections import HBase, KafkaEnd
from fink_broker.errors import ConfigError, ServerUnavailable
from fink_broker.infra import dashboard, hbase, java, kafka, registry
from fink_broker.infra.servers import SERVERS


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def test_servers_of_a_cluster_are_used_as_given(home: Settings) -> None:
    assert kafka.connection(home, KafkaEnd(servers="broker1:9092,broker2:9092")).servers == "broker1:9092,broker2:9092"
    elsewhere = home.model_copy(update={"hbase": HBase(thrift="thrift.example.org:9091")})
    assert hbase.address(elsewhere) == ("thrift.example.org", 9091)


@pytest.mark.parametrize("thrift", ["thrift.example.org", ":9090", "thrift.example.org:", "thrift.example.org:http"])
def test_an_address_without_host_or_port_is_an_error(home: Settings, thrift: str) -> None:
    with pytest.raises(ConfigError, match="give host:port, or local"):
        hbase.address(home.model_copy(update={"hbase": HBase(thrift=thrift)}))


def test_servers_that_do_not_run_say_how_to_start_them(home: Settings) -> None:
    with pytest.raises(ServerUnavailable, match="fink start kafka"):
        kafka.connection(home, KafkaEnd())
    with pytest.raises(ServerUnavailable, match="fink start hbase"):
        hbase.address(home)
    with pytest.raises(ServerUnavailable, match="fink start registry"):
        registry.address(home)


def test_servers_by_name() -> None:
    assert {name: server.start for name, server in SERVERS.items()} == {
        "kafka": kafka.start,
        "hbase": hbase.start,
        "registry": registry.start,
        "dashboard": dashboard.start,
    }
    assert all(server.description for server in SERVERS.values())


def test_java_of_java_home_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "a jdk" / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "a jdk"))
    assert java.executable() == str(program)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="no Java in JAVA_HOME"):
        java.executable()
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="no Java in JAVA_HOME or PATH: install a JDK 17"):
        java.executable()


def test_jars_that_are_not_installed_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINK_SETUP", str(tmp_path))
    with pytest.raises(ConfigError, match=f"the jars of kafka are not in {tmp_path}/jars/kafka"):
        java.jar_folder("kafka")


def test_properties_are_read_by_java_as_they_were_meant(tmp_path: Path) -> None:
    path = tmp_path / "server.properties"
    value = r"/home/Jürgen & co/a\b = c: #1 €"
    path.write_text(java.properties({"log.dir": value, "node.id": 1}), encoding="ascii")
    program = tmp_path / "Read.java"
    program.write_text(
        "public class Read { public static void main(String[] a) throws Exception { var p = new java.util.Properties();"
        " p.load(new java.io.FileInputStream(a[0]));"
        ' System.out.write((p.getProperty("log.dir") + p.getProperty("node.id")).getBytes("UTF-8")); System.out.flush(); } }'
    )
    read = subprocess.run([java.executable(), str(program), str(path)], capture_output=True, check=True)
    assert read.stdout.decode() == value + "1"
