"""fink user: who may read the users' topics, and which."""

from __future__ import annotations

import json
import secrets
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from pydantic import SecretStr

from fink_broker import config, surveys
from fink_broker.commands import Parser, run
from fink_broker.config import Settings
from fink_broker.connectors import kafka, security
from fink_broker.connectors.users import Users
from fink_broker.errors import UsageError
from fink_broker.filters.registry import active
from fink_broker.infra import kafka as kafka_server
from fink_broker.surveys import Survey
from fink_broker.transforms import rights
from fink_broker.transforms.rights import PUBLIC

_BYTES = 24  # of a password


def main(argv: Sequence[str]) -> int:
    """Add, list or remove users; 0, else the exit code of the error raised."""
    action, *rest = argv or [""]
    if action not in _ACTIONS:
        raise UsageError(f"fink user {' | '.join(_ACTIONS)} (fink user -h says more)")
    parser = Parser("user")
    if action != "list":
        parser.add_argument("name")
    if action == "list":
        parser.add_argument("--json", action="store_true")
    if action == "add":
        parser.add_argument("--audience", action="append", default=[])
        parser.add_argument("--password-file", type=Path)
    arguments = parser.parse_args(rest)
    settings = config.load(arguments.conf)
    connection = kafka_server.connection(settings, settings.kafka.output)
    kafka.wait_for(connection, min(kafka.ANSWER_S, settings.wait.seconds), "Kafka")
    _ACTIONS[action](settings, Users(kafka.admin(connection), connection), arguments)
    return 0


def _readable(settings: Settings, survey: Survey) -> dict[str, list[str]]:
    filters = active(settings, survey)
    return rights.readable(rights.audiences(settings, survey, filters), filters, survey)


def _add(settings: Settings, users: Users, arguments: Namespace) -> None:
    survey = surveys.get(settings.survey)
    topics = _readable(settings, survey)
    for audience in arguments.audience:
        if audience not in topics:
            raise UsageError(f"there is no audience '{audience}'; there are: {', '.join(topics)}")
    audiences = [PUBLIC, *dict.fromkeys(arguments.audience)]
    file = arguments.password_file
    password = SecretStr(security.read(file, "--password-file").rstrip("\r\n") if file else secrets.token_urlsafe(_BYTES))
    users.add(arguments.name, password, audiences)
    users.grant(topics)
    servers = settings.kafka.output.user_servers or _servers(settings)
    shown = "as in the file" if file else password.get_secret_value()
    print(f"{arguments.name} may read: {', '.join(topic for one in audiences for topic in topics[one])}")
    print(f"For them{'' if file else ', the password only now'}:\n")
    print(f"  finkctl auth register -survey {survey.topic_suffix} -username {arguments.name} -groupid {arguments.name} -servers {servers}")
    print(f"  password: {shown}")


def _servers(settings: Settings) -> str:
    """Where fink-client logs in: of the embedded Kafka that listener which it knows."""
    output = settings.kafka.output
    end = output.model_copy(update={"security_protocol": "SASL_PLAINTEXT"}) if output.servers == "local" else output
    return kafka_server.connection(settings, end).servers


def _list(_settings: Settings, users: Users, arguments: Namespace) -> None:
    members, readers = users.members(), users.readers()
    rows = {name: {"audiences": sorted(members[name]), "topics": sorted(readers.get(name, ()))} for name in sorted(members)}
    if arguments.json:
        print(json.dumps({"ok": True, "users": rows}))
        return
    for name, row in rows.items():
        print(f"{name:<20}{', '.join(row['audiences']):<24}{', '.join(row['topics'])}")
    if not rows:
        print("no users: fink user add NAME")


def _remove(_settings: Settings, users: Users, arguments: Namespace) -> None:
    users.remove(arguments.name)
    print(f"{arguments.name} is removed")


_ACTIONS = {"add": _add, "list": _list, "remove": _remove}


if __name__ == "__main__":
    run(main)
