"""Alarms and panels ask for metrics that there are; alarms sound when they should (tests/alarms.yml)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from fink_broker.config import CHECKOUT, Settings
from fink_broker.monitoring import prometheus
from fink_broker.monitoring.status import status

DOCKER = CHECKOUT / "docker"
RULES = DOCKER / "prometheus-rules.yml"
KINDS = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}


def there(home: Path) -> set[str]:
    """Names of series, as Prometheus keeps them."""
    text = prometheus.Exporter().text(status(Settings(home=home))).decode()
    kinds = re.findall(r"^# TYPE (\w+?)(?:_total)? (counter|gauge|histogram)$", text, re.MULTILINE)
    assert len(kinds) == text.count("# TYPE")
    return {name + end for name, kind in kinds for end in KINDS[kind]}


def asked(expressions: list[str]) -> set[str]:
    return {name for one in expressions for name in re.findall(r"fink_\w+", one)}


def test_alarms_ask_for_what_there_is_and_say_what_to_do(tmp_path: Path) -> None:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert asked([rule["expr"] for rule in rules]) <= there(tmp_path)
    assert all(rule["annotations"]["summary"] for rule in rules)
    documented = (CHECKOUT / "docs" / "operators-guide.md").read_text()
    assert [rule["alert"] for rule in rules if rule["alert"] not in documented] == []
    tried = yaml.safe_load((CHECKOUT / "tests" / "alarms.yml").read_text())["tests"]
    series = [one["series"].partition("{")[0] for test in tried for one in test["input_series"]]
    assert asked(series) <= there(tmp_path)
    assert {one["alertname"] for one in tried[1]["alert_rule_test"]} == {rule["alert"] for rule in rules}


def test_alarms_sound_when_they_should() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("there is no promtool (apt install prometheus)")
    for command in (["check", "rules", str(RULES)], ["test", "rules", "alarms.yml"]):
        done = subprocess.run([promtool, *command], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_panels_ask_for_what_there_is(tmp_path: Path) -> None:
    panels = json.loads((DOCKER / "grafana.json").read_text())["panels"]
    assert asked([target["expr"] for panel in panels for target in panel["targets"]]) <= there(tmp_path)
