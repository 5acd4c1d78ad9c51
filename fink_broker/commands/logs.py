"""fink logs: the end of a service's log."""

from __future__ import annotations

import os

from fink_broker import config
from fink_broker.commands import Parser, positive, run
from fink_broker.errors import UsageError


def main(argv: list[str] | None = None) -> int:
    """Hand over to `tail`, which also follows a log that is begun anew."""
    parser = Parser("logs")
    parser.add_argument("service", metavar="SERVICE")
    parser.add_argument("-f", "--follow", action="store_true")
    parser.add_argument("-n", "--lines", type=positive, default=50)
    arguments = parser.parse_args(argv)
    settings = config.load(arguments.conf)
    file = settings.log(arguments.service)
    if not file.is_file():
        known = ", ".join(sorted(one.stem for one in file.parent.glob("*.log")))
        raise UsageError(f"there is no log {file}" + (f"; there are those of {known}" if known else ": nothing was started here yet"))
    os.execvp("tail", ["tail", "-n", str(arguments.lines), *(["-F"] if arguments.follow else []), "--", str(file)])


if __name__ == "__main__":
    run(main)
