"""fink archive: alerts of past nights into the HBase tables once more."""

from __future__ import annotations

import json
from collections.abc import Sequence

from fink_broker import config, surveys
from fink_broker.commands import Parser, parse_night, run
from fink_broker.errors import UsageError
from fink_broker.services import archive, past
from fink_broker.services.context import Context
from fink_broker.session import session


def main(argv: Sequence[str]) -> int:
    """Write one night or several, a night at a time.

    Returns
    -------
    int
        0, or the exit code of the error raised.
    """
    parser = Parser("archive")
    parser.add_argument("--night", type=parse_night)
    parser.add_argument("--from", dest="first", type=parse_night)
    parser.add_argument("--until", type=parse_night)
    parser.add_argument("--tables", type=lambda text: [name.strip() for name in text.split(",")])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    if bool(arguments.night) == bool(arguments.first or arguments.until):
        raise UsageError("which nights? give --night, or --from and --until")

    settings = config.load(arguments.conf)
    survey = surveys.get(settings.survey)
    nights = past.nights(settings, arguments.night or arguments.first, arguments.night or arguments.until)
    archive.place(settings)
    if arguments.tables:
        archive.known_to(archive.definition(settings, survey), arguments.tables)
    spark = session(settings, "archive of past nights")
    written = {}
    try:
        context = Context(spark, settings, survey)
        for night in nights:
            written[night] = archive.rebuild(context, night, arguments.tables)
            if not arguments.json:
                rows = ", ".join(f"{count} in {table}" for table, count in written[night].rows.items() if count)
                print(f"{night}: {written[night].alerts} alerts; rows: {rows or 'none'}", flush=True)
    finally:
        spark.stop()
    if arguments.json:
        print(json.dumps({"ok": True, "nights": {night: one._asdict() for night, one in written.items()}}))
    return 0


if __name__ == "__main__":
    run(main)
