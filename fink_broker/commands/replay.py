"""fink replay: rejected messages through the broker once more, after what was wrong has been mended."""

from __future__ import annotations

import json
import sys
import time

from fink_broker import config
from fink_broker.commands import Parser, parse_night, run
from fink_broker.commands.rejected import select
from fink_broker.config import Settings
from fink_broker.connectors import replay
from fink_broker.errors import FinkError
from fink_broker.infra import processes
from fink_broker.monitoring import reach

_POLL_S = 0.5
_TELL_S = 20.0


def main(argv: list[str] | None = None) -> int:
    """Offer rejected messages to stream2raw, wait until it has taken them, and say how many came through."""
    parser = Parser("replay")
    parser.add_argument("--night", type=parse_night)
    parser.add_argument("--reason")
    parser.add_argument("--no-wait", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    settings = config.load(arguments.conf)
    with processes.start_lock(settings, "replay"):
        waiting = list(replay.offer(settings.replay, select(settings, arguments.night, arguments.reason)))
        offered = {one.key for file in waiting for one in replay.read(file)}
    running = processes.find(settings, "stream2raw") is not None
    if not offered or arguments.no_wait or not running:
        if arguments.json:
            print(json.dumps({"ok": True, "sent": len(offered), "through": None}))
        else:
            print(_offered(len(offered), running))
        return 0
    _wait(settings)
    again = sum(one.key in offered for one in replay.rejected(settings.raws, settings.replay))
    if arguments.json:
        print(json.dumps({"ok": True, "sent": len(offered), "through": len(offered) - again}))
    else:
        print(f"{len(offered):,} sent again: {len(offered) - again:,} came through, {again:,} were rejected again")
    return 0


def _offered(number: int, running: bool) -> str:
    if not number:
        return "nothing to replay"
    what = "stream2raw takes them with its next batch" if running else "fink start stream2raw takes them in"
    return f"{number:,} sent again: {what}"


def _wait(settings: Settings) -> None:
    """Until stream2raw has committed all that was offered."""
    told = time.monotonic()
    while left := reach.offered(settings) - reach.replayed(settings):
        if processes.find(settings, "stream2raw") is None:
            raise FinkError(f"stream2raw has ended before it took {left:,} messages: it will when it is started again")
        if time.monotonic() > told + _TELL_S:
            print(f"waiting for stream2raw: {left:,} messages left ...", file=sys.stderr, flush=True)
            told = time.monotonic()
        time.sleep(_POLL_S)


if __name__ == "__main__":
    run(main)
