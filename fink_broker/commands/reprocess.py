"""fink reprocess: a past night's science anew, with the modules that are configured now."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from fink_broker import config, surveys
from fink_broker.commands import Parser, parse_night, run
from fink_broker.infra import processes
from fink_broker.services.reprocess import reprocess
from fink_broker.session import session


def main(argv: Sequence[str]) -> int:
    """Process one night anew.

    Returns
    -------
    int
        0, or the exit code of the error raised.
    """
    parser = Parser("reprocess")
    parser.add_argument("--night", type=parse_night, required=True)
    parser.add_argument("--modules", type=lambda text: text.split(","))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)

    settings = config.load(arguments.conf)
    # A merge must not come between: it is the same lock.
    with processes.start_lock(settings, "merge"):
        spark = session(settings, "reprocess")
        try:
            done = reprocess(spark, settings, surveys.get(settings.survey), arguments.night, arguments.modules)
        finally:
            spark.stop()
    if arguments.json:
        print(json.dumps({"ok": True, "night": arguments.night, **asdict(done)}))
        return 0
    print(f"{arguments.night}: {done.alerts} science alerts anew ({done.version}), by {', '.join(done.modules) or 'no module'}")
    if done.errors:
        print(f"modules raised for {done.errors} of them, such as {done.error}")
    return 0


if __name__ == "__main__":
    run(main)
