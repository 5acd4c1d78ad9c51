"""A worker's own folder: temporary files of modules, and a note of what runs, which outlives the worker."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fink_broker.plugins import is_for_chat
from fink_broker.worker.limits import bound_memory

_RUNNING, _KILLERS = "running", "killers"


class Place:
    """This worker's folder, below one that all workers of an application on this machine share.

    A module that ends the process it runs in cannot say so. What runs is noted before; who finds the note of a worker that is gone
    knows who ended it. From then on that module runs in a process of its own.

    Parameters
    ----------
    shared : Path
        The common folder.
    memory_mb : int, optional
        How much memory this process may take beyond what it has now.
    """

    def __init__(self, shared: Path, memory_mb: int | None = None) -> None:
        try:
            shared.mkdir(parents=True, exist_ok=True)
        except OSError:
            # On a machine of a cluster that does not have the broker's home.
            shared = Path(tempfile.gettempdir()) / f"fink-{os.getuid()}-{shared.name}"
            shared.mkdir(exist_ok=True, mode=0o700)
        self.shared = shared
        self.folder = shared / str(os.getpid())
        self.folder.mkdir(exist_ok=True)
        self._note = os.open(self.folder / _RUNNING, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
        for variable in filter(is_for_chat, list(os.environ)):
            del os.environ[variable]
        if memory_mb is not None:
            bound_memory(memory_mb)
        self.killers: frozenset[str] = frozenset()
        self.look_around()

    def look_around(self) -> None:
        """Learn which modules have ended their workers; clear up what those have left."""
        for other in _gone(self.shared):
            with contextlib.suppress(OSError):  # another worker is at it too
                if name := (other / _RUNNING).read_text(encoding="utf-8"):
                    with (self.shared / _KILLERS).open("a", encoding="utf-8") as killers:
                        killers.write(f"{name}\n")
                shutil.rmtree(other)
        with contextlib.suppress(FileNotFoundError):
            self.killers = frozenset((self.shared / _KILLERS).read_text(encoding="utf-8").splitlines())

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """Note that a module runs."""
        os.pwrite(self._note, name.encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(self._note, 0)

    @staticmethod
    def memory_mb() -> int:
        """Peak resident memory of this worker and its children."""
        return sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) // 1000


def forget(shared: Path) -> None:
    """Give modules that ended their workers another chance: at the next start they may have been mended."""
    (shared / _KILLERS).unlink(missing_ok=True)
    for other in _gone(shared):
        shutil.rmtree(other, ignore_errors=True)


def _gone(shared: Path) -> list[Path]:
    """Folders of workers that are no more."""
    return [one for one in shared.glob("[0-9]*") if not Path("/proc", one.name).exists()]


_places: dict[tuple[int, Path], Place] = {}


def here(shared: Path, memory_mb: int, again: bool) -> Place:
    """This process's place; made once.

    Parameters
    ----------
    shared, memory_mb
        See `Place`.
    again : bool
        Whether the task has been tried before: something may have ended a worker.
    """
    key = (os.getpid(), shared)
    if key not in _places:
        _places[key] = Place(shared, memory_mb)
    elif again:
        _places[key].look_around()
    return _places[key]
