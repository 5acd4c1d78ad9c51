"""What lies in raw and science at one moment, and what each service has read of it: a file is opened once, whoever counts it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fink_broker.config import Settings
from fink_broker.connectors import backlog, parquet
from fink_broker.connectors.parquet import File
from fink_broker.errors import ConfigError
from fink_broker.monitoring import gaps, reach, rules
from fink_broker.monitoring.gaps import Gap
from fink_broker.surveys import Survey, with_cuts
from fink_broker.surveys.conditions import scalar

_NOT_YET = 2**62  # where in a log a file is that has not been read
# Where a message came from.
PLACE = ("topic", "partition", "offset")
# What was read of files, for whoever looks again: a committed file does not change.
Kept = dict[tuple[Hashable, Path], Any]


class Shelf:
    """Files and tables of raw and science.

    Parameters
    ----------
    settings : Settings
        Folders and checkpoints.
    survey : Survey
        Ids and cuts.
    night : str, optional
        Count the alerts of this night (``YYYYMMDD``) only.
    kept : dict, optional
        What was read at an earlier look, with the same night; what is read now is added, and what has gone taken away.
    """

    def __init__(self, settings: Settings, survey: Survey, night: str | None = None, kept: Kept | None = None) -> None:
        self.settings, self.survey, self.night = settings, with_cuts(survey, settings.raw2science.cuts), night
        self._place = PLACE if night else ()
        self._rules = rules.load(settings) or [rules.Rule(self.survey.cuts)]
        # Science first: all that it was made from lies in raw by then.
        self._science_batch, self.science_files = parquet.snapshot(settings.science)
        # Two folders of raw: that of a backlog, whose batches are numbered on their own, and the live query's.
        batch, self.beside = parquet.snapshot(settings.raw_backlog)
        self._raw_batch, live = parquet.snapshot(settings.raw)
        self._sources = (live, self.beside)
        self._beside = frozenset(self.beside)
        self.raw_files = [*self.beside, *live]
        # Left to the backlog's query and not in its folder yet; how far the live query has come that left it.
        self.to_come = reach.left(settings, batch)
        self._taken_batch = backlog.taken(settings.backlog, self._raw_batch)
        self._readers: dict[str, reach.Order] = {}
        self.kept: Kept = {} if kept is None else kept
        there = {file.path for file in (*self.raw_files, *self.science_files)}
        for key in [key for key in self.kept if key[1] not in there]:
            del self.kept[key]

    def once(self, what: Hashable, files: Sequence[File], make: Callable[[list[File]], Iterable[Any]]) -> dict[File, Any]:
        """By file what `make` makes of it, now or at an earlier look.

        Parameters
        ----------
        what : hashable
            Name of it.
        files : sequence of File
            Which.
        make : callable
            Given those that are new, one thing for each.
        """
        new = [file for file in files if (what, file.path) not in self.kept]
        self.kept.update(zip([(what, file.path) for file in new], make(new), strict=True))
        found = {file: self.kept[what, file.path] for file in files}
        for file, one in found.items():
            if isinstance(one, pa.Table):
                vars(file)["rows"] = one.num_rows  # its footer need not be read again
        return found

    def of_night(self, files: Iterable[File]) -> list[File]:
        """Those of the night that is counted."""
        return [file for file in files if self.night in (None, file.partition["night"])]

    def _raw(self, status: str) -> list[File]:
        return [file for file in self.of_night(self.raw_files) if file.partition["status"] == status]

    @cached_property
    def sound(self) -> dict[File, pa.Table]:
        """By file, the sound alerts of raw: `record`, `id`, the first `cut` not met; and `PLACE` if a night is counted."""
        return self.once(("sound", len(self._rules)), self._raw("ok"), self._judged)

    def _judged(self, files: list[File]) -> list[pa.Table]:
        """Files of the same columns and rules are looked at together: by file, most of the time would go into calls of Arrow."""
        kept = ["record", *self._place]
        cuts = [name for survey in self._surveys for cut in survey.quality.values() for name in cut.columns]
        tables = list(parquet.read(files, [*kept, self.survey.alert_id, *cuts]))
        alike: dict[tuple[int, str], list[int]] = {}
        for number, (file, table) in enumerate(zip(files, tables, strict=True)):
            alike.setdefault((self._rule(file), str(table.schema.remove_metadata())), []).append(number)
        for (rule, _), numbers in alike.items():
            whole = pa.concat_tables([tables[number].replace_schema_metadata() for number in numbers])
            whole = self._with_id(whole, kept).append_column("cut", _first_cut(whole, self._surveys[rule]))
            start = 0
            for number in numbers:
                rows = tables[number].num_rows
                tables[number] = whole.slice(start, rows)
                start += rows
        return tables

    @cached_property
    def _surveys(self) -> list[Survey]:
        """The survey with the cuts that were in force, one after the other; see `rules`."""
        return [with_cuts(self.survey, rule.cuts) for rule in self._rules]

    def _rule(self, file: File) -> int:
        """Which of them raw2science has read a file with."""
        if len(self._rules) == 1:
            return 0
        source = int(file in self._beside)
        return self._rules.index(rules.in_force(self._rules, self._entered[source].places.get(file.path, _NOT_YET), source))

    @cached_property
    def rejected(self) -> dict[File, pa.Table]:
        """By file, what was rejected: `record`, `reason`; and `PLACE` if a night is counted."""
        return self.once("rejected", self._raw("rejected"), lambda files: parquet.read(files, ["record", "reason", *self._place]))

    @cached_property
    def science(self) -> dict[File, pa.Table]:
        """By file, the science alerts: `science_errors`, `science_cost`; and `id` if a night is counted."""
        kept = ["science_errors", "science_cost"]

        def read(files: list[File]) -> Iterator[pa.Table]:
            tables = parquet.read(files, [*kept, *([self.survey.alert_id] if self.night else [])])
            return (self._with_id(table, kept) if self.night else table for table in tables)

        return self.once("science", self.of_night(self.science_files), read)

    def _with_id(self, table: pa.Table, kept: list[str]) -> pa.Table:
        try:
            identity = parquet.column(table, self.survey.alert_id)
        except KeyError:
            raise ConfigError(f"{self.settings.root} holds alerts of another survey than {self.survey.name}: set survey") from None
        return table.select([name for name in kept if name in table.column_names]).append_column("id", identity)

    @cached_property
    def read(self) -> list[File]:
        """Files of sound raw alerts that raw2science has read."""
        sources, checkpoint = range(len(self._sources)), self.settings.checkpoint("raw2science")
        return [file for source in sources for file in reach.taken(list(self.sound), checkpoint, self._science_batch, source)]

    @cached_property
    def elsewhere(self) -> np.ndarray:
        """Ids that should be in science of the night that is counted, and are in that of another, with which they came first."""
        if not self.night:
            return numbers([])
        absent = np.setdiff1d(passing(self.sound[file] for file in self.read), ids(self.science.values()))
        if not len(absent):
            return absent
        name, files = self.survey.alert_id, [file for file in self.science_files if file.partition["night"] != self.night]
        return np.intersect1d(absent, numbers(parquet.column(table, name) for table in parquet.read(files, [name])))

    def read_in(self, batch: int) -> list[File]:
        """Those that it read in one of its batches, of any night; none if Spark has cleared away what it knew of that batch."""
        found = [order.of(batch) for order in self._entered]
        return [file for some in found if some is not None and None not in found for file in some if file.partition["status"] == "ok"]

    def read_by(self, service: str, batch: int) -> list[File]:
        """Science files that another service read in one of its batches, of any night; none as above."""
        if service not in self._readers:
            self._readers[service] = reach.Order(self.science_files, self.settings.checkpoint(service))
        return self._readers[service].of(batch) or []

    @cached_property
    def _entered(self) -> list[reach.Order]:
        """The files of the folders that raw2science reads."""
        checkpoint = self.settings.checkpoint("raw2science")
        return [reach.Order(files, checkpoint, source) for source, files in enumerate(self._sources)]

    @cached_property
    def gaps(self) -> list[Gap]:
        """What is known of offsets that gave no message."""
        return gaps.noted(self.settings)


def passing(tables: Iterable[pa.Table]) -> np.ndarray:
    """Ids of the alerts that pass the cuts, repeats too."""
    return ids(table.select(["id"]).filter(pc.is_null(table["cut"])) for table in tables)


def ids(tables: Iterable[pa.Table]) -> np.ndarray:
    """Ids of alerts, repeats too."""
    return numbers(table["id"] for table in tables)


def numbers(columns: Iterable[pa.ChunkedArray[Any]], kind: pa.DataType | None = None) -> np.ndarray:
    """Columns without missing values, one after the other; ids if nothing else is said.

    Arrow's `to_numpy` imports pandas, which takes as long as all of `fink status`.
    """
    wanted: Any = kind or pa.int64()
    chunks = [chunk for column in columns for chunk in (column if column.type == wanted else column.cast(wanted)).chunks]
    return np.from_dlpack(pa.chunked_array(chunks, type=wanted).combine_chunks())


def _first_cut(table: pa.Table, survey: Survey) -> Any:
    """Of each alert the name of the first quality cut that it does not meet; null if it meets all."""
    found: Any = pa.nulls(table.num_rows, pa.string())
    for name, cut in reversed(list(survey.quality.items())):
        found = pc.if_else(cut.holds(table), found, scalar(name))
    return found
