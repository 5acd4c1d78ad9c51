"""Counts of nights that were processed anew (`fink reprocess`), once more from the archive: by what is said of their alerts now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Lock

from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from fink_broker.config import Settings
from fink_broker.connectors import archive
from fink_broker.connectors.sparklog import newest
from fink_broker.monitoring import reach, statistics
from fink_broker.services.context import Context
from fink_broker.services.merge import by_night, read

_KIND = "science"


def due(settings: Settings) -> list[str]:
    """Nights that were counted, and have been processed anew since."""
    nights = statistics.nights(settings)
    made = {night: archive.night(settings, _KIND, night).note.reprocessed for night in nights}
    return [night for night in nights if made[night] not in (None, statistics.load(settings, night).reprocessed)]


def anew(context: Context, service: str, count: Callable[[DataFrame], DataFrame], lock: Lock) -> Iterator[str]:
    """Count them, a file of the archive at each step.

    Parameters
    ----------
    context : Context
        Settings and session.
    service : str
        Whose batches count, beside this.
    count : callable
        Science alerts to what is counted of them, see `transforms.statistics.counted`.
    lock : Lock
        Held while a batch is counted.

    Yields
    ------
    str
        A night whose counts are others now; empty where there is more to do.
    """
    for night in due(context.settings):
        yield from _night(context, service, night, count, lock)


def _night(context: Context, service: str, night: str, count: Callable[[DataFrame], DataFrame], lock: Lock) -> Iterator[str]:
    settings, checkpoint = context.settings, context.settings.checkpoint(service)
    before, present = statistics.load(settings, night), archive.night(settings, _KIND, night)
    batch = max(before.batch, newest(checkpoint / "commits"))
    files = by_night(settings, _KIND).get(night, [])
    taken = {file.path for file in reach.taken(files, checkpoint, batch)}
    merged = set(present.note.files)
    # What a batch is still to bring must not be counted yet.
    if any(file.path.name in merged and file.path not in taken for file in files):
        return
    late = [path for path in taken if path.name not in merged]
    after = statistics.Night(batch, reprocessed=present.note.reprocessed)
    for some in [*([file] for file in present.files), *([late] if late else [])]:
        try:
            rows = count(read(context.spark, some).withColumn("night", F.lit(night))).toArrow()
        except (PySparkException, Py4JError):
            if archive.night(settings, _KIND, night) == present:
                raise
            return  # merged meanwhile: these files are gone
        after = statistics.added(after, rows, batch)
        yield ""
    with lock:
        if (statistics.load(settings, night), archive.night(settings, _KIND, night)) != (before, present):
            return
        statistics.save(settings, night, after)
    yield night
