"""fink config show | check: the configuration in force, secrets masked; or whether it is sound."""

from __future__ import annotations

import json
import re
from typing import Any

from fink_broker import config, surveys
from fink_broker.commands import Parser, run
from fink_broker.config import Settings


def main(argv: list[str] | None = None) -> int:
    """Show or check the configuration."""
    parser = Parser("config")
    parser.add_argument("what", choices=["show", "check"])
    arguments = parser.parse_args(argv)
    settings = config.load(arguments.conf)
    path = config.conf_path(arguments.conf)
    if arguments.what == "show":
        print(f"# {path}, defaults and the environment; home is {settings.root}")
        print(toml(settings.model_dump(mode="json")), end="")
        return 0
    check(settings)
    print(f"{path} is sound; home is {settings.root}")
    return 0


def check(settings: Settings) -> None:
    """Check what the types cannot: that the survey, modules, cuts, filters, audiences, outlets, services and Kafka's files are there.

    Raises
    ------
    ConfigError
        Something named in the configuration is not there.
    """
    from fink_broker.connectors import security
    from fink_broker.filters import registry as filters
    from fink_broker.outlets import registry as outlets
    from fink_broker.science import registry as science
    from fink_broker.services import registry
    from fink_broker.transforms import rights

    survey = surveys.get(settings.survey)
    science.active(settings, survey)
    surveys.with_cuts(survey, settings.raw2science.cuts)
    rights.audiences(settings, survey, filters.active(settings, survey))
    outlets.ways(settings, survey)
    for entry in registry.known(settings).values():
        entry.module()
    for end in (settings.kafka.input, settings.kafka.output, settings.mirror):
        security.connection(settings, end, end.servers)


def toml(values: dict[str, Any], path: str = "", brackets: str = "[]") -> str:
    """The values as TOML, one section after the other."""
    plain = {key: value for key, value in values.items() if not isinstance(value, dict) and value is not None and not _tables(value)}
    lines = [f"{_key(key)} = {json.dumps(value)}" for key, value in plain.items()]
    left, right = brackets[: len(brackets) // 2], brackets[len(brackets) // 2 :]
    text = (f"\n{left}{path}{right}\n" if path and (lines or not values) else "") + "".join(f"{line}\n" for line in lines)
    for key, value in values.items():
        name = f"{path}.{_key(key)}" if path else _key(key)
        if isinstance(value, dict):
            text += toml(value, name)
        for table in value if _tables(value) else ():
            text += toml(table, name, "[[]]")
    return text


def _key(key: str) -> str:
    """A key as TOML has it: quoted where it is not bare, such as Spark's dotted names."""
    return key if re.fullmatch("[A-Za-z0-9_-]+", key) else json.dumps(key)


def _tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


if __name__ == "__main__":
    run(main)
