"""A Kafka with logins and TLS: alerts go in and out, nobody else comes in, and no secret is seen anywhere."""

from __future__ import annotations

import json
import re
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Consumer
from pydantic import SecretStr
from pyspark.sql import SparkSession

from fink_broker.commands import transfer, user
from fink_broker.config import Settings
from fink_broker.config.sections import KafkaEnd
from fink_broker.connectors import kafka as client
from fink_broker.connectors import parquet, topics
from fink_broker.connectors.security import Connection
from fink_broker.connectors.users import Users
from fink_broker.errors import ConfigError, FinkError, ServerUnavailable, UsageError
from fink_broker.infra import kafka, kafka_security, ports, processes
from fink_broker.monitoring.counts import Books
from fink_broker.services import simulator
from fink_broker.surveys import get
from fink_broker.transforms.rights import Audience
from tests import fink_client
from tests.compare import as_sent, differences
from tests.integration.conftest import Broker
from tests.integration.test_own_service import until

pytestmark = pytest.mark.integration

NIGHT, ALERTS, TOPIC = "20260322", 40, "ztf-stream-sim"
SERVICES = ("stream2raw", "raw2science", "distribution")
# A password that every quoting on the way could spoil; what is searched for is a part that none changes.
MARK, VARIABLE_MARK = "Wq7vTz2pMark", "Ge5nRx9kMark"
PASSWORD = f'a b"c\\d;e=f\'g$h{{ü€}}\\\\"; {MARK}'


class Secured(Broker):
    """A broker on a secured Kafka of its own: in by SASL_SSL and password, out by SSL and certificate."""

    def configure(self, topic: str, more: str = "") -> None:
        folder = self.conf.parent
        (folder / "password").write_text(PASSWORD + "\n", encoding="utf-8")
        self.ui = ports.free()
        self.conf.write_text(
            f'home = "{folder}/the home"\n[wait]\nseconds = 20\n'
            f'[kafka.embedded]\nport = 0\nusername = "fink user"\npassword_file = "{folder}/password"\n'
            '[kafka.input]\nsecurity_protocol = "SASL_SSL"\n[kafka.output]\nsecurity_protocol = "SSL"\n'
            '[mirror]\nsecurity_protocol = "SSL"\nprefix = "copy."\ntrigger_seconds = 1\n'
            f'[simulator]\ntopic = "{TOPIC}"\nalerts = {ALERTS}\ncadence_seconds = 0\n'
            "[stream2raw]\ntrigger_seconds = 1\n[raw2science]\ntrigger_seconds = 1\nmodules = []\n"
            '[distribution]\ntrigger_seconds = 1\nfilters = ["bright", "rising"]\npublic = "candidate.rcid between 10 and 29"\n'
            '[[audiences]]\nname = "partners"\nfilters = ["bright"]\n'
            f'[spark.conf]\n"spark.ui.enabled" = "true"\n"spark.ui.port" = "{self.ui}"\n{more}',
            encoding="utf-8",
        )

    def end(self, **values: str) -> Connection:
        return kafka.connection(self.settings, KafkaEnd.model_validate(values))


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    broker = Secured(tmp_path_factory.mktemp("a secured"), "")
    printed = broker.run("start", "kafka", "--secure")
    assert "user fink user, password in " in printed
    assert MARK not in printed
    yield broker
    for running in reversed(processes.all_running(broker.settings)):
        processes.stop(broker.settings, running.name, timeout=30, say=lambda line: None)


def key_lines(path: Path) -> list[str]:
    key = path.read_text().partition("-----BEGIN PRIVATE KEY-----")[2].partition("-----END")[0]
    return key.split()


def pages(port: int) -> dict[str, str]:
    """What Spark shows of itself: its REST interface and its pages."""
    root = f"http://127.0.0.1:{port}"

    def get(path: str) -> str:
        with urlopen(root + path, timeout=20) as answer:
            text: str = answer.read().decode()
            return text

    [application] = json.loads(get("/api/v1/applications"))
    rest = f"/api/v1/applications/{application['id']}"
    plans = "sql?details=true&planDescription=true&length=1000"
    details = [f"{rest}/{path}" for path in ("environment", plans, "jobs", "stages", "executors")]
    return {path: get(path) for path in [*details, "/environment/", "/SQL/", "/SQL/execution/?id=0", "/StreamingQuery/", "/stages/"]}


def worked_off(broker: Secured, alive: Callable[[], bool]) -> None:
    """Wait until every service has done its part of what was sent."""
    deadline = time.monotonic() + 200
    while True:
        books = Books(broker.settings, get("ztf"))
        mirror, *stages = [books.of(name) for name in ("mirror", *SERVICES)]
        if mirror.given == stages[0].taken == ALERTS and stages[-1].taken and not any(stage.lag for stage in stages):
            return
        assert alive()
        assert time.monotonic() < deadline, stages
        time.sleep(0.2)


