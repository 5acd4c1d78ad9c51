"""Where the jars of the three class paths lie."""

from __future__ import annotations

import os
from pathlib import Path

from fink_broker.config import CHECKOUT


def setup() -> Path:
    """The installation's folder: ``FINK_SETUP``, else ``var/setup`` in the checkout."""
    return Path(os.environ.get("FINK_SETUP") or CHECKOUT / "var" / "setup")


def folder(name: str) -> Path:
    """Folder of the jars of one class path: ``spark``, ``kafka`` or ``hbase``."""
    return setup() / "jars" / name
