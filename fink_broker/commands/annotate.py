"""fink annotate: what people and follow-up say of an alert, and the names that others have for objects."""

from __future__ import annotations

from pathlib import Path

from fink_broker import config, query
from fink_broker.commands import Parser, run
from fink_broker.query import names
from fink_broker.query.tables import Tables


def main(argv: list[str] | None = None) -> int:
    """Write an annotation, or bring in a list of names; 0, else the exit code of the error raised."""
    parser = Parser("annotate")
    parser.add_argument("name", nargs="?")
    parser.add_argument("--candid", "--id", dest="alert", type=int)
    for option in ("--kind", "--value", "--who"):
        parser.add_argument(option)
    parser.add_argument("--source", default="")
    lists = parser.add_mutually_exclusive_group()
    lists.add_argument("--tns", type=Path)
    lists.add_argument("--sso", type=Path)
    arguments = parser.parse_args(argv)
    file = arguments.tns or arguments.sso
    if (arguments.name is None) == (file is None):
        parser.error("say which object, or give a list with --tns or --sso")
    if file is None and not (arguments.kind and arguments.value and arguments.who):
        parser.error("an annotation needs --kind, --value and --who")
    with Tables(config.load(arguments.conf)) as tables:
        if file is None:
            said = {"who": arguments.who, "source": arguments.source, "alert_id": arguments.alert}
            query.annotate(tables, arguments.name, arguments.kind, arguments.value, **said)
        else:
            number = names.add_tns(tables, file) if arguments.tns else names.add_solar_system(tables, file)
            print(f"{number:,} names")
    return 0


if __name__ == "__main__":
    run(main)
