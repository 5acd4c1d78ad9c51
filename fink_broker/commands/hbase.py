"""fink hbase: the tables of the science database."""

from __future__ import annotations

import json
from collections.abc import Sequence

from fink_broker import config, surveys
from fink_broker.commands import Parser, run
from fink_broker.connectors.hbase import Client
from fink_broker.infra import hbase_tables
from fink_broker.services import archive, tables


def main(argv: Sequence[str]) -> int:
    """Make the tables of the survey that are missing, or print how a cluster's shell makes them.

    Returns
    -------
    int
        0, or the exit code of the error raised.
    """
    parser = Parser("hbase")
    parser.add_argument("what", choices=["init"])
    parser.add_argument("--shell", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)

    settings = config.load(arguments.conf)
    survey = archive.definition(settings, surveys.get(settings.survey))
    if arguments.shell:
        print(hbase_tables.shell(settings, tables.new(settings, survey.tables)))
        return 0
    with Client(archive.place(settings)) as client:
        made = tables.make(settings, survey.tables, client)
    if arguments.json:
        print(json.dumps({"ok": True, "made": made}))
        return 0
    print(f"{len(survey.tables)} tables of {survey.name}: {len(made)} made, {len(survey.tables) - len(made)} there before")
    return 0


if __name__ == "__main__":
    run(main)
