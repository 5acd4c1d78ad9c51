"""The whole configuration, and where things lie by it."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ConfigDict, Field, SecretStr

from fink_broker.config.outlets import Outlet
from fink_broker.config.own import OwnService, Plugin, Science
from fink_broker.config.positions import Notices, Region, SkyMap, Watchlist
from fink_broker.config.sections import (
    Aggregation,
    Archive,
    Audience,
    Dashboard,
    Distribution,
    HBase,
    Kafka,
    Mirror,
    Raw2science,
    SchemaRegistry,
    Section,
    Simulator,
    Spark,
    Stream2raw,
    Wait,
)

CHECKOUT = Path(os.environ.get("FINK_HOME") or Path(__file__).resolve().parents[2])


class Settings(Section):
    """The whole configuration.

    Attributes
    ----------
    home : Path
        The one folder that this broker writes to; relative paths are below the checkout.
    secrets : dict
        Those of outlets, by their names.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)

    home: Path = Path("var")
    survey: str = "ztf"
    kafka: Kafka = Kafka()
    hbase: HBase = HBase()
    registry: SchemaRegistry = SchemaRegistry()
    spark: Spark = Spark()
    wait: Wait = Wait()
    dashboard: Dashboard = Dashboard()
    stream2raw: Stream2raw = Stream2raw()
    raw2science: Raw2science = Raw2science()
    distribution: Distribution = Distribution()
    archive: Archive = Archive()
    aggregation: Aggregation = Aggregation()
    mirror: Mirror = Mirror()
    notices: Notices = Notices()
    simulator: Simulator = Simulator()
    # In the file `[science]`; the name is that of the folder below.
    science_section: Science = Field(default=Science(), alias="science")
    services: list[OwnService] = Field(default=[])
    filters: list[Plugin] = Field(default=[])
    watchlists: list[Watchlist] = Field(default=[])
    regions: list[Region] = Field(default=[])
    skymaps: list[SkyMap] = Field(default=[])
    audiences: list[Audience] = Field(default=[])
    outlets: list[Outlet] = Field(default=[])
    secrets: dict[str, SecretStr] = Field(default={})

    def below_checkout(self, path: Path) -> Path:
        """The path itself if absolute, else below the checkout."""
        return path if path.is_absolute() else CHECKOUT / path

    @property
    def root(self) -> Path:
        """The absolute form of ``home``."""
        return self.below_checkout(self.home.expanduser())

    @property
    def raw(self) -> Path:
        """Folder of the raw alerts (root of the file sink)."""
        return self.root / "data" / "raw"

    @property
    def raw_backlog(self) -> Path:
        """Folder of the raw alerts of a backlog (root of a file sink of its own)."""
        return self.root / "data" / "raw_backlog"

    @property
    def raws(self) -> tuple[Path, Path]:
        """All folders with raw alerts; what is replayed comes to the last."""
        return self.raw_backlog, self.raw

    @property
    def backlog(self) -> Path:
        """Folder of the notes which offsets have been left to the backlog's query."""
        return self.root / "data" / "backlog"

    @property
    def gaps(self) -> Path:
        """Folder of the notes which of Kafka's offsets gave no message."""
        return self.root / "data" / "gaps"

    @property
    def delivery(self) -> Path:
        """Note of the topics that could not be written to."""
        return self.root / "data" / "delivery.json"

    @property
    def replay(self) -> Path:
        """Folder of the rejected messages that are to go through again."""
        return self.root / "data" / "replay"

    @property
    def science(self) -> Path:
        """Folder of the science alerts (root of the file sink)."""
        return self.root / "data" / "science"

    @property
    def filter_folder(self) -> Path:
        """Folder of filters of one's own."""
        return self.root / self.distribution.folder.expanduser()

    @property
    def filter_notes(self) -> Path:
        """Folder of the notes on filters: what they cost, and which are off."""
        return self.root / "data" / "distribution"

    @property
    def outlet_notes(self) -> Path:
        """Folder of the notes on outlets: what they have delivered, and how far they are."""
        return self.root / "data" / "notify"

    @property
    def archive_folder(self) -> Path:
        """Folder of the nightly Parquet archive."""
        return self.root / "data" / "archive"

    @property
    def statistics(self) -> Path:
        """Folder of what was counted of each night, a file a night."""
        return self.root / "data" / "metrics" / "nights"

    @property
    def positions(self) -> Path:
        """Folder of watchlists, regions and sky maps, made ready for the workers."""
        return self.root / "positions"

    @property
    def notices_folder(self) -> Path:
        """Folder of the notices of other observatories."""
        return self.below_checkout(self.notices.folder) if self.notices.folder else self.root / "notices"

    @property
    def notices_book(self) -> Path:
        """Since when each notice takes part: with the checkpoint of the query, whose batches it names."""
        return self.checkpoint("multimessenger") / "notices.json"

    def checkpoint(self, service: str) -> Path:
        """Checkpoint folder of a service."""
        return self.root / "checkpoints" / service

    def log(self, name: str) -> Path:
        """Log file of a service or server."""
        return self.root / "log" / f"{name}.log"

    @property
    def run(self) -> Path:
        """Folder of the pid files."""
        return self.root / "run"
