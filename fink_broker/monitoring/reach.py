"""How far queries have come, by what Spark notes in their checkpoints: which files and messages they have taken in, and which not yet."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from fink_broker.config import Settings
from fink_broker.connectors import backlog, parquet
from fink_broker.connectors.parquet import File
from fink_broker.connectors.ranges import Range, between
from fink_broker.connectors.sparklog import entries, newest, offsets
from fink_broker.monitoring import gaps
from fink_broker.monitoring.gaps import Gap


def messages(checkpoint: Path, batch: int, found: Sequence[Gap] = ()) -> int:
    """Messages between the offsets a query began with and those of a batch; of those that gave none, what is known (`gaps`)."""
    if batch < 0:
        return 0
    first = gaps.began(checkpoint)
    read = sum(place.until - gaps.start(place, first, found) for place in between({}, offsets(checkpoint, batch)))
    return read + gaps.total(found, "gone") - gaps.total(found, "none")


def taken(files: Sequence[File], checkpoint: Path, batch: int, source: int = 0) -> list[File]:
    """Those of the files that a query on a folder (one of its sources) has read up to a batch."""
    end = position(checkpoint, batch, source)
    places = positions(checkpoint, source) if end >= 0 else {}
    return [file for file in files if places.get(file.path, end + 1) <= end]


def position(checkpoint: Path, batch: int, source: int = 0) -> int:
    """Up to where in its log a query on a folder has come with a batch; -1 for nothing."""
    # A service of one's own may read something else than a folder: of that nothing is known here.
    end = offsets(checkpoint, batch, source) if batch >= 0 else None
    return int(end.get("logOffset", -1)) if isinstance(end, dict) else -1


def positions(checkpoint: Path, source: int = 0) -> dict[Path, int]:
    """Where in that log each file is; nothing of a query that reads something else, of which Spark notes other things there."""
    noted = entries(checkpoint / "sources" / str(source))
    return {parquet.local_path(entry["path"]): number for number, entry in noted if "path" in entry}


class Order:
    """The files of a folder in the order in which a query on it has read them, and reads them.

    Parameters
    ----------
    files : sequence of File
        Files.
    checkpoint : Path
        Of the query.
    source : int
        Which of its sources the folder is.
    """

    def __init__(self, files: Sequence[File], checkpoint: Path, source: int = 0) -> None:
        self._checkpoint, self._source = checkpoint, source
        self.places = positions(checkpoint, source)
        known = sorted((self.places[file.path], number) for number, file in enumerate(files) if file.path in self.places)
        self._sorted, self._files = [place for place, _ in known], [files[number] for _, number in known]

    def of(self, batch: int) -> list[File] | None:
        """Those that it has read in one batch; None if Spark has cleared away what it knew of that batch."""
        try:
            start, end = (position(self._checkpoint, number, self._source) for number in (batch - 1, batch))
        except FileNotFoundError:
            return None
        return self._files[bisect_right(self._sorted, start) : bisect_right(self._sorted, end)]


def left(settings: Settings, batch: int) -> list[Range]:
    """What was left to the backlog's query and it has not taken in with a batch."""
    pieces = [File(0, file) for file in backlog.pieces(settings.backlog)]
    done = set(taken(pieces, settings.checkpoint("backlog"), batch))
    return [one for file in pieces if file not in done for one in backlog.read(file.path)]


def offered(settings: Settings) -> int:
    """Rejected messages that were offered to stream2raw again."""
    return sum(File(0, file).rows for file in settings.replay.glob("*.parquet"))


def replayed(settings: Settings) -> int:
    """Of those, the ones that it has taken."""
    return sum(table.num_rows for table in sent_again(settings, ["reason"], newest(settings.raw / parquet.LOG)))


def sent_again(settings: Settings, columns: Sequence[str], batch: int) -> Iterator[pa.Table]:
    """Some columns of those that it has taken up to a batch."""
    files = [File(0, file) for file in settings.replay.glob("*.parquet")]
    yield from parquet.read(taken(files, settings.checkpoint("stream2raw"), batch, source=1), columns)
