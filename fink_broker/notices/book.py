"""Which notices take part from which batch on: written down before they do.

An alert and a notice must meet once, whichever came first. A notice takes part in the batches that begin after it came; the alerts of those
that had begun are matched with it apart, once (`late`). Both are told by what is noted here when a notice comes, so a batch that runs again
after a crash sees the notices that it saw.
"""

from __future__ import annotations

import datetime
import json
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from fink_broker.files import write_whole
from fink_broker.notices.notice import RETRACTION, Notice, Unusable, parse

log = logging.getLogger(__name__)


class Book:
    """The notices in a folder, a file each, and since when each takes part.

    Parameters
    ----------
    path : Path
        Where it is kept: with the query's checkpoint, whose batches it names.
    folder : Path
        The notices.
    begun : int
        The last batch that has begun, -1 for none.
    """

    def __init__(self, path: Path, folder: Path, begun: int) -> None:
        self._path, self._folder, self._begun = path, folder, begun
        self._lock = threading.Lock()
        self._parsed: dict[str, Notice] = {}
        self._noted: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def look(self, reached: Callable[[int], int]) -> None:
        """Take in what is new in the folder, and forget what has gone from it.

        Parameters
        ----------
        reached : callable
            Up to where in its source the query had come with a batch.
        """
        with self._lock:
            files = {file.name: file for file in self._folder.glob("[!.]*") if file.is_file()}
            before = dict(self._noted)
            self._noted = {name: entry for name, entry in self._noted.items() if name in files}
            self._parsed = {name: notice for name, notice in self._parsed.items() if name in files}
            for name, file in files.items():
                version = _version(file)
                known = self._noted.get(name, {}).get("version") == version
                if not known or ("since" in self._noted[name] and name not in self._parsed):
                    found = self._read(name, file)
                    if not known or "since" not in found:
                        self._noted[name] = {"version": version, **found}
                    if not known and "since" in found and self._begun >= 0:
                        self._noted[name]["late"] = reached(self._begun)
            if self._noted != before:
                self._write()

    def _read(self, name: str, file: Path) -> dict[str, Any]:
        """Read a notice; what is to be noted of it if it is new."""
        self._parsed.pop(name, None)
        received = datetime.datetime.fromtimestamp(file.stat().st_mtime, datetime.UTC)
        try:
            self._parsed[name] = replace(parse(file.read_bytes()), received=f"{received:%Y-%m-%d %H:%M:%S.%f}"[:-3])
        except Unusable as error:
            return {"unusable": str(error)}
        # Whatever somebody else's message makes the libraries say that read it: the others go on.
        except Exception as error:
            log.warning("the notice %s cannot be read: %s", file, error, exc_info=not isinstance(error, ValueError))
            return {"fault": " ".join(str(error).split())[:200] or type(error).__name__}
        return {"since": self._begun + 1, "late": -1}

    def begin(self, batch: int) -> list[Notice]:
        """A batch begins: the notices that it is matched with."""
        with self._lock:
            self._begun = max(self._begun, batch)
            return [notice for _, notice in self._in_force(batch)]

    def late(self) -> list[tuple[str, int, Notice]]:
        """Notices that came after alerts, which have not been matched with them yet: name, up to where in the source those go, notice."""
        with self._lock:
            force = self._in_force(self._begun + 1)
            return [(name, self._noted[name]["late"], notice) for name, notice in force if self._noted[name]["late"] >= 0]

    def done(self, names: Iterable[str]) -> None:
        """Late notices have been matched."""
        with self._lock:
            for name in names:
                if name in self._noted:
                    self._noted[name]["late"] = -1
            self._write()

    def _in_force(self, batch: int) -> list[tuple[str, Notice]]:
        """Of each trigger the newest notice that takes part in a batch, unless that takes it back."""
        taking_part = [name for name, entry in self._noted.items() if entry.get("since", batch + 1) <= batch and name in self._parsed]
        newest: dict[tuple[str, str], tuple[str, Notice]] = {}
        for name in sorted(taking_part, key=lambda name: (int(self._noted[name]["version"].split()[0]), name)):
            notice = self._parsed[name]
            newest[notice.observatory, notice.trigger] = (name, notice)
        return [(name, notice) for name, notice in newest.values() if notice.status != RETRACTION]

    def _write(self) -> None:
        write_whole(self._path, json.dumps(self._noted))


def _version(file: Path) -> str:
    state = file.stat()
    return f"{state.st_mtime_ns} {state.st_size}"
