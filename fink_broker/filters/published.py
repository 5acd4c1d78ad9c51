"""The filters of the package fink-filters, unmodified: found in the files of the environment that the workers run on.

Each is a function in a file of its own, ``fink_filters/<survey>/livestream/filter_<name>/filter.py``, and called as its folder says; what
its SQL users may name beside, are the building blocks in ``fink_filters/<survey>/blocks.py``.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from fink_broker.config import Settings
from fink_broker.infra import environments
from fink_broker.plugins import Reference
from fink_broker.surveys import Survey

PREFIX = "fink."
EVERY = "fink.*"
_PACKAGE = "fink_filters"


def package(settings: Settings) -> Path | None:
    """Where the package is, if it is there."""
    environment = settings.science_section.environment
    if environment:
        return next(environments.folder(settings, environment).glob(f"lib/python*/site-packages/{_PACKAGE}"), None)
    spec = find_spec(_PACKAGE)
    return Path(spec.origin).parent if spec and spec.origin else None


def filters(settings: Settings, survey: Survey) -> dict[str, Reference]:
    """Functions by the filters' names, without the prefix."""
    where = package(settings)
    files = sorted(where.glob(f"{survey.name}/livestream/filter_*/filter.py")) if where else []
    names = [file.parent.name.removeprefix("filter_") for file in files]
    return {name: Reference(f"{_PACKAGE}.{survey.name}.livestream.filter_{name}.filter", name) for name in names}


def blocks(settings: Settings, survey: Survey) -> dict[str, Reference]:
    """Building blocks by name: functions that return booleans."""
    where = package(settings)
    file = where / survey.name / "blocks.py" if where else Path()
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return {name: Reference(f"{_PACKAGE}.{survey.name}.blocks", name) for name in re.findall(r"^def (b_\w+)\(", text, re.MULTILINE)}