@pytest.fixture(scope="module")
def shown(secured: Secured) -> dict[str, str]:
    """A night through the services; all that others could see of them while they run, and of what they leave."""
    settings = secured.settings
    secured.run("start", "simulator", "--night", NIGHT)
    # This one is not used: who is shown it would be shown one that is.
    service = secured.open("start", *SERVICES, "mirror", "--simulator", FINK_KAFKA__INPUT__KEY_PASSWORD=VARIABLE_MARK)
    try:
        worked_off(secured, lambda: service.poll() is None)
        found = pages(secured.ui)
        server = processes.find(settings, kafka.NAME)
        assert server is not None
        family = psutil.Process(service.pid).children(recursive=True)
        # Those that have ended have neither a command line nor an environment any more.
        others = [one for one in [*family, psutil.Process(server.pid)] if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
        assert {"java", "python"} <= {one.name().rstrip(".0123456789") for one in others}
        found["ps"] = "\n".join(" ".join(one.cmdline()) for one in [psutil.Process(service.pid), *others])
        # What a process was started with stays in its own environment; its children must not have it.
        found["environments"] = "\n".join(str(one.environ()) for one in others)
        assert VARIABLE_MARK in psutil.Process(service.pid).environ().values()
    finally:
        service.terminate()
        out, err = service.communicate(timeout=60)
        print(out, err)
    assert (service.returncode, err) == (0, "")
    return found | {"output": out}


def test_no_secret_is_seen(secured: Secured, shown: dict[str, str]):
    folder = kafka_security.folder(secured.settings)
    keys = [line for name in (kafka_security.SERVER, kafka_security.KEY) for line in key_lines(folder / name)]
    secrets = [MARK, VARIABLE_MARK, *keys]
    assert len(secrets) >= 6
    files = [path for path in secured.settings.root.rglob("*") if path.is_file() and folder not in path.parents]
    assert {"stream2raw.log", "kafka.log", "server.properties", "metadata"} <= {path.name for path in files}
    shown |= {str(path): path.read_bytes().decode("latin-1") for path in files}
    assert [(where, secret) for where, text in shown.items() for secret in secrets if secret in text] == []
    # Where a secret would be, there is something to see.
    assert "spark.redaction.regex" in next(text for path, text in shown.items() if path.endswith("/environment"))
    assert '"planDescription" : "== Physical Plan' in next(text for path, text in shown.items() if "/sql?" in path)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_every_alert_has_come_through(secured: Secured, shown: dict[str, str], spark: SparkSession):
    settings, sent = secured.settings, sorted(simulator.ids(secured.settings, NIGHT))
    raw = [file for file in parquet.committed(settings.raw) if file.partition["status"] == "ok"]
    assert sorted(one for table in parquet.read(raw, ["candid"]) for one in table["candid"].to_pylist()) == sent
    state = secured.status()
    assert (state["ok"], state["services"]["stream2raw"]["lag"]) == (True, 0)
    mirror = state["services"]["mirror"]
    assert (mirror["in"], mirror["out"], mirror["lag"]) == (ALERTS, ALERTS, 0)
    came, went = (list(client.read_all(secured.end(), name)) for name in (TOPIC, f"copy.{TOPIC}"))
    assert [(one.partition(), one.value(), one.timestamp()) for one in went] == [
        (one.partition(), one.value(), one.timestamp()) for one in came
    ]
    # Spark in one batch, every way that the services do not take.
    ends = [("SASL_PLAINTEXT", "SCRAM-SHA-256"), ("SASL_SSL", "SCRAM-SHA-256"), ("SSL", "SCRAM-SHA-512")]
    for protocol, mechanism in ends:
        end = secured.end(security_protocol=protocol, sasl_mechanism=mechanism)
        assert client.message_counts(end, [TOPIC]) == {TOPIC: ALERTS}
        assert spark.read.format("kafka").options(**end.spark).option("subscribe", TOPIC).load().count() == ALERTS


def test_fink_client_reads_its_topics(secured: Secured, shown: dict[str, str]):
    """With the settings of fink_client.consumer for a user name."""
    login = {"security.protocol": "sasl_plaintext", "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "fink user"}
    servers = secured.end(security_protocol="SASL_PLAINTEXT").servers
    names = [f"fink_{name}_ztf" for name in secured.settings.distribution.filters]
    expected = client.message_counts(secured.end(), names)
    assert sum(expected.values()) > 0
    reading = {"bootstrap.servers": servers, "group.id": "user", "auto.offset.reset": "earliest"}
    consumer = Consumer(login | reading | {"sasl.password": PASSWORD})
    try:
        consumer.subscribe(names)
        messages = consumer.consume(sum(expected.values()), timeout=30)
    finally:
        consumer.close()
    assert [message.error() for message in messages if message.error()] == []
    assert Counter(message.topic() for message in messages) == Counter(expected)


def added(secured: Secured, name: str, *options: str) -> dict[str, str]:
    """Make a user as an administrator does; how they log in, by what that prints."""
    printed = secured.run("user", "add", name, *options)
    [servers] = re.findall(rf"finkctl auth register -survey ztf -username {name} -groupid {name} -servers (\S+)\n", printed)
    [password] = re.findall(r"password: (\S+)\n", printed)
    return {"username": name, "password": password, "group.id": name, "bootstrap.servers": servers}


def test_two_users_read_what_each_may_see(secured: Secured, shown: dict[str, str], tmp_path: Path):
    """What is on some of the camera's detectors for the public, with the history there; the partners see all."""
    alice, bob = added(secured, "alice"), added(secured, "bob", "--audience", "partners")
    rows = [row for file in parquet.committed(secured.settings.science) for row in pq.ParquetFile(file.path).read().to_pylist()]
    science = {row["candid"]: as_sent(row) for row in rows}
    bright = {candid for candid, row in science.items() if row["candidate"]["magpsf"] < 16}
    public = {candid for candid in bright if 10 <= science[candid]["candidate"]["rcid"] <= 29}
    assert 0 < len(public) < len(bright)

    def seen(alert: dict[str, Any]) -> dict[str, Any]:
        names = [name for name in ("prv_candidates", "fp_hists") if alert[name]]
        return alert | {name: [one for one in alert[name] if 10 <= one["rcid"] <= 29] for name in names}

    assert any(seen(science[candid]) != science[candid] for candid in public)
    for who, topic, ids, sees in (
        (alice, "fink_bright_ztf", public, seen),
        (bob, "fink_bright_ztf", public, seen),
        (bob, "fink_bright_partners_ztf", bright, dict),
    ):
        found, fault = fink_client.consume(tmp_path, [topic], who, len(ids))
        assert (fault, sorted(alert["candid"] for _, alert in found)) == ("", sorted(ids))
        for _, alert in found:
            assert differences(sees(science[alert["candid"]]), alert) == []
    for who, topic, refused in (
        (alice, "fink_bright_partners_ztf", "TOPIC_AUTHORIZATION_FAILED"),
        (alice, TOPIC, "TOPIC_AUTHORIZATION_FAILED"),
        (alice | {"group.id": "bob"}, "fink_bright_ztf", "GROUP_AUTHORIZATION_FAILED"),
    ):
        found, fault = fink_client.consume(tmp_path, [topic], who, 1)
        assert found == []
        assert refused in fault
    as_alice = replace(secured.end(security_protocol="SASL_PLAINTEXT"), username="alice", password=SecretStr(alice["password"]))
    admin = client.admin(as_alice)
    assert set(admin.list_topics(timeout=10).topics) == {"fink_bright_ztf", "fink_rising_ztf", f"fink_ztf_{NIGHT}"}
    assert topics.describe(admin, ["fink_bright_ztf"])["fink_bright_ztf"].fault == "we may not write to it"
    listed = json.loads(secured.run("user", "list", "--json"))["users"]
    assert listed == {
        "alice": {"audiences": ["public"], "topics": ["fink_bright_ztf", "fink_rising_ztf", "fink_ztf_*"]},
        "bob": {
            "audiences": ["partners", "public"],
            "topics": ["fink_bright_partners_ztf", "fink_bright_ztf", "fink_rising_ztf", "fink_ztf_*"],
        },
    }
    # A transfer of hers, and none of what is for the partners.
    users, past = Users(client.admin(secured.end()), secured.end()), "ftransfer_ztf_2026-03-22_000001"
    client.make_topics(secured.end(), {past: 1})
    transfer.check_user(secured.end(), "alice", Audience())
    for name, fault in (("alice", "belongs to: public; they may not get"), ("carol", "is no user")):
        with pytest.raises(UsageError, match=fault):
            transfer.check_user(secured.end(), name, Audience("partners"))
    assert past not in admin.list_topics(timeout=10).topics
    users.share("alice", [past])
    # Kafka's broker learns of rights from its controller.
    until(lambda: past in admin.list_topics(timeout=10).topics, "a topic that is shared", 30)
    texts = [path.read_bytes() for path in secured.settings.root.rglob("*") if path.is_file()]
    assert not any(who["password"].encode() in text for who in (alice, bob) for text in texts)
    assert secured.run("user", "remove", "alice") == "alice is removed\n"
    with pytest.raises(ServerUnavailable, match="does not let alice, SCRAM-SHA-512 in"):
        client.wait_for(as_alice, 2, "Kafka")
    assert json.loads(secured.run("user", "list", "--json"))["users"].keys() == {"bob"}


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        (["add", "bob"], "there is a user 'bob' already"),
        (["add", "a user"], "'a user' is no name for a user: at most 64 letters, digits, _ and -"),
        (["add", "ANONYMOUS"], "whoever does not log in"),
        (["add", "eve", "--audience", "nobody"], "there is no audience 'nobody'; there are: public, partners"),
        (["remove", "fink user"], "there is no user 'fink user'; fink user list shows them"),
        (["remov"], "fink user add | list | remove"),
    ],
)
def test_what_cannot_be_done_with_users_is_said(secured: Secured, monkeypatch: pytest.MonkeyPatch, command: list[str], fault: str):
    here = secured.settings
    monkeypatch.setattr(user.config, "load", lambda _: here)
    with pytest.raises(UsageError, match=re.escape(fault)):
        user.main(command)


