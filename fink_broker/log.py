"""Where the broker's Python code logs: the same file as the JVM of its application."""

from __future__ import annotations

import logging
import logging.handlers
import time
from pathlib import Path


def to_file(path: Path) -> None:
    """Send all log records to a file, appended, with UTC times; the terminal is for what a user needs to know."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Watched: the JVM rolls the file over.
    handler = logging.handlers.WatchedFileHandler(path, encoding="utf-8")
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("py4j").setLevel(logging.WARNING)
