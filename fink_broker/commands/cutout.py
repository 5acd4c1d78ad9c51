"""fink cutout: the image around an alert, as a picture or as FITS."""

from __future__ import annotations

import sys
from pathlib import Path

from fink_broker import config, query
from fink_broker.commands import Parser, run
from fink_broker.query.tables import Tables


def main(argv: list[str] | None = None) -> int:
    """Write a cutout; 0, else the exit code of the error raised."""
    parser = Parser("cutout")
    parser.add_argument("name")
    parser.add_argument("--kind", default="science")
    parser.add_argument("--candid", "--id", dest="alert", type=int)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--png", action="store_true")
    form.add_argument("--fits", action="store_true")
    parser.add_argument("-o", "--output")
    arguments = parser.parse_args(argv)
    end = Path(arguments.output or "").suffix
    as_fits = arguments.fits or (end.startswith(".fit") and not arguments.png)
    with Tables(config.load(arguments.conf)) as tables:
        image = query.cutout(tables, arguments.name, arguments.kind, arguments.alert)
    content = image if as_fits else query.png(image)
    if arguments.output == "-":
        sys.stdout.buffer.write(content)
        return 0
    output = Path(arguments.output or f"{arguments.name}_{arguments.kind}.{'fits' if as_fits else 'png'}")
    output.write_bytes(content)
    print(output)
    return 0


if __name__ == "__main__":
    run(main)
