"""The sections of the configuration for what goes by position: watchlists, regions, sky maps, notices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from fink_broker.config.sections import Count, FilterName, KafkaEnd, Seconds, Section

Level = Annotated[float, Field(gt=0, le=1)]


class Watchlist(Section):
    """Positions of one's own: what is found near one of them goes to a topic.

    Attributes
    ----------
    file : Path
        CSV, VOTable, FITS or Parquet, with positions in degrees, J2000.
    radius_arcsec : float or str
        How near, for all; or the column that says it for each, arcsec.
    ra, dec : str, optional
        Columns of the position; found by their usual names without.
    """

    name: FilterName
    file: Path
    radius_arcsec: Annotated[float, Field(gt=0, le=648_000)] | str = 1.5
    ra: str | None = None
    dec: str | None = None


class Region(Section):
    """A part of the sky, a MOC in FITS, JSON or ASCII: what is found in it goes to a topic."""

    name: FilterName
    moc: Path


class SkyMap(Section):
    """A map of where an event may have been, HEALPix in FITS: what is found in its credible region of a level goes to a topic."""

    name: FilterName
    file: Path
    level: Level = 0.9


class Notices(KafkaEnd):
    """Notices of other observatories, and the service that matches alerts with them.

    Attributes
    ----------
    folder : Path, optional
        Where they lie, a file each; default: ``HOME/notices``.
    topics : str
        Regular expression of topics from which they are brought there; empty for none.
    sasl_mechanism : str
        ``OAUTHBEARER`` is that of GCN's Kafka: user name and password are the id and secret of a client.
    token_url : str
        Who gives tokens for those.
    days : float
        How long after a trigger an alert may come.
    level : float
        Which credible region of a sky map is looked at.
    """

    section: ClassVar[str] = "notices"

    folder: Path | None = None
    topics: str = ""
    sasl_mechanism: Literal["SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = "SCRAM-SHA-512"  # type: ignore[assignment]
    token_url: str = "https://auth.gcn.nasa.gov/oauth2/token"
    days: Seconds = 7.0
    level: Level = 0.9
    trigger_seconds: Seconds = 5.0
    max_files_per_trigger: Count = 100
