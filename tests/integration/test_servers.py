"""The real servers keep what they have acknowledged, listen on this machine only and say what is wrong in one line."""

import os
import signal
import socket
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import happybase
import psutil
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from fink_broker.config import Settings
from fink_broker.config.sections import Dashboard, HBase, Kafka, KafkaEnd, KafkaServer, SchemaRegistry
from fink_broker.connectors.security import Connection
from fink_broker.errors import FinkError, ServerUnavailable
from fink_broker.infra import hbase, kafka, processes
from fink_broker.infra.servers import SERVERS

pytestmark = pytest.mark.integration


def quiet(line: str) -> None:
    """Say nothing."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A HOME whose servers are stopped at the end, whatever happens; its name is an awkward one."""
    free = {"kafka": Kafka(embedded=KafkaServer(port=0)), "hbase": HBase(port=0), "registry": SchemaRegistry(port=0)}
    settings = Settings(home=tmp_path / "hôme & more").model_copy(update=free | {"dashboard": Dashboard(port=0)})
    # The dashboard reads the configuration itself.
    monkeypatch.setenv("FINK__HOME", str(settings.home))
    yield settings
    for name in SERVERS:
        processes.stop(settings, name, say=quiet)


def address(settings: Settings) -> str:
    return kafka.connection(settings, KafkaEnd()).servers


def listening(pid: int) -> set[str]:
    return {one.laddr.ip for one in psutil.Process(pid).net_connections() if one.status == psutil.CONN_LISTEN}


def make_topic(servers: str, topic: str) -> None:
    client = AdminClient({"bootstrap.servers": servers})
    client.create_topics([NewTopic(topic, 1, 1)])[topic].result(10)


def send(servers: str, topic: str, values: list[bytes]) -> list[str]:
    """Send and return the errors."""
    errors: list[str] = []
    producer = Producer({"bootstrap.servers": servers, "message.max.bytes": 40_000_000, "message.timeout.ms": 5000})
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: errors.append(error.name()) if error else None)
    producer.flush(15)
    return errors


def receive(servers: str, topic: str, count: int) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "test", "fetch.message.max.bytes": 40_000_000})
    consumer.assign([TopicPartition(topic, 0, 0)])
    try:
        return [message.value() for message in consumer.consume(count, timeout=15)]
    finally:
        consumer.close()


def connect(settings: Settings) -> happybase.Connection:
    return happybase.Connection(*hbase.address(settings), timeout=30_000)


def rows(settings: Settings, table: str) -> dict[bytes, dict[bytes, bytes]]:
    connection = connect(settings)
    try:
        return dict(connection.table(table).scan())
    finally:
        connection.close()


def put(settings: Settings, table: str, keys: range) -> None:
    connection = connect(settings)
    try:
        for key in keys:
            connection.table(table).put(b"%d" % key, {b"i:value": b"v%d" % key})
    finally:
        connection.close()


def test_kafka_keeps_large_messages_over_a_restart(home: Settings) -> None:
    first = kafka.start(home)
    assert first.address == address(home)
    make_topic(first.address, "alerts")
    sent = [b"small", os.urandom(20_000_000)]
    assert send(first.address, "alerts", sent) == []
    processes.stop(home, "kafka", say=quiet)
    assert not psutil.pid_exists(first.pid)
    with pytest.raises(ServerUnavailable, match="fink start kafka"):
        address(home)
    second = kafka.start(home)
    assert second.pid != first.pid
    assert receive(address(home), "alerts", 2) == sent


def test_kafka_keeps_what_it_acknowledged_when_it_is_killed(home: Settings) -> None:
    first = kafka.start(home)
    make_topic(address(home), "alerts")
    assert send(address(home), "alerts", [b"one", b"two"]) == []
    os.kill(first.pid, signal.SIGKILL)
    psutil.Process(first.pid).wait(10)
    kafka.start(home)
    assert receive(address(home), "alerts", 2) == [b"one", b"two"]


def test_kafka_makes_no_topic_unasked_and_listens_here_only(settings: Settings, kafka_server: processes.Running) -> None:
    servers = address(settings)
    send(servers, "never_made", [b"x"])
    assert "never_made" not in AdminClient({"bootstrap.servers": servers}).list_topics(timeout=10).topics
    assert listening(kafka_server.pid) == {"127.0.0.1"}
    assert sum(psutil.Process(kafka_server.pid).memory_info()[:1]) < 700_000_000


def test_kafka_started_twice_at_once_is_one(home: Settings) -> None:
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(kafka.start, [home, home])
    assert one.pid == two.pid
    assert [running.name for running in processes.all_running(home)] == ["kafka"]