def test_a_kafka_without_access_rules_gets_no_users(settings: Settings, kafka_server: processes.Running, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(user.config, "load", lambda _: settings)
    with pytest.raises(ConfigError, match="has no access rules: what users may read cannot be said there"):
        user.main(["add", "alice"])
    where = kafka.connection(settings, KafkaEnd())
    answers: Any = client.admin(where)
    assert answers.describe_user_scram_credentials().result() == {}


def test_nobody_else_comes_in(secured: Secured):
    good = secured.end()
    for bad in (replace(good, password=SecretStr("wrong")), replace(good, username="nobody")):
        refused = rf"Kafka at {good} does not let {bad.username}, SCRAM-SHA-512 in: .*invalid credentials"
        with pytest.raises(ServerUnavailable, match=refused):
            client.wait_for(bad, 2, "Kafka")
    with pytest.raises(ServerUnavailable, match=r"does not let .* in: .*certificate verify failed"):
        client.wait_for(replace(good, ca=""), 2, "Kafka")
    # Each other listener, the controller's too, wants a certificate.
    server = processes.find(secured.settings, kafka.NAME)
    assert server is not None
    listening = {one.laddr.port for one in psutil.Process(server.pid).net_connections() if one.status == psutil.CONN_LISTEN}
    known = {int(secured.end(security_protocol=name).servers.partition(":")[2]) for name in ("SASL_SSL", "SASL_PLAINTEXT")}
    assert len(listening - known) == 2
    trust = ssl.create_default_context(cafile=str(kafka_security.folder(secured.settings) / kafka_security.CA))
    for port in listening - known:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain, pytest.raises(ssl.SSLError, match="certificate"):
            trust.wrap_socket(plain, server_hostname="127.0.0.1").recv(1)


def test_a_wrong_password_is_one_line(secured: Secured):
    secured.conf.with_name("password").write_text("wrong")
    try:
        service = secured.open("start", "stream2raw", "--simulator", "--once")
        _, err = service.communicate(timeout=40)
    finally:
        secured.configure(TOPIC)
    assert service.returncode == 3
    assert err.count("\n") == 1
    assert err.startswith("fink: Kafka at 127.0.0.1:")
    assert "does not let fink user, SCRAM-SHA-512 in" in err


def test_with_and_without_security_are_not_mixed_up(secured: Secured, settings: Settings, kafka_server: processes.Running):
    assert kafka.start(secured.settings) == processes.find(secured.settings, kafka.NAME)
    embedded = settings.kafka.embedded.model_copy(update={"secure": True})
    with pytest.raises(FinkError, match="runs already, without security: fink stop kafka"):
        kafka.start(settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"embedded": embedded})}))
    with pytest.raises(ConfigError, match="security_protocol is SASL_SSL, but Kafka runs without: fink stop kafka"):
        kafka.connection(settings, KafkaEnd(security_protocol="SASL_SSL"))


def test_alerts_and_logins_are_kept_over_a_restart(secured: Secured):
    """Last: its ports change."""
    before = (kafka_security.folder(secured.settings) / kafka_security.CA).read_text()
    secured.run("stop", "kafka")
    secured.conf.with_name("password").write_text(f"another {MARK}")
    secured.run("start", "kafka", "--secure")
    assert client.message_counts(secured.end(security_protocol="SASL_PLAINTEXT"), [TOPIC]) == {TOPIC: ALERTS}
    assert secured.end().password.get_secret_value() == f"another {MARK}"
    assert secured.end().ca == before
