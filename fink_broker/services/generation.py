"""A night of the archive written anew: beside the old one, compared with what it is made from, then put in its place."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pyspark.sql import DataFrame

from fink_broker.config import Settings
from fink_broker.connectors import archive
from fink_broker.connectors.archive import Note
from fink_broker.errors import SumsDoNotMeet
from fink_broker.surveys import Survey
from fink_broker.transforms.archived import in_order


def write(
    alerts: DataFrame,
    sources: Sequence[Path],
    settings: Settings,
    survey: Survey,
    folder: Path,
    *,
    names: Iterable[str],
    reprocessed: str | None = None,
    change: Callable[[DataFrame], DataFrame] = lambda alerts: alerts,
) -> int:
    """Write a night's alerts, check their ids, and put them in the place of what the archive has of the night.

    Parameters
    ----------
    alerts : DataFrame
        Archived alerts.
    sources : sequence of Path
        The files that they come from: as many, with the same ids.
    settings : Settings
        Size of the archive's files.
    survey : Survey
        Ids and order.
    folder : Path
        The night's folder in the archive.
    names, reprocessed
        For the note, see `Note`.
    change : callable
        What is done to the alerts on the way, see `in_order`.

    Returns
    -------
    int
        How many there are.

    Raises
    ------
    SumsDoNotMeet
        What was written is not what was read; the archive is left as it was.
    """
    making, expected = archive.new(folder), archive.digest(sources, survey.alert_id)
    shutil.rmtree(making, ignore_errors=True)
    # Not smaller than asked for; and not much larger, or Spark's sort of a file would not go into memory.
    count = max(1, sum(file.stat().st_size for file in sources) // (settings.archive.file_mb * 1_000_000))
    # A part may come out larger: the parts' borders are those of a sample.
    most = 2 * math.ceil(max(expected.rows, 1) / count)
    in_order(alerts, survey, count, change).write.option("maxRecordsPerFile", most).parquet(str(making))
    written = archive.digest(making.glob("*.parquet"), survey.alert_id)
    if written != expected:
        shutil.rmtree(making)
        ids = " with other ids" if written.rows == expected.rows else ""
        raise SumsDoNotMeet(f"{written.rows} alerts{ids} were written of {expected.rows}: {folder} is left as it was")
    Note(sorted(names), expected.rows, reprocessed).save(making)
    archive.put(folder)
    return expected.rows
