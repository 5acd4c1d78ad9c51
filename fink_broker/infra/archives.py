"""Archives of jars that few need: fetched at their first use, by the same lock and with the same care as the set-up's jars."""

from __future__ import annotations

import shutil
import sys
import tarfile
from pathlib import Path

from fink_broker.errors import FinkError
from fink_broker.infra import jars
from fink_broker.infra.jars import Jar
from fink_broker.infra.setup import Setup
from fink_broker.infra.setup_steps import Progress, Runner, explain, together


def unpacked(name: str, what: str) -> Path:
    """Folder of an archive's content; it is fetched at the first call. Waits if another process is at it.

    Parameters
    ----------
    name : str
        Its class path in the lock.
    what : str
        What it is and how large, for the user.

    Raises
    ------
    FinkError
        It cannot be fetched, or is not the one that was locked: one line that says what to do.
    """
    [archive] = jars.read_lock(jars.LOCK, (name,))
    place = jars.folder(name) / f"{archive.name}-{archive.rev}"
    if place.is_dir():
        return place
    setup = Setup(jars.setup())
    with setup.locked() as lock:
        if place.is_dir():
            return place
        print(f"{what} is fetched into {setup.folder}, once (details: setup.log there)", file=sys.stderr, flush=True)
        setup.log.write_bytes(b"")
        runner, progress = Runner(setup.log, lock), Progress(setup.log)
        work = setup.folder / f"tmp-{name}"
        together(runner, progress, lambda: _fetch(archive, place, work, runner))
        progress.done(f"{what}, as locked by its SHA-256")
    return place


def _fetch(archive: Jar, place: Path, work: Path, runner: Runner) -> None:
    """Fetch and unpack beside, then move: the place is there whole or not at all."""
    try:
        jars.fetch([archive], work, work / "ivy", runner)
    except FinkError as error:
        raise FinkError(explain(runner.log, str(error))) from error
    shutil.rmtree(work / "new", ignore_errors=True)  # of a fetch that was cut off
    with tarfile.open(work / archive.path) as file:
        file.extractall(work / "new")
    shutil.rmtree(place.parent, ignore_errors=True)  # an earlier version
    place.parent.mkdir(parents=True)
    (work / "new").rename(place)
    shutil.rmtree(work)
