"""The last error of a service, and when it was: from the note that it has failed, else from its log."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fink_broker.config import Settings
from fink_broker.infra.failures import Failure

_END = 1_000_000  # bytes of a log that are looked through
# As `log` and conf/log4j2.properties write it.
_ERROR = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (?:ERROR|FATAL|CRITICAL) (.*)$", re.MULTILINE)
_LONGEST = 200


@dataclass(frozen=True)
class Fault:
    """When it was (Unix time, seconds), and what was said."""

    when: float
    text: str


def last(settings: Settings, name: str, failure: Failure | None) -> Fault | None:
    """The last error of a service; None if it has had none that is still in its log.

    Services that share an application write to the log of the first of them.

    Parameters
    ----------
    settings : Settings
        Where the log is.
    name : str
        The service.
    failure : Failure, optional
        How it has ended, if it has failed.
    """
    found = _in_log(settings.log(name))
    if failure is None or (found is not None and found.when > failure.when):
        return found
    return Fault(failure.when, failure.reason[:_LONGEST])


def _in_log(path: Path) -> Fault | None:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _END))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return None
    found = _ERROR.findall(text)
    return Fault(datetime.fromisoformat(found[-1][0]).timestamp(), found[-1][1].strip()[:_LONGEST]) if found else None
