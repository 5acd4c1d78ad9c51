"""What can be started, by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from fink_broker.config import Settings
from fink_broker.config.own import OwnService
from fink_broker.errors import ConfigError, UsageError
from fink_broker.infra.servers import SERVERS
from fink_broker.services import registry

OWN = Settings(
    services=[OwnService(name="counter", file=Path("/mine/counter.py")), OwnService(name="alarm", file=Path("a.py"), description="rings")]
)


def test_services_are_in_the_order_of_the_pipeline():
    entries = registry.find(["archive", "distribution", "raw2science", "stream2raw", "simulator", "kafka", "archive"], Settings())
    assert [entry.name for entry in entries] == ["kafka", "simulator", "stream2raw", "raw2science", "distribution", "archive"]
    assert {entry.name: entry.needs for entry in entries if entry.needs} == {
        "stream2raw": ("kafka-input",),
        "distribution": ("kafka-output",),
        "archive": ("hbase",),
    }
    assert registry.find(["checkstream"], Settings())[0].needs == ("kafka-input",)
    assert registry.find(["mirror"], Settings())[0].needs == ("kafka-input", "kafka-mirror")
    assert [entry.name for entry in registry.known(OWN).values() if not entry.counted] == ["checkstream"]


def test_each_has_a_line_of_help_and_a_module_that_starts_it():
    entries = registry.known(Settings())
    assert {name for name, entry in entries.items() if entry.kind == "server"} == set(SERVERS)
    for entry in entries.values():
        assert entry.description
        assert callable(entry.module().run if entry.kind in ("client", "task") else entry.module().start)


def test_services_of_ones_own_come_last():
    entries = list(registry.known(OWN).values())
    assert [entry.name for entry in entries[-2:]] == ["counter", "alarm"]
    counter, alarm = entries[-2:]
    assert (counter.kind, counter.source, counter.description) == ("stream", "/mine/counter.py", "own service in counter.py")
    assert alarm.description == "rings"
    assert Path(alarm.source).is_absolute()
    assert [entry.name for entry in registry.find(["alarm", "archive"], OWN)] == ["archive", "alarm"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("archiv", "did you mean 'archive'? known: kafka, hbase, registry, simulator, "),
        ("countr", "did you mean 'counter'?"),
        ("zzz", "'zzz'; known: kafka"),
    ],
)
def test_an_unknown_name_lists_the_known_ones(name: str, hint: str):
    with pytest.raises(UsageError) as raised:
        registry.find(["stream2raw", name], OWN)
    message = str(raised.value)
    assert message.startswith(f"unknown service '{name}'; ")
    assert hint in message
    assert message.endswith("archive, aggregation, notify, mirror, checkstream, counter, alarm")
    assert raised.value.exit_code == 2


def test_a_file_without_start_is_said(tmp_path: Path):
    file = tmp_path / "counter.py"
    file.write_text("def begin(context): ...\n")
    [entry] = registry.find(["counter"], Settings(services=[OwnService(name="counter", file=file)]))
    with pytest.raises(ConfigError, match=r"counter\.py has no function 'start'"):
        entry.module()
