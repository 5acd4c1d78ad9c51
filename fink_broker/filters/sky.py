"""Watchlists, regions and sky maps of the configuration: their files made ready for the workers, each a filter.

A file is read when a service starts and when it has changed, never by a worker: what workers map lies in
``HOME/positions/<name>/<version>``, one folder for each version of the file and its options.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fink_broker.catalogues import coverage, read, regions, store
from fink_broker.config import Settings
from fink_broker.config.positions import SkyMap, Watchlist
from fink_broker.errors import ConfigError, UsageError
from fink_broker.filters import Filter
from fink_broker.plugins import Reference
from fink_broker.surveys import Survey

log = logging.getLogger(__name__)

_IN_WORKERS = "fink_broker.filters.positions"
# One that is not the newest may still be in use: by the batch that runs, or because the newest cannot be.
_VERSIONS = 3


@dataclass(frozen=True)
class Entry:
    """An entry of the configuration: a file, and how it becomes a filter.

    Parameters
    ----------
    name, what : str
        Its name, and what it is, for messages.
    file : Path
        The file.
    options : tuple
        What else says what comes of the file.
    make : callable
        Makes the file ready in a folder, or raises UsageError.
    function : str
        What searches the folder, in `fink_broker.filters.positions`.
    constants : dict
        Arguments of that beside position and folder.
    """

    name: str
    what: str
    file: Path
    options: tuple[Any, ...]
    make: Callable[[Path, Path], None]
    function: str
    constants: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"the {self.what} '{self.name}'"

    def filter(self, settings: Settings, survey: Survey) -> Filter:
        """The filter, its file made ready.

        Raises
        ------
        ConfigError
            The file is missing, empty or broken; the message names entry, file and reason.
        """
        return Filter(
            self.name,
            reference=Reference(_IN_WORKERS, self.function),
            inputs=survey.position,
            constants={"folder": str(self._ready(settings.positions / self.name)), **self.constants},
            timeout_s=settings.distribution.timeout_seconds,
            origin=str(self.file),
        )

    def _ready(self, home: Path) -> Path:
        """The folder of this version of the file, made if it is not there yet."""
        try:
            state = self.file.stat()
            version = repr((str(self.file), state.st_mtime_ns, state.st_size, self.options))
            target = home / hashlib.sha256(version.encode()).hexdigest()[:16]
            if not target.is_dir():
                self.make(self.file, target)
                for folder in sorted(home.glob("[0-9a-f]*"), key=lambda folder: -folder.stat().st_mtime_ns)[_VERSIONS:]:
                    shutil.rmtree(folder, ignore_errors=True)
            target.touch()
        except OSError as error:
            raise ConfigError(f"{self}: cannot read {self.file}: {error.strerror}") from error
        except UsageError as error:
            raise ConfigError(f"{self}: {error}") from error
        return target


def entries(settings: Settings) -> Iterator[Entry]:
    """Watchlists, regions and sky maps, in this order."""
    place = settings.below_checkout
    for rows in settings.watchlists:
        reach = np.inf if isinstance(rows.radius_arcsec, str) else rows.radius_arcsec
        options = (rows.radius_arcsec, rows.ra, rows.dec)
        yield Entry(rows.name, "watchlist", place(rows.file), options, _watchlist(rows), "near", {"radius": reach})
    for part in settings.regions:
        yield Entry(part.name, "region", place(part.moc), (), _region, "inside")
    for sky in settings.skymaps:
        yield Entry(sky.name, "sky map", place(sky.file), (sky.level,), _skymap(sky), "inside")


def _watchlist(one: Watchlist) -> Callable[[Path, Path], None]:
    def make(file: Path, target: Path) -> None:
        reaches = one.radius_arcsec if isinstance(one.radius_arcsec, str) else None
        found, without = read.catalogue(read.table(file), one.ra, one.dec, reaches)
        if found.radius is not None and not np.all(found.radius > 0):
            raise UsageError(f"the column '{reaches}' of {file} has radii that are not positive")
        if without:
            log.warning("the watchlist '%s': %d rows of %s have no position, and find nothing", one.name, without, file)
        store.keep(target, found, str(file))

    return make


def _region(file: Path, target: Path) -> None:
    coverage.keep(target, regions.moc(file))


def _skymap(one: SkyMap) -> Callable[[Path, Path], None]:
    return lambda file, target: coverage.keep(target, regions.credible(regions.skymap(file), one.level))
