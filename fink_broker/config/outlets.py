"""The section of the configuration for other ways out: what is delivered from topics to somebody's endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from fink_broker.config.sections import Count, FilterName, Section


class Outlet(Section):
    """A way out: alerts of topics, delivered to an endpoint.

    Attributes
    ----------
    name : str
        Its consumer group is ``fink-outlet-<name>``, its secret ``FINK_SECRETS__<NAME>`` in the environment.
    kind : str
        ``webhook``, ``email``, ``notice``, ``skyportal``, ``tom``, or the file of an adapter of one's own (``mine.py``).
    filters : list of str
        Filters whose topics are read.
    topics : str
        Regular expression of further topics.
    url : str
        The endpoint, ``http[s]://`` or ``smtp[s]://``; ``{secret}`` in it stands for the secret.
    username : str
        For HTTP basic authentication, or to log in to the mail server, with the secret as password.
    secret_file : Path, optional
        A file that holds the secret.
    per_minute : int
        Deliveries a minute at most.
    digest_minutes : float, optional
        Gather alerts for so long into one message; default: as the kind says, 0 for each on its own.
    starting_offsets : {"latest", "earliest"}
        Where it begins the first time.
    dry_run : bool, optional
        Print what would be sent; nothing is sent, counted or remembered. By default so where follow-up is asked for.
    options : dict
        What the kind takes besides.
    """

    name: FilterName
    kind: Annotated[str, Field(pattern=r"^([a-z]+|.+\.py)$")]
    filters: list[FilterName] = Field(default=[])
    topics: str = ""
    url: str
    username: str = ""
    secret_file: Path | None = None
    per_minute: Count = 60
    digest_minutes: Annotated[float, Field(ge=0)] | None = None
    starting_offsets: Literal["latest", "earliest"] = "latest"
    dry_run: bool | None = None
    options: dict[str, Any] = Field(default={})

    @property
    def asks_followup(self) -> bool:
        """Whether observations are asked for."""
        return "followup" in self.options

    @property
    def is_dry_run(self) -> bool:
        """Whether nothing is sent by `notify`."""
        return self.asks_followup if self.dry_run is None else self.dry_run
