"""fink merge: the night's files into few large ones, in the Parquet archive."""

from __future__ import annotations

import json
from collections.abc import Sequence

from fink_broker import config, surveys
from fink_broker.commands import Parser, parse_night, run
from fink_broker.infra import processes
from fink_broker.services.merge import merge, pending
from fink_broker.services.prune import prune
from fink_broker.session import session


def main(argv: Sequence[str]) -> int:
    """Merge one night, or all that are over and not merged yet.

    Returns
    -------
    int
        0, also when there is nothing to merge; else the exit code of the error raised.
    """
    parser = Parser("merge")
    parser.add_argument("--night", type=parse_night)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)

    settings = config.load(arguments.conf)
    survey = surveys.get(settings.survey)
    merged: dict[str, dict[str, int]] = {}
    with processes.start_lock(settings, "merge"):
        nights = [arguments.night] if arguments.night else pending(settings)
        if nights:
            spark = session(settings, "merge")
            try:
                for night in nights:
                    merged[night] = merge(spark, settings, survey, night)
                    if not arguments.json:
                        print(_line(night, merged[night]))
            finally:
                spark.stop()
        left = [] if arguments.night else prune(settings, survey)
    if arguments.json:
        print(json.dumps({"ok": True, "nights": merged, "left": left}))
        return 0
    for night in left:
        print(f"{night}: is in the archive for good; its files leave {settings.raw.parent} with the next merge")
    if not nights and not left:
        print("nothing to merge")
    return 0


def _line(night: str, counts: dict[str, int]) -> str:
    return f"{night}: " + ", ".join(f"{count} {kind} alerts" for kind, count in counts.items())


if __name__ == "__main__":
    run(main)
