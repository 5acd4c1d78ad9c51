"""fink catalogue: catalogues of the sky that science modules match alerts with."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from fink_broker import config
from fink_broker.catalogues import published, read, store
from fink_broker.commands import Parser, run
from fink_broker.errors import UsageError


def main(argv: Sequence[str]) -> int:
    """Bring catalogues in, list or remove them; 0, else the exit code of the error raised."""
    action, *rest = argv or [""]
    if action not in _ACTIONS:
        raise UsageError(f"fink catalogue {' | '.join(_ACTIONS)} (fink catalogue -h says more)")
    parser = Parser("catalogue")
    if action == "install":
        parser.add_argument("names", nargs="*")
        parser.add_argument("--wheel", type=Path)
    elif action != "list":
        parser.add_argument("name")
    if action == "add":
        parser.add_argument("file", type=Path)
        for option in ("--ra", "--dec", "--radius"):
            parser.add_argument(option)
        parser.add_argument("--columns", type=lambda text: text.split(","))
    arguments = parser.parse_args(rest)
    _ACTIONS[action](config.load(arguments.conf).root, arguments)
    return 0


def _install(home: Path, arguments: Namespace) -> None:
    for name in published.install(home, arguments.names, arguments.wheel):
        print(_line(home, name), flush=True)


def _add(home: Path, arguments: Namespace) -> None:
    rows = read.table(arguments.file)
    found, without = read.catalogue(rows, arguments.ra, arguments.dec, arguments.radius, arguments.columns)
    store.write(home, arguments.name, found, str(arguments.file.resolve()))
    print(_line(home, arguments.name) + (f"; left out {without:,} rows without a position" if without else ""))


def _list(home: Path, arguments: Namespace) -> None:
    for name in store.names(home):
        print(_line(home, name))


def _remove(home: Path, arguments: Namespace) -> None:
    store.remove(home, arguments.name)
    print(f"{arguments.name} is removed")


def _line(home: Path, name: str) -> str:
    known = store.note(home, name)
    return f"{name:<12} {known['rows']:>11,} rows  {known['source']}"


_ACTIONS = {"install": _install, "add": _add, "list": _list, "remove": _remove}


if __name__ == "__main__":
    run(main)
