"""Alarms and panels ask for metrics that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from fink_broker.config import CHECKOUT, Settings
from fink_broker.monitoring import prometheus
from fink_broker.monitoring.status import status

DOCKER = CHECKOUT / "docker"


def there(home: Path) -> set[str]:
    text = prometheus.text(status(Settings(home=home))).decode()
    return set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))


def asked(expressions: list[str]) -> set[str]:
    return {name for one in expressions for name in re.findall(r"fink_\w+", one)}


def test_alarms_ask_for_what_there_is_and_say_what_to_do(tmp_path: Path) -> None:
    groups = yaml.safe_load((DOCKER / "prometheus-rules.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert asked([rule["expr"] for rule in rules]) <= there(tmp_path)
    assert all(rule["annotations"]["summary"] for rule in rules)
    documented = (CHECKOUT / "docs" / "dashboard.md").read_text()
    assert [rule["alert"] for rule in rules if rule["alert"] not in documented] == []


def test_panels_ask_for_what_there_is(tmp_path: Path) -> None:
    panels = json.loads((DOCKER / "grafana.json").read_text())["panels"]
    assert asked([target["expr"] for panel in panels for target in panel["targets"]]) <= there(tmp_path)
