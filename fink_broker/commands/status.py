"""fink status: per service what went in and out, what was dropped and why, how far behind it is; whether the sums meet."""

from __future__ import annotations

import json
import sys
import time

from fink_broker import config
from fink_broker.commands import Parser, parse_night, positive, run
from fink_broker.commands.status_text import table
from fink_broker.config import Settings
from fink_broker.errors import FinkError
from fink_broker.monitoring.shelf import Kept
from fink_broker.monitoring.status import status

_WATCH_S = 2
_CLEAR = "\033[H\033[2J"  # ANSI: the cursor home, the screen empty


def main(argv: list[str] | None = None) -> int:
    """Print the state of every service, and of a night the account; exit code 1 if sums do not meet or a service has failed."""
    parser = Parser("status")
    parser.add_argument("--night", type=parse_night)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--watch", nargs="?", type=positive, const=_WATCH_S, metavar="SECONDS")
    arguments = parser.parse_args(argv)
    settings = config.load(arguments.conf)
    kept: Kept = {}
    while True:
        afresh = arguments.watch is not None and sys.stdout.isatty()
        ok = _show(settings, arguments.night, kept, as_json=arguments.json, afresh=afresh)
        if arguments.watch is None:
            return 0 if ok else 1
        time.sleep(arguments.watch)


def _show(settings: Settings, night: str | None, kept: Kept, *, as_json: bool, afresh: bool) -> bool:
    try:
        state = status(settings, night, kept)
    except FileNotFoundError as error:
        raise FinkError(f"a committed file is gone, and the alerts in it: {error.filename or error}") from error
    text = json.dumps(state) if as_json else (f"Night {night}\n" if night else "") + table(state)
    print(f"{_CLEAR if afresh else ''}{text}", flush=True)
    return bool(state["ok"])


if __name__ == "__main__":
    run(main)
