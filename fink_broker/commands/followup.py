"""fink followup: observations of an object, asked for at a TOM Toolkit or SkyPortal."""

from __future__ import annotations

import json

from fink_broker import config, log
from fink_broker.commands import Parser, run
from fink_broker.query.tables import Tables
from fink_broker.services import followup


def main(argv: list[str] | None = None) -> int:
    """Print what is asked, and with --send ask it; 0, else the exit code of the error raised."""
    parser = Parser("followup")
    parser.add_argument("object", metavar="OBJECT")
    parser.add_argument("--to", required=True, metavar="NAME")
    parser.add_argument("--send", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    settings = config.load(arguments.conf)
    log.to_file(settings.log("followup"))
    with Tables(settings) as tables:
        found = followup.ask(settings, tables, arguments.object, arguments.to, send=arguments.send)
    if arguments.json:
        print(json.dumps({"sent": arguments.send, "requests": found}))
    else:
        print("\n".join(found))
        print("sent" if arguments.send else "nothing was sent: --send does it")
    return 0


if __name__ == "__main__":
    run(main)
