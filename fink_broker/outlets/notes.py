"""What an outlet has delivered, in a file that outlasts the service."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Notes:
    """Counts of an outlet.

    Parameters
    ----------
    sent : int
        Alerts that the endpoint has taken, each on its own or in a message for many.
    gathered : int
        Those of them in messages for many.
    failed : int
        Alerts that it has refused, or that could not be read or said.
    lost : int
        Alerts that Kafka gave up before they were delivered.
    retries : int
        Times that the endpoint was away.
    error : str
        Why it takes nothing now, or empty.
    refusal : str
        The last refusal.
    offsets : dict
        Topic to partition to the offset up to which all is done.
    """

    sent: int = 0
    gathered: int = 0
    failed: int = 0
    lost: int = 0
    retries: int = 0
    error: str = ""
    refusal: str = ""
    offsets: dict[str, dict[str, int]] = field(default_factory=dict)

    def save(self, file: Path) -> None:
        """Write them in one step."""
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f".{file.name}.new")
        new.write_text(json.dumps(asdict(self)), encoding="utf-8")
        new.rename(file)


def path(folder: Path, name: str) -> Path:
    """The file of an outlet."""
    return folder / f"{name}.json"


def load(file: Path) -> Notes:
    """The notes in a file; of an outlet that has delivered nothing yet without."""
    try:
        return Notes(**json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Notes()