def test_kafka_on_a_taken_port_names_it(home: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        taken = home.model_copy(update={"kafka": Kafka(embedded=KafkaServer(port=port))})
        with pytest.raises(ServerUnavailable, match=rf"port {port} for Kafka is taken: set \[kafka.embedded\] port"):
            kafka.start(taken)
    assert kafka.start(taken).address == f"127.0.0.1:{port}"


def test_kafka_that_ends_while_it_starts_points_to_its_log(home: Settings) -> None:
    kafka.start(home)
    processes.stop(home, "kafka", say=quiet)
    meta = home.root / "kafka" / "data" / "meta.properties"
    meta.write_text(meta.read_text().replace("node.id=1", "node.id=7"))
    with pytest.raises(ServerUnavailable) as raised:
        kafka.start(home)
    assert str(raised.value) == f"Kafka ended while it started; its log is {home.log('kafka')}"
    assert "7" in home.log("kafka").read_text()
    assert processes.all_running(home) == []


def test_kafka_that_cannot_format_says_why(home: Settings) -> None:
    broken = home.model_copy(update={"kafka": Kafka(embedded=KafkaServer(port=0, heap="1"))})
    with pytest.raises(FinkError, match="Kafka cannot use ") as raised:
        kafka.start(broken)
    assert "\n" not in str(raised.value)


def test_hbase_keeps_rows_over_a_stop_and_over_a_kill(home: Settings) -> None:
    with pytest.raises(ServerUnavailable, match="fink start hbase"):
        hbase.address(home)
    first = hbase.start(home)
    assert hbase.start(home) == first
    connection = connect(home)
    connection.create_table("ztf", {"i": {}})
    connection.close()
    put(home, "ztf", range(100))
    processes.stop(home, "hbase", say=quiet)
    assert processes.all_running(home) == []

    hbase.start(home)
    assert len(rows(home, "ztf")) == 100
    put(home, "ztf", range(100, 250))
    for running in processes.all_running(home):
        os.kill(running.pid, signal.SIGKILL)
        psutil.Process(running.pid).wait(10)

    hbase.start(home)
    assert rows(home, "ztf") == {b"%d" % key: {b"i:value": b"v%d" % key} for key in range(250)}


def test_hbase_listens_here_only_and_its_thrift_server_is_started_again(settings: Settings, hbase_server: processes.Running) -> None:
    thrift = processes.find(settings, "hbase-thrift")
    assert thrift is not None
    assert listening(hbase_server.pid) == {"127.0.0.1"}
    assert listening(thrift.pid) == {"127.0.0.1"}
    os.kill(thrift.pid, signal.SIGKILL)
    psutil.Process(thrift.pid).wait(10)
    assert hbase.start(settings).pid == hbase_server.pid
    assert isinstance(rows(settings, "hbase:meta"), dict)


def test_hbase_on_a_taken_port_names_it(home: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(ServerUnavailable, match=rf"port {port} for HBase is taken: set \[hbase\] port"):
            hbase.start(home.model_copy(update={"hbase": HBase(port=port)}))


def test_hbase_that_ends_while_it_starts_points_to_its_log(home: Settings) -> None:
    with pytest.raises(ServerUnavailable, match=r"HBase ended while it started; its log is .*/log/hbase\.log"):
        hbase.start(home.model_copy(update={"hbase": HBase(port=0, heap="1")}))
    assert processes.all_running(home) == []


def test_all_start_side_by_side(home: Settings) -> None:
    # As `fink start ... -s rubin` gives it, and no file.
    home = home.model_copy(update={"survey": "rubin"})
    threads = [threading.Thread(target=server.start, args=[home]) for server in SERVERS.values()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(running.name for running in processes.all_running(home)) == ["dashboard", "hbase", "hbase-thrift", "kafka", "registry"]
    assert AdminClient({"bootstrap.servers": address(home)}).list_topics(timeout=10).brokers
    connect(home).close()
    dashboard = processes.find(home, "dashboard")
    assert dashboard is not None
    with urllib.request.urlopen(f"http://{dashboard.address}/") as page:
        assert "<span>rubin, version " in page.read().decode()


def test_unreachable_cluster_is_not_taken_for_a_ready_one() -> None:
    assert kafka._has_metadata(Connection("127.0.0.1:1")) is False
    assert hbase._is_ready(1) is False
    with pytest.raises(KafkaException):
        AdminClient({"bootstrap.servers": "127.0.0.1:1", "log_level": 0}).list_topics(timeout=0.2)
