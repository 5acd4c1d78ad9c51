"""Science files at an even pace, written as raw2science writes them, with a service beside that reads them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count, islice
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from fink_broker.config import Settings
from fink_broker.connectors import parquet
from fink_broker.errors import FinkError
from fink_broker.session import session
from tests.benchmarks._services import Services


class Feed:
    """A file a second. Alerts are numbered from 1 by their `candid`.

    Parameters
    ----------
    settings : Settings
        Folders, and how the service is set.
    source : Path
        Science alerts, used again and again.
    service : str
        Who reads them.
    rate : int
        Alerts a second.
    """

    def __init__(self, settings: Settings, source: Path, service: str, rate: int) -> None:
        self.settings, self._service, self.rate = settings, service, rate
        self._pieces = settings.root / "pieces"
        self._tables = self._numbered(pq.read_table(source))
        self._services = Services(settings)
        self._open = ExitStack()
        self.sent = 0
        """Alerts in all that was put, or soon will be."""

    def __enter__(self) -> Feed:
        """Start the service, and a stream that writes one file each second."""
        with ExitStack() as stack:
            self.put(1)
            spark = session(self.settings, "bench-files")
            stack.callback(spark.stop)
            schema = spark.read.parquet(str(self._pieces)).schema
            alerts = spark.readStream.schema(schema).option("maxFilesPerTrigger", 1).parquet(str(self._pieces))
            sink = parquet.sink(alerts, self.settings.science, self.settings.checkpoint("raw2science"), ["night"])
            stack.callback(self._services.stop)
            self._services.start(self._service)
            self._query = sink.trigger(processingTime="1 second").start()
            stack.callback(self._query.stop)
            self._open = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    def put(self, seconds: int) -> None:
        """Have so many seconds more written."""
        self._pieces.mkdir(parents=True, exist_ok=True)
        first = self.sent // self.rate
        for number, table in enumerate(islice(self._tables, seconds), first):
            new = self._pieces / f".{number}"
            pq.write_table(table, new)
            new.rename(self._pieces / f"{number:06}.parquet")
        self.sent += seconds * self.rate

    def wait(self, arrived: Callable[[], int], number: int, seconds: float) -> None:
        """Wait until so many alerts have arrived.

        Raises
        ------
        FinkError
            They were not within so many seconds, or somebody died.
        """
        deadline = time.monotonic() + seconds
        while arrived() < number:
            self._services.look()
            if not self._query.isActive or self._services.died or time.monotonic() > deadline:
                raise FinkError(f"{arrived()} of {number} alerts arrived; {self._query.exception()} {self._services.died}")
            time.sleep(0.5)

    def closed(self) -> dict[int, float]:
        """When the file of each alert was closed."""
        found: dict[int, float] = {}
        for file in parquet.committed(self.settings.science):
            found |= dict.fromkeys(pq.read_table(file.path, columns=["candid"])["candid"].to_pylist(), file.closed)
        return found

    def peak(self) -> int:
        """The most resident bytes of the service that were seen."""
        return self._services.peak(self._service)

    def _numbered(self, table: pa.Table) -> Iterator[pa.Table]:
        """A second's alerts each."""
        utc = pa.timestamp("us", "UTC")  # as Spark has it
        kinds = [field.with_type(utc) if pa.types.is_timestamp(field.type) else field for field in table.schema]
        table = table.cast(pa.schema(kinds), safe=False)
        place = table.column_names.index("candid")
        if table.num_rows < self.rate:
            raise FinkError(f"a second needs {self.rate} alerts, there are {table.num_rows}")
        for number in count():
            part = table.slice(number * self.rate % (table.num_rows - self.rate + 1), self.rate)
            ids = pa.array(range(number * self.rate + 1, (number + 1) * self.rate + 1), "int64")
            yield part.set_column(place, "candid", ids)
