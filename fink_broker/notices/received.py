"""Notices that lie in a folder, looked up by their event."""

from __future__ import annotations

from pathlib import Path

from fink_broker.catalogues.coverage import Coverage
from fink_broker.notices.notice import Unusable, parse

_JD_ZERO = 2_400_000.5
# The newest ones: each is read.
_MOST = 200


def skymap_of(folder: Path, event: str) -> tuple[Coverage, float] | None:
    """The newest sky map of an event, and the event's MJD (UTC); None if no notice of it with one has come.

    Parameters
    ----------
    folder : Path
        The notices, a file each.
    event : str
        Its id: ``S230709bi``.
    """
    files = sorted((file for file in folder.glob("[!.]*") if file.is_file()), key=lambda file: -file.stat().st_mtime)
    for file in files[:_MOST]:
        content = file.read_bytes()
        # Most are of others.
        if event.encode() not in content:
            continue
        try:
            notice = parse(content)
        except (Unusable, ValueError):
            continue  # the service that takes them in says so
        if notice.trigger == event and notice.skymap is not None:
            return notice.skymap, notice.jd - _JD_ZERO
    return None
