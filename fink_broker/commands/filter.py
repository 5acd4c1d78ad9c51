"""fink filter: the filters there are, and tools for one's own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.sql.types import StructType

from fink_broker import config, surveys
from fink_broker.commands import Parser, filter_trial, parse_night, positive, run
from fink_broker.config import Settings
from fink_broker.config.own import Plugin
from fink_broker.connectors import parquet
from fink_broker.errors import ConfigError, UsageError
from fink_broker.filters import Filter, registry
from fink_broker.filters.known import Known
from fink_broker.monitoring import filters as notes
from fink_broker.services import raw2science
from fink_broker.services.context import Context
from fink_broker.session import session
from fink_broker.surveys import Survey
from fink_broker.transforms.columns import expression

_NEW = '''"""{name}: which alerts go to the topic of this name."""

import pandas as pd


def {name}(magpsf: pd.Series, cmagpsf: pd.Series, cfid: pd.Series) -> pd.Series:
    """Brighter than magnitude 18, and seen in both g and r.

    Arguments are columns of the alert by their names: see docs/filters.md. A filter sees many alerts at once, and answers for each.

    Parameters
    ----------
    magpsf : Series of float
        Magnitude of the alert.
    cmagpsf, cfid : Series of arrays
        Light curve: magnitudes (NaN for an upper limit) and bands (1 is g, 2 is r), history first, the alert itself last.

    Returns
    -------
    Series of bool
    """
    both = [{{1, 2}} <= set(bands[magnitudes > 0]) for magnitudes, bands in zip(cmagpsf, cfid)]
    return (magpsf < 18) & pd.Series(both, index=magpsf.index)
'''
_TEST = '''"""Test of {name}; fink filter test runs it too."""

import numpy as np
import pandas as pd
from {name} import {name}


def test_{name}():
    """A bright alert in both bands passes; a faint one, and one seen in g only, do not."""
    curves = pd.Series([np.array([18.2, 17.5]), np.array([18.2, 19.0]), np.array([np.nan, 17.5])])
    bands = pd.Series([np.array([1, 2]), np.array([1, 2]), np.array([2, 1])])
    assert {name}(curves.map(lambda one: one[-1]), curves, bands).tolist() == [True, False, False]


if __name__ == "__main__":
    test_{name}()
'''


def main(argv: list[str] | None = None) -> int:
    """Run the part that the first argument names."""
    parser = Parser("filter")
    parser.add_argument("what", choices=["list", "new", "test", "enable"])
    parser.add_argument("name", nargs="?", default="")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--night", type=parse_night)
    place.add_argument("--data", type=Path)
    parser.add_argument("--alerts", type=positive)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    settings = config.load(arguments.conf)
    if arguments.what == "list":
        show(settings, as_json=arguments.json)
        return 0
    if not arguments.name:
        raise UsageError(f"fink filter {arguments.what} takes a name (fink filter -h)")
    if arguments.what == "test":
        data = filter_trial.Data(arguments.night, arguments.data, arguments.alerts)
        return filter_trial.main(settings, arguments.name, data, as_json=arguments.json)
    (enable if arguments.what == "enable" else new)(settings, arguments.name)
    return 0


@dataclass(frozen=True)
class Row:
    """A filter in the list: its name, whether it is in use, and what is to be said of it."""

    name: str
    on: bool
    state: str


def show(settings: Settings, *, as_json: bool) -> None:
    """Print every filter that is known."""
    survey = surveys.get(settings.survey)
    rows = list(_rows(settings, survey))
    if as_json:
        print(json.dumps({"ok": True, "survey": survey.name, "filters": [vars(row) for row in rows]}))
        return
    width = max(len(row.name) for row in rows) + 2
    for row in rows:
        print(f"{row.name:<{width}}{row.state}")
    blocks = Known(settings, survey).blocks
    if blocks:
        print(f"\nbuilding blocks for SQL: {', '.join(blocks)}")
    print(f"\nsurvey: {survey.name}; your own: {settings.filter_folder}, a file each")


def _rows(settings: Settings, survey: Survey) -> Iterator[Row]:
    off = notes.switched_off(settings)
    gathered = registry.gather(registry.sources(settings, survey))
    on = {one.name for one in gathered.filters}
    columns = _columns(settings, survey)
    known = Known(settings, survey)
    listed = [(name, name.removeprefix("fink.")) for name in known]
    listed += [(one.name, one.name) for source, filters in gathered.sources.items() if source != registry.CONFIGURATION for one in filters]
    for title, name in listed:
        if name in off:
            yield Row(title, False, f"off since {off[name]['since']}: {off[name]['reason']} (fink filter enable {name})")
            continue
        lacks = _lacks(known, title, survey, columns)
        used = name in on and (title == name or title in settings.distribution.filters or "fink.*" in settings.distribution.filters)
        yield Row(title, used and not lacks, f"lacks {lacks}" if lacks else "on" if used else "available")
    for source, fault in gathered.faults.items():
        yield Row(Path(source).name, False, f"broken: {fault}")


def _lacks(known: Known, name: str, survey: Survey, columns: StructType) -> str:
    """What a filter needs that there is not: a package or a column; empty if it has all."""
    try:
        found: Filter | None = known.filter(name) if name in known else None
        for one in [found, *found.uses] if found else ():
            for column in one.inputs if one else ():
                if re.fullmatch(r"\w+", column):
                    expression(column, survey, columns)
    except ConfigError as error:
        missing = re.search(r"ModuleNotFoundError: No module named '([\w.]+)'", str(error))
        return f"the package {missing[1].partition('.')[0]}" if missing else str(error)
    return ""


def _columns(settings: Settings, survey: Survey) -> StructType:
    """The columns of science alerts: as they were written, else as they will be."""
    written = parquet.columns(settings.science)
    if written is not None:
        return written
    spark = session(settings.model_copy(update={"spark": settings.spark.model_copy(update={"master": "local[1]"})}), "filter-list")
    try:
        return raw2science.schema(Context(spark, settings, survey))
    finally:
        spark.stop()


def new(settings: Settings, name: str) -> None:
    """Write a filter that runs, and its test."""
    try:
        Plugin(name=name)
    except ValueError as error:
        raise UsageError(f"'{name}' is no name for a filter: a small letter, then small letters, digits and _") from error
    texts: dict[Path, Any] = {Path(f"{name}.py"): _NEW, Path(f"test_{name}.py"): _TEST}
    for file in texts:
        if file.exists():
            raise UsageError(f"{file} is there already")
    settings.filter_folder.mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        file.write_text(text.format(name=name), encoding="utf-8")
    print(
        f"{name}.py and its test test_{name}.py are written. Change them, try them, put the filter in use:\n\n"
        f"fink filter test {name}.py\ncp {name}.py {settings.filter_folder}/"
    )


def enable(settings: Settings, name: str) -> None:
    """Switch a filter on again."""
    if not notes.enable(settings, name):
        off = ", ".join(notes.switched_off(settings)) or "none"
        raise UsageError(f"the filter '{name}' is not off; off are: {off}")
    print(f"{name} is on again: a running service takes it up within seconds")


if __name__ == "__main__":
    run(main)
