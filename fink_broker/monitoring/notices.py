"""What has become of other observatories' notices: from the book that multimessenger keeps, without the libraries that read notices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def summary(path: Path) -> dict[str, Any]:
    """What a book says: ``read`` (number of notices), ``unusable`` (reason to number), ``faults`` (name to reason)."""
    noted = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    unusable = [entry["unusable"] for entry in noted.values() if "unusable" in entry]
    return {
        "read": sum("since" in entry for entry in noted.values()),
        "unusable": {reason: unusable.count(reason) for reason in sorted(set(unusable))},
        "faults": {name: entry["fault"] for name, entry in noted.items() if "fault" in entry},
    }
