"""fink science: the modules there are, environments for the community's, tools for one's own."""

from __future__ import annotations

import json
import re
from pathlib import Path

from fink_broker import config, surveys
from fink_broker.commands import Parser, bench, positive, run, trial
from fink_broker.config import Settings
from fink_broker.config.own import ScienceModule
from fink_broker.errors import ConfigError, UsageError
from fink_broker.infra import environments
from fink_broker.science import registry

_NEW = '''"""{name}: what it says of an alert."""

import pandas as pd
from fink_broker.science import outputs


@outputs({name}="double")
def {name}(magpsf: pd.Series, cmagpsf: pd.Series) -> pd.Series:
    """How much brighter the alert is than the faintest detection before, in magnitudes.

    Parameters
    ----------
    magpsf : Series of float
        Magnitude of the alert.
    cmagpsf : Series of arrays of float
        Magnitudes, history then current; NaN for an upper limit.
    """
    faintest = cmagpsf.map(lambda magnitudes: pd.Series(magnitudes).max())
    return faintest - magpsf
'''


def main(argv: list[str] | None = None) -> int:
    """Run the part that the first argument names."""
    parser = Parser("science")
    parser.add_argument("what", choices=["list", "install", "new", "test", "bench"])
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--alerts", type=positive)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    if arguments.what == "bench":
        more = ["--alerts", str(arguments.alerts)] if arguments.alerts else []
        return bench.main(["science", *more, *(["--json"] if arguments.json else []), *(["-c", arguments.conf] if arguments.conf else [])])
    settings = config.load(arguments.conf)
    if arguments.what == "list":
        show(settings, as_json=arguments.json)
        return 0
    if not arguments.name:
        raise UsageError(f"fink science {arguments.what} takes a name (fink science -h)")
    if arguments.what == "test":
        return trial.main(settings, arguments.name, arguments.data, arguments.alerts, as_json=arguments.json)
    (install if arguments.what == "install" else new)(settings, arguments.name)
    return 0


def show(settings: Settings, *, as_json: bool) -> None:
    """Print every module that is known: whether it is on, can run, or what it lacks."""
    survey = surveys.get(settings.survey)
    entries = list(registry.known(settings, survey).values())
    found = registry.descriptions(settings, entries)
    on = {*settings.raw2science.modules, *(entry.name for entry in settings.science_section.modules if entry.on)}
    rows = []
    for entry, description in zip(entries, found, strict=True):
        state = "on" if entry.name in on else "available"
        lacks = description.fault
        if missing := re.search(r"ModuleNotFoundError: No module named '([\w.]+)'", lacks):
            lacks = f"the package {missing[1].partition('.')[0]}"
        if not lacks:
            try:
                registry.resolve(settings, [entry])
            except ConfigError as error:
                lacks = str(error)
        rows.append({"name": entry.name, "state": f"lacks {lacks}" if lacks else state, "remote": entry.remote, "on": entry.name in on})
    if as_json:
        print(json.dumps({"ok": True, "environment": settings.science_section.environment, "modules": rows}))
        return
    for row in rows:
        print(f"{row['name']:<28}{row['state']}{' (asks a server)' if row['remote'] else ''}")
    where = settings.science_section.environment
    print(f"\nenvironment: {where or 'the broker’s own'}; survey: {survey.name}")


def install(settings: Settings, name: str) -> None:
    """Make an environment."""
    folder = environments.install(settings, name, lambda line: print(line, flush=True))
    print(f'{folder} is ready: say [science] environment = "{name}", and name modules (fink science list)')


def new(settings: Settings, name: str) -> None:
    """Write a module that runs."""
    try:
        ScienceModule(name=name)
    except ValueError as error:
        raise UsageError(f"'{name}' is no name for a module: small letters, digits and _") from error
    file = Path(f"{name}.py")
    if file.exists():
        raise UsageError(f"{file} is there already")
    file.write_text(_NEW.format(name=name), encoding="utf-8")
    print(f"{file} is written. Try it: fink science test {file}\nThen add to the configuration:\n")
    print(f'[[science.modules]]\nname = "{name}"\nfunction = "{file.resolve()}"')


if __name__ == "__main__":
    run(main)
